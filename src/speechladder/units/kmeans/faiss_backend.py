"""k-means by faiss, on the CPU with one thread or on a GPU, and which backend `auto` is."""

from typing import Any

import numpy as np

from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.units.kmeans.fit import Plan, Told, Trained


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


def run(features: np.ndarray, plan: Plan, centroids: np.ndarray | None, told: Told | None = None) -> Trained:
    """One start from `centroids` (clusters, dim), or from frames that faiss draws; all iterations are `told` after it.

    faiss takes 256 points per centroid unless told otherwise, without a word: beyond `max_points_per_centroid` x
    clusters frames it still subsamples. A mapped sample is read once per iteration, in its order.
    """
    import faiss

    from speechladder.units.codebook import assign

    faiss.omp_set_num_threads(1)
    features = np.ascontiguousarray(features, dtype=np.float32)
    index: Any = faiss.IndexFlatL2(features.shape[1])
    on_gpu = plan.backend == "faiss-gpu"
    if on_gpu:
        resources = faiss.StandardGpuResources()
        index = faiss.index_cpu_to_gpu(resources, int((plan.device or acquire_gpu()).partition(":")[2] or 0), index)
    found, objective = train(features, plan, centroids, index)
    for value in objective if told else ():
        told(value)
    if on_gpu:
        rows = range(0, len(features), 1 << 18)
        used = np.unique(np.concatenate([np.unique(index.search(features[r : r + (1 << 18)], 1)[1]) for r in rows]))
    else:
        used = np.unique(assign(features, found))
    made_by = {"faiss": faiss.__version__} | ({"device": "cuda"} if on_gpu else {})
    return Trained(found, objective, plan.clusters - len(used), made_by=made_by)


def train(features: np.ndarray, plan: Plan, first: np.ndarray | None, index: Any) -> tuple[np.ndarray, list[float]]:
    """(centroids (clusters, dim), objective per iteration) with an empty flat `index`, which holds the centroids after.

    What faiss.Kmeans does, which would take every GPU that there is.
    """
    import faiss

    options = faiss.ClusteringParameters()
    options.niter, options.seed = plan.iterations, plan.seed
    options.min_points_per_centroid, options.max_points_per_centroid = 1, plan.max_points_per_centroid
    clustering = faiss.Clustering(features.shape[1], plan.clusters, options)
    if first is not None:
        faiss.copy_array_to_vector(np.ascontiguousarray(first, np.float32).ravel(), clustering.centroids)
    clustering.train(features, index)
    stats = clustering.iteration_stats
    centroids = faiss.vector_float_to_array(clustering.centroids).reshape(plan.clusters, features.shape[1])
    return centroids, [float(stats.at(i).obj) for i in range(stats.size())]
