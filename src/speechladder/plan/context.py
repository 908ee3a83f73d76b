"""What every stage of a plan counts with: settings, hours, rates, machine, and the operations that stages share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechladder.constants import FRAME_RATE
from speechladder.io.files import read_json
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.hours import Hours
from speechladder.plan.inputs import Machine
from speechladder.plan.rates import HUBERT_BASE, HUBERT_LARGE, Rates, encoder_flops, worst
from speechladder.settings import Settings
from speechladder.workflow.config import ASSETS, SHIPPED

HUB = {"facebook/hubert-base-ls960": HUBERT_BASE, "facebook/hubert-large-ll60k": HUBERT_LARGE}
MAX_UTTERANCE = 30.0  # seconds; attention of the encoder is counted on no longer ones


@dataclass(frozen=True)
class Context:
    """One run on one machine."""

    settings: Settings
    hours: Hours
    rates: Rates
    machine: Machine
    results: Path = Path("results")

    def at(self, speech: float, rate: str, *bases: str) -> Figure:
        """Core-hours of `speech` hours at a rate in times real time."""
        found = self.rates.get(rate)
        return Figure(speech / found.value, worst([found.basis, *bases]))

    def flops(self, amount: float, cpu: str, precision: str, *bases: str, gpu: str | None = None) -> Cost:
        """Hours for so many FLOP: of GPUs where there are any, at the rate `gpu` or `cpu`; else of a core, at `cpu`."""
        if self.machine.gpus:
            found = self.rates.gpu(gpu or cpu, str(self.machine.gpu), precision)
            return Cost(gpu=Figure(amount / found.value / 3600, worst([found.basis, *bases])))
        found = self.rates.get(cpu)
        return Cost(cpu=Figure(amount / found.value / 3600, worst([found.basis, "derived", *bases])))

    def stored(self, speech: float, rate: str, *bases: str) -> Figure:
        """Bytes of `speech` hours at a rate in bytes per hour."""
        found = self.rates.get(rate)
        return Figure(speech * found.value, worst([found.basis, *bases]))

    def starts(self, jobs: int, kind: str = "start_torch") -> Cost:
        """What `jobs` processes spend before they do anything."""
        found = self.rates.get(kind)
        return Cost(cpu=Figure(jobs * found.value / 3600, found.basis))

    def encode(self, speech: float, *bases: str) -> Cost:
        """Decoding `speech` hours of FLAC and running the encoder up to units.layer over them."""
        units = self.settings.units
        if units.source == "external":
            return Cost()
        cost = Cost(cpu=self.at(speech, "read_audio", *bases))
        if units.encoder == SHIPPED and not self.machine.gpus:
            return cost + Cost(cpu=self.at(speech, "encode_micro", *bases))
        config, known = encoder_config(units.encoder)
        layers = min(units.layer, config["num_hidden_layers"])
        each = encoder_flops(config, layers, min(self.hours.utterance, MAX_UTTERANCE))
        basis = "derived" if known else "assumed"
        precision = "fp32" if units.precision == "fp32" else "bf16"  # of a GPU; fp16 is as fast
        return cost + self.flops(speech * 3600 * each, "encoder_flops", precision, basis, *bases)

    def assign(self, speech: float, *bases: str) -> Cost:
        """The nearest centroid of every frame of `speech` hours, where the encoder is."""
        units = self.settings.units
        if units.source == "external":
            return Cost()
        config, _ = encoder_config(units.encoder)
        flops = 2.0 * units.clusters * config["hidden_size"] * FRAME_RATE * 3600 * speech
        return self.flops(flops, "assign_flops", "fp32", *bases)


def encoder_config(name: str) -> tuple[Mapping[str, Any], bool]:
    """(its dimensions, whether they are known): a folder's own, a known hub model's, else HuBERT-Large's."""
    folder = ASSETS / SHIPPED if name == SHIPPED else Path(name)
    if (folder / "config.json").is_file():
        return read_json(folder / "config.json"), True
    return HUB.get(name, HUBERT_LARGE), name in HUB
