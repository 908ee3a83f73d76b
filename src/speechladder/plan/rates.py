"""The numbers of a plan and what they rest on; the rates that it counts with, from benchmarks/rates.json.

A number is `measured` (by benchmarks/rates.py, on the hardware that it names, or by an earlier run), `published` (by
the source that it names), `derived` (from either of these by a formula) or `assumed`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.files import read_json

FILE = Path(__file__).resolve().parents[3] / "benchmarks" / "rates.json"
BASES = ("measured", "published", "derived", "assumed")  # from the strongest to the weakest


def worst(bases: Iterable[str]) -> str:
    """Return the weakest of some bases: a sum rests on its weakest term."""
    return max(bases, key=BASES.index, default="measured")


@dataclass(frozen=True)
class Figure:
    """A value and its basis; a sum has the weakest basis of its terms that are not zero."""

    value: float = 0.0
    basis: str = "measured"

    def __add__(self, other: "Figure") -> "Figure":
        return Figure(self.value + other.value, worst(figure.basis for figure in (self, other) if figure.value))

    def __truediv__(self, parts: float) -> "Figure":
        return Figure(self.value / parts, self.basis)

    def times(self, factor: float, *bases: str) -> "Figure":
        """Return the figure scaled by `factor`, which rests on `bases`."""
        return Figure(self.value * factor, worst([self.basis, *bases]))


@dataclass(frozen=True)
class Cost:
    """Core-hours, GPU-hours and bytes on disk."""

    cpu: Figure = Figure()
    gpu: Figure = Figure()
    disk: Figure = Figure()

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cpu + other.cpu, self.gpu + other.gpu, self.disk + other.disk)

    def times(self, factor: float) -> "Cost":
        """Return the cost scaled by `factor`."""
        return Cost(self.cpu.times(factor), self.gpu.times(factor), self.disk.times(factor))

    @property
    def hours(self) -> Figure:
        """CPU-hours and GPU-hours together."""
        return self.cpu + self.gpu


@dataclass(frozen=True)
class Rate(Figure):
    """A figure with its source and its unit."""

    source: str = ""
    unit: str = field(default="FLOP/s", compare=False)


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
                    f"{path}: '{part}' is missing or no {kind.__name__}; restore the file from the repository"
                )
        return cls(content, path)

    def __post_init__(self) -> None:
        """Index the rates by "cpu" or the name of a GPU, and by their own name; what is measured last counts."""
        self._rates: dict[tuple[str | None, str], Rate] = {}
        for basis in ("assumed", "published"):
            self._add("cpu", basis, self.content[basis])
        for run in self.content["measured"]:
            device = "cpu" if run["device"] == "cpu" else self.known_gpu(run["hardware"])
            self._add(device, "measured", run["rates"], f"{run['hardware']}, {run['date']}, commit {run['commit']}")

    def _add(self, device: str | None, basis: str, entries: Mapping[str, Mapping[str, Any]], source: str = "") -> None:
        for name, entry in entries.items():
            value = entry.get("value") if isinstance(entry, Mapping) else None
            if not isinstance(value, int | float) or not value > 0:
                raise UserError(f"{self.path}: '{name}' has no value above 0")
            rate = Rate(float(value), basis, source or entry["source"], entry.get("unit", ""))
            self._rates[device, name] = rate

    def get(self, name: str) -> Rate:
        """Return a rate by name: measured on a CPU, else published, else assumed; raise UserError if there is none."""
        if ("cpu", name) not in self._rates:
            raise UserError(f"{self.path}: no rate '{name}'; run python benchmarks/rates.py, or add it under 'assumed'")
        return self.used.setdefault(name, self._rates["cpu", name])

    def gpu(self, work: str, gpu: str, precision: str) -> Rate:
        """Return the FLOP/s of a named GPU at `work`, a name under 'measured' such as encoder_flops.

        The first of these that exists: the rate measured on this GPU; the share of the peak measured on another GPU,
        times this one's peak; a published or assumed utilisation, times the published peak at `precision`.
        """
        rate = self.used[f"{work} on {gpu}"] = self._gpu(work, gpu, precision)
        return rate

    def _gpu(self, work: str, gpu: str, precision: str) -> Rate:
        peak = self.peak(gpu, precision)
        for name in (work, "lm_flops" if work.startswith("lm_flops") else work):
            measured = {
                on: rate for (on, found), rate in self._rates.items() if found == name and on in self.content["gpus"]
            }
            if gpu in measured:
                return replace(measured[gpu], unit="FLOP/s")
            for there, rate in reversed(measured.items()):  # the latest first
                share = rate.value / self.peak(there, precision)
                return Rate(share * peak, "derived", f"{share:.0%} of peak: {rate.source}")
        found = self._rates.get(("cpu", f"{work}_utilisation"))
        if not found:
            raise UserError(f"{self.path}: no '{work}_utilisation' under published or assumed; add it")
        source = f"{found.value:.0%} of {peak / 1e12:.4g} TFLOP/s {precision}: {found.source}"
        return Rate(found.value * peak, found.basis, source)

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
