"""First centroids: frames at random, or k-means++ (Arthur and Vassilvitskii 2007). numpy only, so that every backend
and device starts from the same ones."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from speechladder.units.kmeans.fit import Plan

POINTS = 32  # frames per cluster that k-means++ looks at: each cluster costs it a pass over them


def seed_of(seed: int, start: int) -> int:
    """The seed of a start: the run's own for the first, 31 bits of it and the start's number for the others."""
    return seed if not start else int(np.random.SeedSequence([seed, start]).generate_state(1)[0] >> 1)


def take(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of features (frames, dim), which may be mapped, as float32 in memory; read in the order of the file."""
    order = np.argsort(rows, kind="stable")
    out = np.empty((len(rows), features.shape[1]), np.float32)
    out[order] = features[rows[order]]
    return out


def first_centroids(features: np.ndarray, plan: "Plan") -> np.ndarray:
    """(clusters, dim) float32 of features (frames, dim), drawn from the plan's seed."""
    rng = np.random.default_rng([plan.seed, 7])
    if plan.init == "random":
        return take(features, rng.choice(len(features), plan.clusters, replace=False))
    count = min(len(features), POINTS * plan.clusters)
    rows = np.sort(rng.choice(len(features), count, replace=False))
    return plus_plus(take(features, rows), plan.clusters, rng)


def plus_plus(points: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Greedy k-means++ on points (n, dim): each next centroid is the best of 2 + log(clusters) points, each drawn in
    proportion to its squared distance from the nearest centroid so far."""
    wide = points - points.mean(axis=0, dtype=np.float64).astype(np.float32)  # smaller norms, smaller rounding
    norms = np.einsum("nd,nd->n", wide, wide)
    trials = 2 + int(np.log(clusters))

    def distances(rows: np.ndarray) -> np.ndarray:  # (rows, n)
        return np.maximum(norms[rows, None] + norms[None] - 2 * (wide[rows] @ wide.T), 0)

    chosen = [int(rng.integers(len(points)))]
    nearest = distances(np.array(chosen))[0]
    while len(chosen) < clusters:
        nearest[chosen] = 0  # rounding, above
        summed = np.cumsum(nearest, dtype=np.float64)
        if summed[-1] <= 0:  # fewer distinct points than clusters: any will do
            left = np.setdiff1d(np.arange(len(points)), chosen)
            chosen += rng.choice(left, clusters - len(chosen), replace=False).tolist()
            break
        drawn = np.searchsorted(summed, rng.random(trials) * summed[-1], side="right").clip(max=len(points) - 1)
        found = np.minimum(distances(drawn), nearest)
        best = int(found.sum(axis=1, dtype=np.float64).argmin())
        chosen.append(int(drawn[best]))
        nearest = found[best]
    return points[chosen]
