"""A plan, its backend, its starts: the one with the lowest objective is kept.

Every backend gives the same for the same seed, device and number of threads. First centroids are frames drawn at random
(faiss draws its own), or those of k-means++. A cluster that loses its last frame gets a new centroid: faiss splits a
large cluster, drawn by size; torch splits the cluster with the largest sum of distances (kmeans.torch_backend).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from speechladder.io.errors import UserError
from speechladder.units.kmeans.start import first_centroids, seed_of

_ROWS = 1 << 16  # frames looked at at once: a mapped sample is never held

Report = Callable[[int, int, float], None]  # start, iteration (from 1), objective per frame that is trained on
Told = Callable[[float], None]  # the objective of the next iteration of a start


@dataclass(frozen=True)
class Plan:
    """What is asked for; the fields of settings.Units by their own names, `backend` being units.kmeans.

    `device`: of torch; None is the GPU where there is one. `enough`: stop at an objective (sum of squared distances) at
    or below it; for benchmarks, torch only.
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
        """How many of a sample's frames are trained on: beyond `max_points_per_centroid` backends subsample."""
        return min(frames, self.clusters * self.max_points_per_centroid)

    @property
    def unusual(self) -> dict[str, Any]:
        """What a codebook notes beyond what every codebook notes."""
        found = {"init": self.init, "restarts": self.restarts, "precision": self.precision}
        return {name: value for name, value in found.items() if value != getattr(type(self), name)}


@dataclass(frozen=True)
class Trained:
    """k-means' outcome: centroids (clusters, dim) float32, objective per iteration (the sum of squared distances to the
    centroids before their update), centroids without a frame.

    `starts`: the same objective of every start; `kept`: which of them this is; `reseeded`: how often an empty cluster
    got a new centroid (torch; faiss does not say); `made_by`: backend, version and device for the provenance.
    """

    centroids: np.ndarray
    objective: list[float]
    empty: int
    starts: tuple[tuple[float, ...], ...] = ()
    kept: int = 0
    reseeded: int = 0
    made_by: dict[str, str] | None = None


def check(features: np.ndarray, clusters: int) -> None:
    """Raise UserError where there are fewer frames than clusters, or values that are not finite."""
    if len(features) < clusters:
        raise UserError(
            f"units.clusters: {clusters} clusters from {len(features)} frames; raise units.sample_frames "
            "(or give more speech), or lower units.clusters"
        )
    if not all(np.isfinite(features[at : at + _ROWS]).all() for at in range(0, len(features), _ROWS)):
        raise UserError("units.encoder: the encoder gives values that are not finite; its checkpoint is damaged")


def fit(features: np.ndarray, plan: Plan, report: Report | None = None) -> Trained:
    """k-means of features (frames, dim) float32, in memory or mapped from a file. Raises UserError.

    `report` is called after each iteration by torch, and by faiss, which says nothing before, at the end of each start.
    """
    check(features, plan.clusters)
    from speechladder.units.kmeans.faiss_backend import choose

    if (backend := choose(plan.backend)) == "torch":
        from speechladder.units.kmeans.torch_backend import run
    else:
        from speechladder.units.kmeans.faiss_backend import run
    found: list[Trained] = []
    for start in range(plan.restarts):
        one = replace(plan, backend=backend, seed=seed_of(plan.seed, start))
        drawn_by_faiss = backend != "torch" and plan.init == "random"
        first = None if drawn_by_faiss else first_centroids(features, one)
        found.append(run(features, one, first, _teller(report, start, plan.frames_used(len(features)))))
    kept = min(range(len(found)), key=lambda start: found[start].objective[-1])
    return replace(found[kept], starts=tuple(tuple(one.objective) for one in found), kept=kept)


def _teller(report: Report | None, start: int, frames: int) -> Told:
    """Counts the iterations of a start, and tells them to `report` if there is one."""
    iterations = count(1)

    def told(objective: float) -> None:
        if report:
            report(start, next(iterations), objective / frames)

    return told
