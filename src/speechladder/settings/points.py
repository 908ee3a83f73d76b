"""A point of the units sweep: one choice of everything that lies between features and tokens, and its name."""

import re
from typing import NamedTuple

_NAME = re.compile(r"layer(\d+)-k(\d+)-(none|utterance|speaker)-seed(\d+)(-dedup)?")


class Point(NamedTuple):
    """`name` is that of its folder and its row: layer3-k100-none-seed0-dedup."""

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
        """Of the point; `parse` is its inverse."""
        return self.codebook + "-dedup" * self.dedup

    @property
    def rung(self) -> str:
        """The rung that reads it."""
        return "speech-hubert" + "-dedup" * self.dedup

    @classmethod
    def parse(cls, name: str) -> "Point":
        """Raises ValueError where `name` is none."""
        found = _NAME.fullmatch(name)
        if not found:
            raise ValueError(f"{name!r} is no point of the sweep; they are written layer3-k100-none-seed0[-dedup]")
        layer, clusters, normalisation, seed, dedup = found.groups()
        return cls(int(layer), int(clusters), normalisation, int(seed), bool(dedup))
