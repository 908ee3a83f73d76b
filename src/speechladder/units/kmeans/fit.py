"""Run a plan with its backend, from each of its starts, and keep the start with the lowest objective.

Every backend gives the same result for the same seed, device and number of threads. The first centroids are frames
drawn at random (faiss draws its own), or those of k-means++. A cluster that loses its last frame gets a new centroid:
faiss splits a large cluster, drawn by size; torch splits the cluster with the largest sum of distances (torch_backend).
"""

from dataclasses import replace
from itertools import count

import numpy as np

from speechladder.io.errors import UserError
from speechladder.units.kmeans import faiss_backend
from speechladder.units.kmeans.plan import OnIteration, Plan, Report, Trained
from speechladder.units.kmeans.start import first_centroids, seed_of

_ROWS = 1 << 16  # frames checked at once, so that a mapped sample is never held in memory


def check_features(features: np.ndarray, clusters: int) -> None:
    """Raise UserError if there are fewer frames than clusters, or values that are not finite."""
    if len(features) < clusters:
        raise UserError(
            f"units.clusters: {clusters} clusters from {len(features)} frames; raise units.sample_frames "
            "(or give more speech), or lower units.clusters"
        )
    if not all(np.isfinite(features[at : at + _ROWS]).all() for at in range(0, len(features), _ROWS)):
        raise UserError("units.encoder: the encoder gives values that are not finite; its checkpoint is damaged")


def fit(features: np.ndarray, plan: Plan, report: Report | None = None) -> Trained:
    """k-means of features (frames, dim) float32, in memory or mapped from a file. Raise UserError as `check_features`.

    torch calls `report` after each iteration; faiss, which reports nothing earlier, at the end of each start.
    """
    backend = faiss_backend.choose_backend(plan.backend)  # before the sample is read
    check_features(features, plan.clusters)
    if backend == "torch":
        from speechladder.units.kmeans.torch_backend import run
    else:
        run = faiss_backend.run
    found: list[Trained] = []
    for start in range(plan.restarts):
        one = replace(plan, backend=backend, seed=seed_of(plan.seed, start))
        drawn_by_faiss = backend != "torch" and plan.init == "random"
        first = None if drawn_by_faiss else first_centroids(features, one)
        found.append(run(features, one, first, _counting(report, start, plan.frames_used(len(features)))))
    kept = min(range(len(found)), key=lambda start: found[start].objective[-1])
    return replace(found[kept], starts=tuple(tuple(one.objective) for one in found), kept=kept)


def kmeans(features: np.ndarray, clusters: int, iterations: int, max_points_per_centroid: int, seed: int) -> Trained:
    """Lloyd's algorithm on features (frames, dim) float32, by faiss on the CPU with one thread. Raise UserError."""
    return fit(features, Plan(clusters, iterations, seed, max_points_per_centroid, backend="faiss"))


def _counting(report: Report | None, start: int, frames: int) -> OnIteration:
    """Count the iterations of a start and pass each to `report`, if there is one."""
    iterations = count(1)

    def on_iteration(objective: float) -> None:
        if report:
            report(start, next(iterations), objective / frames)

    return on_iteration
