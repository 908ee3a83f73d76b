"""Numbers of a plan that know what they rest on."""

from dataclasses import dataclass

from speechladder.plan.rates import worst


@dataclass(frozen=True)
class Figure:
    """A value and its basis (rates.BASES); adding keeps the weakest of what is not nothing."""

    value: float = 0.0
    basis: str = "measured"

    def __add__(self, other: "Figure") -> "Figure":
        bases = [figure.basis for figure in (self, other) if figure.value]
        return Figure(self.value + other.value, worst(bases))

    def times(self, factor: float, *bases: str) -> "Figure":
        """Scaled by `factor`, which rests on `bases`."""
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
        """All of it scaled."""
        return Cost(self.cpu.times(factor), self.gpu.times(factor), self.disk.times(factor))
