"""Numbers of a plan, each with what it rests on."""

from collections.abc import Iterable
from dataclasses import dataclass

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
