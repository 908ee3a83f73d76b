"""The settings of the units sweep: its points, and which of them are trained."""

import fnmatch
from itertools import product
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from speechladder.io.errors import suggestion
from speechladder.settings.points import Point
from speechladder.settings.section import Section, check_distinct
from speechladder.settings.units import MAX_UNITS


class Sweep(Section):
    """Choices of units, for results/units_sweep.csv, a target of its own. It shows how factor C depends on the units."""

    layers: list[Annotated[int, Field(ge=1)]] = Field([2, 3], min_length=1, description="Values of units.layer.")
    clusters: list[Annotated[int, Field(ge=2, le=MAX_UNITS)]] = Field(
        [100, 400], min_length=1, description="Values of units.clusters."
    )
    normalisations: list[Literal["none", "utterance", "speaker"]] = Field(
        ["none", "speaker"], min_length=1, description="Values of units.normalisation."
    )
    dedup: list[bool] = Field(
        [False, True],
        min_length=1,
        description="false: the rung speech-hubert. true: the rung speech-hubert-dedup, which writes each "
        "run of equal units once.",
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0, 1], min_length=1, description="Seeds of k-means.")
    minutes: float = Field(20.0, gt=0, description="Speech on which the quality of a point is measured, in minutes.")
    train: list[str] = Field(
        ["axes"],
        description="Points on which a language model is trained and scored. axes: the run's own units, and every point that "
        "differs from them in one choice. Otherwise names of points, such as layer3-k100-none-seed0-dedup, in which * and ? "
        "match anything. []: no point.",
    )

    _distinct = field_validator("layers", "clusters", "normalisations", "dedup", "seeds")(check_distinct)

    @model_validator(mode="after")
    def _trains_what_there_is(self) -> "Sweep":
        names = [point.name for point in self.points()]
        for pattern in self.train:
            if pattern != "axes" and not fnmatch.filter(names, pattern):
                hint = suggestion(pattern, ["axes", *names], 0)
                raise ValueError(f"train: no point is named {pattern!r}; {hint}There are {len(names)}")
        return self

    def points(self) -> list[Point]:
        """Every point, in the order of the table's rows."""
        choices = product(self.layers, self.clusters, self.normalisations, self.seeds, self.dedup)
        return [Point(*choice) for choice in choices]

    def trained(self, own: Point) -> list[Point]:
        """The points that `train` names.

        `own` is the run's point. In a list that lacks its value, the first value takes its place.
        """
        lists = (self.layers, self.clusters, self.normalisations, self.seeds, self.dedup)
        centre = [value if value in values else values[0] for value, values in zip(own, lists, strict=True)]

        def wanted(point: Point) -> bool:
            axes = "axes" in self.train and sum(a != b for a, b in zip(point, centre, strict=True)) <= 1
            return axes or any(fnmatch.fnmatchcase(point.name, pattern) for pattern in self.train)

        return [point for point in self.points() if wanted(point)]
