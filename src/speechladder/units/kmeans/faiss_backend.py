"""k-means by faiss, on the CPU with one thread or on a GPU, and the choice of backend for `auto`."""

from typing import Any

import numpy as np

from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.units.assign import assign
from speechladder.units.kmeans.plan import OnIteration, Plan, Trained


def _gpus() -> int:
    """Number of GPUs that this faiss can use: 0 for faiss-cpu, which would silently train on the CPU."""
    import faiss

    return faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0


def choose_backend(wanted: str) -> str:
    """The backend that `wanted` means: faiss, faiss-gpu or torch. Raise UserError if faiss-gpu cannot run."""
    if wanted in ("faiss", "torch"):
        return wanted
    gpus = _gpus()
    if wanted == "faiss-gpu" and not gpus:
        raise UserError(
            "units.kmeans: faiss-gpu needs a GPU and the package faiss-gpu-cu12 in place of faiss-cpu; install it in "
            "an environment of its own, or write kmeans: torch, which runs on any device"
        )
    return "faiss-gpu" if gpus else "faiss"


def run(features: np.ndarray, plan: Plan, first: np.ndarray | None, on_iteration: OnIteration | None = None) -> Trained:
    """Run one start from `first` (clusters, dim), or from frames that faiss draws.

    faiss silently takes 256 points per centroid by default. Here it subsamples only beyond `max_points_per_centroid` x
    clusters frames. A mapped sample is read once per iteration, in its order. `on_iteration` is called for all
    iterations after the last.
    """
    import faiss

    faiss.omp_set_num_threads(1)
    features = np.ascontiguousarray(features, dtype=np.float32)
    index: Any = faiss.IndexFlatL2(features.shape[1])
    on_gpu = plan.backend == "faiss-gpu"
    if on_gpu:
        resources = faiss.StandardGpuResources()
        index = faiss.index_cpu_to_gpu(resources, int((plan.device or acquire_gpu()).partition(":")[2] or 0), index)
    found, objective = train_index(features, plan, first, index)
    for value in objective if on_iteration else ():
        on_iteration(value)
    if on_gpu:
        rows = range(0, len(features), 1 << 18)
        used = np.unique(np.concatenate([np.unique(index.search(features[r : r + (1 << 18)], 1)[1]) for r in rows]))
    else:
        used = np.unique(assign(features, found))
    made_by = {"faiss": faiss.__version__} | ({"device": "cuda"} if on_gpu else {})
    return Trained(found, objective, plan.clusters - len(used), made_by=made_by)


def train_index(
    features: np.ndarray, plan: Plan, first: np.ndarray | None, index: Any
) -> tuple[np.ndarray, list[float]]:
    """Train with an empty flat `index`, which then holds the centroids: (centroids (clusters, dim), objectives).

    This does what faiss.Kmeans does, but faiss.Kmeans would take every GPU of the machine.
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
