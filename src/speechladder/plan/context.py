"""What every stage of a plan counts with: settings, hours, rates, machine, and the operations that stages share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from speechladder.constants import FRAME_RATE
from speechladder.io.files import read_json
from speechladder.plan.downloads import File
from speechladder.plan.figures import Cost, Figure, worst
from speechladder.plan.hours import Hours
from speechladder.plan.machine import Machine
from speechladder.plan.measured import Measured
from speechladder.plan.rates import HUBERT_BASE, HUBERT_LARGE, Rates, encoder_flops
from speechladder.settings import Point, Settings
from speechladder.workflow.config import ASSETS, SHIPPED

HUB = {"facebook/hubert-base-ls960": HUBERT_BASE, "facebook/hubert-large-ll60k": HUBERT_LARGE}
MAX_UTTERANCE = 30.0  # seconds; the encoder's attention is counted over no longer utterances


@dataclass(frozen=True)
class Context:
    """One run on one machine, or one point of its sweep or scaling grid.

    `fraction` is the share of the training data that the point uses.
    """

    settings: Settings
    hours: Hours
    rates: Rates
    machine: Machine
    measured: Measured
    files: tuple[File, ...] = ()
    fraction: float = 1.0

    def at_point(self, point: str) -> "Context":
        """Return the context of a point as jobs.Job writes it: its settings differ from the run's."""
        if not point:
            return self
        settings, fraction = settings_at(self.settings, point)
        return replace(
            self, settings=settings, fraction=fraction, measured=replace(self.measured, settings=settings, reasons=[])
        )

    def at_rate(self, speech: float, rate: str, *bases: str) -> Figure:
        """Return the core-hours of `speech` hours at a rate in times real time."""
        found = self.rates.get(rate)
        return Figure(speech / found.value, worst([found.basis, *bases]))

    def flops(self, amount: float, cpu: str, precision: str, *bases: str, gpu: str | None = None) -> Cost:
        """Return the hours of so many FLOP: on a GPU, if there is one, at the rate `gpu` or `cpu`; else on a core."""
        if self.machine.gpus:
            found = self.rates.gpu(gpu or cpu, str(self.machine.gpu), precision)
            return Cost(gpu=Figure(amount / found.value / 3600, worst([found.basis, *bases])))
        found = self.rates.get(cpu)
        return Cost(cpu=Figure(amount / found.value / 3600, worst([found.basis, "derived", *bases])))

    def disk(self, speech: float, rate: str, *bases: str) -> Cost:
        """Return the bytes of `speech` hours at a rate in bytes per hour."""
        found = self.rates.get(rate)
        return Cost(disk=Figure(speech * found.value, worst([found.basis, *bases])))

    def start(self, kind: str = "start_torch") -> Cost:
        """Return what a job's process costs before it does anything."""
        found = self.rates.get(kind)
        return Cost(cpu=Figure(found.value / 3600, found.basis))

    def encode(self, speech: float, *bases: str) -> Cost:
        """Return the cost of decoding `speech` hours of FLAC and of running the encoder over them up to units.layer."""
        units = self.settings.units
        if units.source == "given":
            return Cost()
        cost = Cost(cpu=self.at_rate(speech, "read_audio", *bases))
        if units.encoder == SHIPPED and not self.machine.gpus:
            return cost + Cost(cpu=self.at_rate(speech, "encode_micro", *bases))
        config, known = encoder_config(units.encoder)
        layers = min(units.layer, config["num_hidden_layers"])
        each = encoder_flops(config, layers, min(self.hours.utterance, MAX_UTTERANCE))
        basis = "derived" if known else "assumed"
        precision = "fp32" if units.precision == "fp32" else "bf16"  # on a GPU, fp16 is as fast
        return cost + self.flops(speech * 3600 * each, "encoder_flops", precision, basis, *bases)

    def assign(self, speech: float, *bases: str, clusters: int | None = None) -> Cost:
        """Return the cost of finding the nearest centroid of every frame of `speech` hours, where the encoder runs."""
        units = self.settings.units
        if units.source == "given":
            return Cost()
        flops = 2.0 * (clusters or units.clusters) * self.width * FRAME_RATE * 3600 * speech
        return self.flops(flops, "assign_flops", "fp32", *bases)

    @property
    def width(self) -> int:
        """Values in a frame of the encoder's features."""
        return int(encoder_config(self.settings.units.encoder)[0]["hidden_size"])


def settings_at(settings: Settings, point: str) -> tuple[Settings, float]:
    """Return the settings at a point of the sweep or of the scaling grid, and its share of the training data."""
    kind, _, name = point.partition("/")
    scores = settings.scores.model_copy(update={"layers": False, "learning": False})
    if kind == "scaling":
        size, _, fraction = name.partition("-")  # the name of a size has no hyphen
        lm = settings.scaled_lm(size) if size else settings.lm
        lm = lm.model_copy(update={"learning_points": 0, "seeds": settings.scaling.seeds})
        return settings.model_copy(update={"lm": lm, "scores": scores}), float(fraction)
    if "-" in name:
        changes = Point.parse(name)._asdict()
        changes = {field: changes[field] for field in ("layer", "clusters", "normalisation")}
    else:
        changes = {"layer": int(name.removeprefix("layer"))}
    units = settings.units.model_copy(update=changes)
    return settings.model_copy(update={"units": units, "scores": scores}), 1.0


def encoder_config(name: str) -> tuple[Mapping[str, Any], bool]:
    """Return an encoder's dimensions and whether they are known: a folder's, a hub model's, else HuBERT-Large's."""
    folder = ASSETS / SHIPPED if name == SHIPPED else Path(name)
    if (folder / "config.json").is_file():
        return read_json(folder / "config.json"), True
    return HUB.get(name, HUBERT_LARGE), name in HUB
