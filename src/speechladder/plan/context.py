"""What every row of a plan counts with: settings, hours, rates, machine, and the operations that rules share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from speechladder.constants import FRAME_RATE
from speechladder.io.files import read_json
from speechladder.plan.inputs import File, Machine
from speechladder.plan.rates import Cost, Figure, Rates
from speechladder.plan.speech import Hours, Items, Measured, all_items
from speechladder.settings import Settings, at
from speechladder.settings.points import Variation
from speechladder.settings.units import SHIPPED, SPECTRAL, encoder_folder
from speechladder.units.encoders.compute import HUBERT_BASE, HUBERT_LARGE, encoder_flops
from speechladder.units.mfcc import WIDTHS

HUB = {"facebook/hubert-base-ls960": HUBERT_BASE, "facebook/hubert-large-ll60k": HUBERT_LARGE}
MAX_UTTERANCE = 30.0  # seconds; the encoder's attention is counted over no longer utterances


@dataclass(frozen=True)
class Context:
    """One run on one machine, or one point of its sweep or scaling grid, with its `fraction` of the training data."""

    settings: Settings
    hours: Hours
    rates: Rates
    machine: Machine
    measured: Measured
    files: tuple[File, ...] = ()
    fraction: float = 1.0

    @property
    def speech(self) -> Figure:
        """Hours of speech of the corpus."""
        return Figure(self.hours.total, self.hours.basis)

    @property
    def shard(self) -> Figure:
        """Hours of speech of a shard."""
        return self.speech / self.settings.corpus.shards

    @property
    def items(self) -> Items:
        """The items of all tasks."""
        return all_items(self.settings, self.measured)

    @property
    def sampled(self) -> float:
        """Frames of the k-means sample, or of the labelled speech of supervised units."""
        units = self.settings.units
        wanted = units.sample_frames if units.labels == "none" else units.label_minutes * 60 * FRAME_RATE
        return min(wanted, self.hours.train * 3600 * FRAME_RATE)

    @property
    def continuations(self) -> int:
        """Continuations of a rung."""
        return self.settings.continuation.prompts * self.settings.continuation.samples * len(self.settings.lm.seeds)

    @property
    def heard(self) -> int:
        """Continuations of a rung that are transcribed and judged: its models' and the babble."""
        return self.continuations + min(self.settings.continuation.babble, self.settings.continuation.prompts)

    def fetched(self, name: str) -> Figure:
        """Return the bytes of a download, 0 if they are not known."""
        return Figure(next((file.bytes or 0.0 for file in self.files if file.name == name), 0.0), "published")

    def at_point(self, point: str, rung: str = "") -> "Context":
        """Return the context of a point by its prefix, or of a rung that is not in the table: its settings differ."""
        if not point and (not rung or rung in self.settings.rungs):
            return self
        settings, fraction = at(self.settings, point, rung), float(Variation.parse(point).fraction or 1)
        measured = replace(self.measured, settings=settings, reasons=[])
        return replace(self, settings=settings, fraction=fraction, measured=measured)

    def cpu(self, amount: Figure, rate: str, unit: float = 1.0) -> Cost:
        """Return the core-hours of an amount, such as hours of speech, at a rate per `unit` hours."""
        found = self.rates.get(rate)
        return Cost(cpu=amount.times(1 / found.value / unit, found.basis))

    def disk(self, speech: Figure, rate: str) -> Cost:
        """Return the bytes of hours of speech at a rate in bytes per hour."""
        found = self.rates.get(rate)
        return Cost(disk=speech.times(found.value, found.basis))

    def start(self, kind: str = "start_torch") -> Cost:
        """Return what a job's process costs before it does anything."""
        found = self.rates.get(kind)
        return Cost(cpu=Figure(found.value / 3600, found.basis))

    def flops(self, amount: Figure, cpu: str, precision: str, gpu: str = "") -> Cost:
        """Return the hours of so many FLOP: on a GPU, if there is one, at the rate `gpu` or `cpu`; else on a core."""
        if self.machine.gpus:
            found = self.rates.gpu(gpu or cpu, str(self.machine.gpu), precision)
            return Cost(gpu=amount.times(1 / found.value / 3600, found.basis))
        return self.cpu(amount.times(1, "derived"), cpu, 3600)

    def encode(self, speech: Figure) -> Cost:
        """Return the cost of decoding FLAC and of running the encoder over it up to units.layer, if it has layers."""
        units = self.settings.units
        if units.source == "external":
            return Cost()
        cost = self.cpu(speech, "read_audio")
        if units.source in SPECTRAL:
            return cost + self.cpu(speech, "encode_spectral")
        if units.encoder == SHIPPED and not self.machine.gpus:
            return cost + self.cpu(speech, "encode_micro")
        config, known = encoder_config(units.encoder)
        layers = min(units.layer, config["num_hidden_layers"])
        each = 3600 * encoder_flops(config, layers, min(self.hours.utterance, MAX_UTTERANCE))
        precision = "fp32" if units.precision == "fp32" else "bf16"  # on a GPU, fp16 is as fast
        return cost + self.flops(speech.times(each, "derived" if known else "assumed"), "encoder_flops", precision)

    def assign(self, speech: Figure, clusters: int = 0) -> Cost:
        """Return the cost of finding the nearest of `clusters` (default: the run's) centroids of every frame."""
        units = self.settings.units
        if units.source == "external":
            return Cost()
        flops = 2.0 * (clusters or units.vocabulary) * self.width * FRAME_RATE * 3600
        return self.flops(speech.times(flops), "assign_flops", "fp32")

    @property
    def width(self) -> int:
        """Values in a frame of the encoder's features."""
        units = self.settings.units
        return WIDTHS.get(units.source) or int(encoder_config(units.encoder)[0]["hidden_size"])


def encoder_config(name: str) -> tuple[Mapping[str, Any], bool]:
    """Return an encoder's dimensions and whether they are known: a folder's, a hub model's, else HuBERT-Large's."""
    file = encoder_folder(name) / "config.json"
    if file.is_file():
        return read_json(file), True
    return HUB.get(name, HUBERT_LARGE), name in HUB
