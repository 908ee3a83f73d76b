"""First centroids: frames drawn at random, or k-means++ (Arthur and Vassilvitskii 2007).

They are drawn in numpy, so that every backend and device starts from the same centroids.
"""

import numpy as np

from speechladder.units.kmeans.plan import Plan

POINTS = 32  # frames per cluster that k-means++ looks at; each cluster costs a pass over all of them


def seed_of(seed: int, start: int) -> int:
    """The seed of a start: the run's own seed for the first, 31 bits of a hash of both numbers for the others."""
    return seed if not start else int(np.random.SeedSequence([seed, start]).generate_state(1)[0] >> 1)


def take_rows(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of features (frames, dim), which may be mapped, as float32 in memory. They are read in the file's order."""
    order = np.argsort(rows, kind="stable")
    out = np.empty((len(rows), features.shape[1]), np.float32)
    out[order] = features[rows[order]]
    return out


def first_centroids(features: np.ndarray, plan: Plan) -> np.ndarray:
    """The first centroids (clusters, dim) float32 from features (frames, dim), drawn with the plan's seed."""
    rng = np.random.default_rng([plan.seed, 7])
    if plan.init == "random":
        return take_rows(features, rng.choice(len(features), plan.clusters, replace=False))
    count = min(len(features), POINTS * plan.clusters)
    rows = np.sort(rng.choice(len(features), count, replace=False))
    return plus_plus(take_rows(features, rows), plan.clusters, rng)


def plus_plus(points: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Greedy k-means++ on points (n, dim).

    Each next centroid is the best of 2 + log(clusters) candidates. A candidate is drawn with a probability in
    proportion to its squared distance from the nearest centroid so far.
    """
    wide = points - points.mean(axis=0, dtype=np.float64).astype(
        np.float32
    )  # smaller norms have smaller rounding errors
    norms = np.einsum("nd,nd->n", wide, wide)
    trials = 2 + int(np.log(clusters))

    def distances(rows: np.ndarray) -> np.ndarray:  # (rows, n)
        return np.maximum(norms[rows, None] + norms[None] - 2 * (wide[rows] @ wide.T), 0)

    chosen = [int(rng.integers(len(points)))]
    nearest = distances(np.array(chosen))[0]
    while len(chosen) < clusters:
        nearest[chosen] = 0  # rounding may leave a little
        summed = np.cumsum(nearest, dtype=np.float64)
        if summed[-1] <= 0:  # there are fewer distinct points than clusters: take any
            left = np.setdiff1d(np.arange(len(points)), chosen)
            chosen += rng.choice(left, clusters - len(chosen), replace=False).tolist()
            break
        drawn = np.searchsorted(summed, rng.random(trials) * summed[-1], side="right").clip(max=len(points) - 1)
        found = np.minimum(distances(drawn), nearest)
        best = int(found.sum(axis=1, dtype=np.float64).argmin())
        chosen.append(int(drawn[best]))
        nearest = found[best]
    return points[chosen]
