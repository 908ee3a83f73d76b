"""A point: a variation of the run, whose artefacts lie below a prefix of its own in results/.

A point of the units sweep is one choice of everything that lies between features and tokens. A point of the scaling
grid is a model size on a share of the training data. An arm of the questions is a change of the settings of units
(settings.questions). The run itself is the point without a prefix. Points share artefacts: the speakers' statistics
depend on the layer alone, the k-means sample on layer, normalisation and arm, a codebook on these and on clusters and
seed. A shared artefact lies below the prefix that names what it depends on, and below the run's own folders where all
of that is as in the run, so that nothing is made twice:

    results/units_sweep/layer2/units/speakers.safetensors
    results/units_sweep/layer2-none/units/sample.safetensors
    results/units_sweep/layer2-k100-none-seed0/units/0.parquet
    results/scaling/0.25/tokens/text-bpe
    results/scaling/0.25/xs/lm/text-bpe/seed0
    results/questions/segments-phone/units/0.parquet
"""

import re
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from speechladder.settings.questions import ARMS

_SIZE = r"[A-Za-z0-9][A-Za-z0-9_.]*"
FRACTION = r"[0-9][0-9.e-]*"
_KIND = "none|utterance|speaker"
_ARM = "|".join(ARMS)
# Patterns of prefixes, by the artefacts that lie below them; they have no groups, for Snakemake's wildcard constraints.
LAYERS = r"(?:units_sweep/layer\d+/)?"
SAMPLES = rf"(?:units_sweep/layer\d+-(?:{_KIND})/|questions/(?:{_ARM})/)?"
CODEBOOKS = rf"(?:units_sweep/layer\d+-k\d+-(?:{_KIND})-seed\d+/|questions/(?:{_ARM})/)?"
MODELS = rf"(?:units_sweep/layer\d+-k\d+-(?:{_KIND})-seed\d+/|questions/(?:{_ARM})/|scaling/{FRACTION}/{_SIZE}/)?"

_PREFIX = re.compile(
    rf"(?:units_sweep/layer(?P<layer>\d+)(?:-k(?P<clusters>\d+))?(?:-(?P<normalisation>{_KIND}))?(?:-seed(?P<seed>\d+))?/"
    rf"|scaling/(?P<fraction>{FRACTION})/(?:(?P<size>{_SIZE})/)?"
    rf"|questions/(?P<arm>{_ARM})/)?"
)
_NAME = re.compile(rf"layer(\d+)-k(\d+)-({_KIND})-seed(\d+)(-dedup)?")
_SAMPLE = ("layer", "normalisation", "arm")
_CODEBOOK = (*_SAMPLE, "clusters", "seed")
# What an artefact depends on, of that in which points differ.
DEPENDS = {
    "speakers": ("layer",),
    "sample": _SAMPLE,
    "units": _CODEBOOK,
    "tokens": (*_CODEBOOK, "fraction"),
    "models": (*_CODEBOOK, "fraction", "size"),
}


class Point(NamedTuple):
    """A row of results/units_sweep.csv; `name` is that of the row: layer3-k100-none-seed0-dedup."""

    layer: int
    clusters: int
    normalisation: str
    seed: int  # of k-means
    dedup: bool = False

    @property
    def codebook(self) -> str:
        """The name without de-duplication, which needs no codebook of its own."""
        return f"layer{self.layer}-k{self.clusters}-{self.normalisation}-seed{self.seed}"

    @property
    def name(self) -> str:
        """The name of the point; `parse` is its inverse."""
        return self.codebook + "-dedup" * self.dedup

    @property
    def rung(self) -> str:
        """The rung that reads the point's units."""
        return "speech-hubert" + "-dedup" * self.dedup

    @classmethod
    def parse(cls, name: str) -> "Point":
        """The point of a name. Raises ValueError if `name` is not the name of a point."""
        found = _NAME.fullmatch(name)
        if not found:
            raise ValueError(f"{name!r} is no point of the sweep; they are written layer3-k100-none-seed0[-dedup]")
        layer, clusters, normalisation, seed, dedup = found.groups()
        return cls(int(layer), int(clusters), normalisation, int(seed), bool(dedup))


@dataclass(frozen=True)
class Variation:
    """In what a point differs from the run; None: as in the run."""

    layer: int | None = None
    clusters: int | None = None
    normalisation: str | None = None
    seed: int | None = None  # of k-means
    fraction: str | None = None  # as the prefix writes it
    size: str | None = None
    arm: str | None = None  # a name in settings.questions.ARMS

    @classmethod
    def parse(cls, prefix: str) -> "Variation":
        """The variation of a prefix. Raises ValueError if there is no such prefix."""
        found = _PREFIX.fullmatch(prefix)
        if not found:
            raise ValueError(f"{prefix!r} is not the prefix of a point")
        if (fraction := found["fraction"]) is not None:
            try:
                is_share = 0 < float(fraction) <= 1
            except ValueError:
                is_share = False
            if not is_share:
                raise ValueError(f"{prefix!r} is not the prefix of a point: {fraction} is no share above 0, at most 1")
        numbers = ("layer", "clusters", "seed")
        return cls(**{name: int(v) if v and name in numbers else v for name, v in found.groupdict().items()})

    @property
    def prefix(self) -> str:
        """The folder below results/, with a slash at its end; empty for the run. `parse` is its inverse."""
        if self.fraction is not None:
            return f"scaling/{self.fraction}/" + (f"{self.size}/" if self.size else "")
        if self.arm is not None:
            return f"questions/{self.arm}/"
        if self.layer is None:
            return ""
        parts = {"k": self.clusters, "": self.normalisation, "seed": self.seed}
        named = "".join(f"-{letter}{value}" for letter, value in parts.items() if value is not None)
        return f"units_sweep/layer{self.layer}{named}/"

    def applied(self, settings: Any) -> Any:
        """The run's Settings with this variation's units, and for a size with its model."""
        units = {name: getattr(self, name) for name in ("layer", "clusters", "normalisation")}
        changed = {name: value for name, value in units.items() if value is not None}
        if self.arm is not None:
            changed |= ARMS[self.arm].units
        update = {"units": settings.units.model_copy(update=changed)}
        if self.seed is not None:
            update["seed"] = self.seed
        if self.size is not None:
            update["lm"] = settings.scaled_lm(self.size)
        return settings.model_copy(update=update)


def at(settings: Any, prefix: str, rung: str = "") -> Any:
    """The Settings of a point: the run's own where the prefix is empty. `rung` is that of the job, if it has one.

    A point is scored without layers and without a learning curve, since its table has neither. So is a rung that only
    another target than the run's own table reads.
    """
    variation = Variation.parse(prefix)
    found = variation.applied(settings)
    if prefix or (rung and rung not in settings.rungs):
        found = found.model_copy(
            update={"scores": found.scores.model_copy(update={"layers": False, "learning": False})}
        )
    if variation.size is not None:
        seeds = {"learning_points": 0, "seeds": settings.scaling.seeds}
        found = found.model_copy(update={"lm": found.lm.model_copy(update=seeds)})
    elif variation.arm is not None:
        found = found.model_copy(update={"lm": found.lm.model_copy(update={"learning_points": 0})})
    if (
        found.units.segments != "frame"
    ):  # a run of equal units of segments is no duration, which the curriculum is about
        found = found.model_copy(update={"lm": found.lm.model_copy(update={"run_curriculum": 0.0})})
    return found


def where(settings: Any, prefix: str, artefact: str) -> str:
    """The prefix below which a point's artefact lies; `artefact` is a key of DEPENDS.

    Empty where the artefact is the run's own: the point differs from the run in nothing that the artefact depends on.
    """
    point = Variation.parse(prefix)
    others = {each.name: None for each in fields(Variation) if each.name not in DEPENDS[artefact]}
    shared = replace(point, **others)
    same = shared.applied(settings) == settings and float(shared.fraction or 1) == 1
    return "" if same else shared.prefix


def own(settings: Any) -> Point:
    """The run's own units as a point of the sweep."""
    return Point(settings.units.layer, settings.units.clusters, settings.units.normalisation, settings.seed)
