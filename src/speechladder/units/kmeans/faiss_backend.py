"""k-means by faiss, on the CPU with one thread or on a GPU, and which backend `auto` is."""

import numpy as np

from speechladder.io.errors import UserError
from speechladder.units.kmeans.fit import Plan, Trained


def _gpus() -> int:
    """GPUs that this faiss can use: 0 for faiss-cpu, which would train on the CPU without a word."""
    import faiss

    return faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0


def choose(wanted: str) -> str:
    """faiss, faiss-gpu or torch. Raises UserError where faiss-gpu is asked for and cannot run."""
    if wanted in ("faiss", "torch"):
        return wanted
    gpus = _gpus()
    if wanted == "faiss-gpu" and not gpus:
        raise UserError(
            "units.kmeans: faiss-gpu needs a GPU and the package faiss-gpu-cu12 in place of faiss-cpu; install it in "
            "an environment of its own, or write kmeans: torch, which runs on any device"
        )
    return "faiss-gpu" if gpus else "faiss"


def run(features: np.ndarray, plan: Plan, centroids: np.ndarray | None) -> Trained:
    """One start from `centroids` (clusters, dim), or from frames that faiss draws.

    faiss takes 256 points per centroid unless told otherwise, without a word: beyond `max_points_per_centroid` x
    clusters frames it still subsamples. A mapped sample is read once per iteration, in its order.
    """
    import faiss

    from speechladder.units.codebook import assign

    faiss.omp_set_num_threads(1)
    means = faiss.Kmeans(
        features.shape[1],
        plan.clusters,
        niter=plan.iterations,
        seed=plan.seed,
        spherical=False,
        min_points_per_centroid=1,
        max_points_per_centroid=plan.max_points_per_centroid,
        gpu=plan.backend == "faiss-gpu",
    )
    means.train(np.ascontiguousarray(features, dtype=np.float32), init_centroids=centroids)
    if plan.backend == "faiss-gpu":
        rows = range(0, len(features), 1 << 18)
        used = np.unique(
            np.concatenate([np.unique(means.index.search(features[r : r + (1 << 18)], 1)[1]) for r in rows])
        )
    else:
        used = np.unique(assign(features, means.centroids))
    made_by = {"faiss": faiss.__version__} | ({"device": "cuda"} if plan.backend == "faiss-gpu" else {})
    objective = [float(value) for value in means.obj]
    return Trained(means.centroids, objective, plan.clusters - len(used), made_by=made_by)
