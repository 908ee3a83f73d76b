"""What a plan counts with: operations of the encoders by formula, and rates from benchmarks/rates.json.

A rate is `measured` (by benchmarks/rates.py, on the hardware that it names), `published` (by the source that it names),
`derived` (from either of these by a formula) or `assumed`. A plan says on which of these each of its figures rests.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechladder.constants import FRAME_RATE, SAMPLE_RATE
from speechladder.io.errors import UserError
from speechladder.io.files import read_json

FILE = Path(__file__).resolve().parents[3] / "benchmarks" / "rates.json"
UNMEASURED = ("published", "assumed")  # parts of the file, the better first
LARGE = 500_000_000  # parameters from which a model fills a GPU as TinyLlama does

HUBERT_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
HUBERT_LARGE = HUBERT_BASE | {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": True,
}


def encoder_flops(config: Mapping[str, Any], layers: int, utterance: float) -> float:
    """Return the FLOP per second of speech of a HuBERT's first `layers` layers, on utterances of `utterance` seconds.

    A convolution takes 2 k c_in c_out per output. A layer takes 2 (4 d^2 + 2 d f) + 4 d T per frame, where T is the
    number of frames of the utterance. `config` has the names of transformers' HubertConfig.
    """
    width, inner = config["hidden_size"], config["intermediate_size"]
    total, channels, rate = 0.0, 1, float(SAMPLE_RATE)
    for size, kernel, stride in zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True):
        rate /= stride
        total += 2 * kernel * channels * size * rate
        channels = size
    total += 2 * channels * width * FRAME_RATE
    position = config["num_conv_pos_embeddings"] * width / config["num_conv_pos_embedding_groups"]
    total += 2 * position * width * FRAME_RATE
    layer = 2 * (4 * width**2 + 2 * width * inner) + 4 * width * utterance * FRAME_RATE
    return total + layers * layer * FRAME_RATE


@dataclass(frozen=True)
class Rate:
    """A number, its basis (figures.BASES) and its source."""

    value: float
    basis: str
    source: str


@dataclass
class Rates:
    """The content of benchmarks/rates.json. `used` collects the rates that were asked for, for the page's footnotes."""

    content: dict[str, Any]
    path: Path
    used: dict[str, Rate] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path = FILE) -> "Rates":
        """Read the file; raise UserError naming what it lacks."""
        content = read_json(path)
        for part, kind in {"measured": list, "published": dict, "assumed": dict, "gpus": dict}.items():
            if not isinstance(content, dict) or not isinstance(content.get(part), kind):
                raise UserError(
                    f"{path}: '{part}' is missing or not a {kind.__name__}; restore the file from the repository"
                )
        return cls(content, path)

    def get(self, name: str) -> Rate:
        """Return a rate by name: measured on a CPU, else published, else assumed; raise UserError if there is none."""
        for _, rate in self._measured("cpu", name):
            return self._use(name, rate)
        for basis in UNMEASURED:
            if name in self.content[basis]:
                found = self.content[basis][name]
                return self._use(name, Rate(self._number(found, name), basis, found["source"]))
        raise UserError(f"{self.path}: no rate '{name}'; run python benchmarks/rates.py, or add it under 'assumed'")

    def gpu(self, work: str, gpu: str, precision: str) -> Rate:
        """Return the FLOP/s of a named GPU at `work`, a name under 'measured' such as encoder_flops.

        The first of these that exists: the rate measured on this GPU; the share of the peak measured on another GPU,
        times this one's peak; a published or assumed utilisation, times the published peak at `precision`.
        """
        peak, label = self.peak(gpu, precision), f"{work} on {gpu}"
        for name in dict.fromkeys((work, "lm_flops" if work.startswith("lm_flops") else work)):
            for hardware, rate in self._measured("cuda", name):
                there = self.known_gpu(hardware)
                if there == gpu:
                    return self._use(label, rate)
                if there:
                    share = rate.value / self.peak(there, precision)
                    return self._use(label, Rate(share * peak, "derived", f"{share:.0%} of peak: {rate.source}"))
        for basis in UNMEASURED:
            found = self.content[basis].get(f"{work}_utilisation")
            if found:
                share = self._number(found, f"{work}_utilisation")
                source = f"{share:.0%} of {peak / 1e12:.4g} TFLOP/s {precision}: {found['source']}"
                return self._use(label, Rate(share * peak, basis, source))
        raise UserError(f"{self.path}: no '{work}_utilisation' under published or assumed; add it")

    def peak(self, gpu: str, precision: str) -> float:
        """Return the published FLOP/s of a GPU; raise UserError with the known names if it is not one of them."""
        if gpu not in self.content["gpus"]:
            known = ", ".join(self.content["gpus"])
            raise UserError(f"gpu: {gpu!r} is not known; known: {known}; or add it under 'gpus' of {self.path}")
        return float(self.content["gpus"][gpu][precision])

    def known_gpu(self, name: str) -> str | None:
        """Return the key under 'gpus' that matches the driver's name of a GPU, if any."""
        plain = name.upper().replace(" ", "-")
        fits = [key for key in self.content["gpus"] if all(part in plain for part in key.upper().split("-"))]
        return max(fits, key=len, default=None)

    def unit(self, name: str) -> str:
        """Return the unit of a rate; rates of a GPU are in FLOP/s."""
        tables = [*(entry["rates"] for entry in self.content["measured"]), *map(self.content.get, UNMEASURED)]
        return next((str(table[name].get("unit", "")) for table in tables if name in table), "FLOP/s")

    def _measured(self, device: str, name: str) -> Iterator[tuple[str, Rate]]:
        """Yield the hardware and the rate of each measurement, the latest first."""
        for entry in reversed(self.content["measured"]):
            if entry["device"] == device and name in entry["rates"]:
                source = f"{entry['hardware']}, {entry['date']}, commit {entry['commit']}"
                yield entry["hardware"], Rate(self._number(entry["rates"][name], name), "measured", source)

    def _use(self, name: str, rate: Rate) -> Rate:
        self.used[name] = rate
        return rate

    def _number(self, entry: Mapping[str, Any], name: str) -> float:
        value = entry.get("value") if isinstance(entry, Mapping) else None
        if not isinstance(value, int | float) or not value > 0:
            raise UserError(f"{self.path}: '{name}' has no value above 0")
        return float(value)
