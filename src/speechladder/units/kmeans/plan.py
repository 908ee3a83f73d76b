"""What k-means is asked for, and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Report = Callable[[int, int, float], None]  # start, iteration (from 1), objective per frame that is trained on
OnIteration = Callable[[float], None]  # receives the objective of the next iteration of a start


@dataclass(frozen=True)
class Plan:
    """What is asked for. The fields are those of settings.Units; `backend` is units.kmeans.

    `device`: for the torch backend; None is the GPU if there is one. `enough`: stop when the objective (sum of squared
    distances) is at or below this value; for benchmarks, with torch only.
    """

    clusters: int
    iterations: int
    seed: int = 0
    max_points_per_centroid: int = 1_000_000
    backend: str = "auto"
    init: str = "random"
    restarts: int = 1
    precision: str = "fp32"
    device: str | None = None
    enough: float = 0.0

    def frames_used(self, frames: int) -> int:
        """Number of a sample's frames that are trained on; backends subsample beyond `max_points_per_centroid`."""
        return min(frames, self.clusters * self.max_points_per_centroid)

    @property
    def unusual(self) -> dict[str, Any]:
        """The choices that differ from the defaults; a codebook notes them in addition to what it always notes."""
        found = {"init": self.init, "restarts": self.restarts, "precision": self.precision}
        return {name: value for name, value in found.items() if value != getattr(type(self), name)}


@dataclass(frozen=True)
class Trained:
    """The result of k-means: centroids (clusters, dim) float32, objectives, and the number of empty clusters.

    `objective`: per iteration, the sum of squared distances to the centroids before their update. `starts`: the same
    for every start. `kept`: the start that this is. `reseeded`: how often an empty cluster got a new centroid (torch
    only; faiss does not say). `made_by`: backend, version and device, for the provenance.
    """

    centroids: np.ndarray
    objective: list[float]
    empty: int
    starts: tuple[tuple[float, ...], ...] = ()
    kept: int = 0
    reseeded: int = 0
    made_by: dict[str, str] | None = None
