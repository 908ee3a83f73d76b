"""Measure how long k-means takes to reach the objective of scikit-learn's MiniBatchKMeans; part of benchmarks/units.py.

    python benchmarks/kmeans_part.py                       # 200,000 frames of 1024 dimensions, 512 clusters
    python benchmarks/kmeans_part.py --only torch          # on a GPU, where faiss would run on the CPU

MiniBatchKMeans runs with the defaults of scikit-learn (k-means++, mini-batches of 4,096, up to 100 passes) until it
stops. The objective of its centroids over all frames is the one to reach. Ours starts from k-means++ too. Its time
includes that start, and ends with the first iteration whose objective is at or below the other one. Both have the same
number of threads. --sample is the units/sample.safetensors of a run. Without it the frames are a mixture of more
Gaussians than clusters, in which Lloyd's algorithm gets stuck more easily than in speech; null means that ours did not
reach it.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

ITERATIONS = 30  # most iterations of ours


def frames(count: int, dim: int, clusters: int, seed: int = 0) -> np.ndarray:
    """(count, dim) float32: Gaussians of unequal weight and width; some dimensions vary more than others."""
    rng = np.random.default_rng(seed)
    scale = 1 / np.sqrt(1 + np.arange(dim, dtype=np.float32))
    centres = rng.normal(size=(3 * clusters, dim)).astype(np.float32) * scale * 4
    weights = rng.gamma(1.0, size=len(centres))
    out = np.empty((count, dim), np.float32)
    for at in range(0, count, 1 << 16):
        block = rng.choice(len(centres), min(1 << 16, count - at), p=weights / weights.sum())
        noise = rng.normal(size=(len(block), dim)).astype(np.float32) * scale * 2
        out[at : at + len(block)] = centres[block] + noise
    return out


def objective(features: np.ndarray, centroids: np.ndarray) -> float:
    """Sum of squared distances to the nearest centroid."""
    total, norms = 0.0, (centroids.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    for at in range(0, len(features), 1 << 14):
        block = features[at : at + (1 << 14)]
        nearest = (norms - 2 * block @ centroids.T).min(axis=1)
        total += float(nearest.sum(dtype=np.float64) + (block.astype(np.float64) ** 2).sum())
    return total


def _minibatch(features: np.ndarray, clusters: int, seed: int) -> tuple[float, np.ndarray, str]:
    import sklearn
    from sklearn.cluster import MiniBatchKMeans

    begun = time.perf_counter()
    found = MiniBatchKMeans(clusters, batch_size=4096, n_init=1, random_state=seed, max_iter=100)
    centroids = found.fit(features).cluster_centers_.astype(np.float32)
    return time.perf_counter() - begun, centroids, sklearn.__version__


def _ours(
    features: np.ndarray, clusters: int, seed: int, enough: float, backend: str, precision: str
) -> dict[str, Any]:
    """Seconds until the objective is at most `enough`; null if it never is."""
    from speechladder.units.kmeans.fit import fit
    from speechladder.units.kmeans.plan import Plan

    begun = time.perf_counter()
    plan = Plan(clusters, ITERATIONS, seed, init="k-means++", backend="torch", precision=precision, enough=enough)
    got = fit(features, plan)
    seconds = time.perf_counter() - begun
    needed = next((i for i, value in enumerate(got.objective, 1) if value <= enough), None)
    if backend != "torch" and needed:  # faiss cannot stop early, so it runs as many iterations as it needs
        plan = replace(plan, backend=backend)
        needed = next((i for i, value in enumerate(fit(features, plan).objective, 1) if value <= enough), None)
        if needed:
            begun = time.perf_counter()
            got = fit(features, replace(plan, iterations=needed))
            seconds = time.perf_counter() - begun
    reached = bool(needed) and got.objective[-1] <= enough
    return {"seconds": round(seconds, 3) if reached else None, "iterations": needed, "objective": got.objective[-1]}


def compare(
    count: int = 200_000,
    dim: int = 1024,
    clusters: int = 512,
    seed: int = 0,
    threads: int = 1,
    only: str | None = None,
    features: np.ndarray | None = None,
) -> dict[str, Any]:
    """{"kmeans_vs_sklearn_minibatch": how many times faster the fastest of ours is, "kmeans": the details}.

    `features`: real ones in place of drawn ones. `only`: torch or faiss alone. The ratio is null where none of ours
    reaches MiniBatchKMeans' objective.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    features = frames(count, dim, clusters, seed) if features is None else np.ascontiguousarray(features, np.float32)
    with threadpool_limits(threads):
        theirs, centroids, version = _minibatch(features, clusters, seed)
        enough = objective(features, centroids)
        ways = {"faiss": ("faiss", "fp32"), "torch": ("torch", "fp32"), "torch bf16": ("torch", "bf16")}
        ours = {
            name: _ours(features, clusters, seed, enough, *way) for name, way in ways.items() if only in (None, way[0])
        }
    best = min((row["seconds"] for row in ours.values() if row["seconds"]), default=None)
    details = {
        "frames": len(features),
        "dim": features.shape[1],
        "clusters": clusters,
        "threads": threads,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "cpu": platform.processor() or platform.machine(),
        "sklearn": version,
        "minibatch": {"seconds": round(theirs, 3), "objective": enough},
        "ours": ours,
    }
    return {"kmeans_vs_sklearn_minibatch": round(theirs / best, 3) if best else None, "kmeans": details}


def drawn(count: int, dim: int, clusters: int, device: str) -> np.ndarray:
    """Frames (count, dim) float32 in the machine's memory, drawn on a device: Gaussians around 2 `clusters` centres."""
    import torch

    torch.manual_seed(0)
    centres, features = 3 * torch.randn(2 * clusters, dim, device=device), np.empty((count, dim), np.float32)
    for at in range(0, count, 1 << 18):
        block = centres[torch.randint(len(centres), (min(1 << 18, count - at),), device=device)]
        torch.from_numpy(features[at : at + len(block)]).copy_(block.add_(torch.randn_like(block)))
    return features


def alone(count: int, dim: int, clusters: int, iterations: int = 20, device: str = "cuda") -> dict[str, Any]:
    """Seconds of `iterations` of ours in fp32 and bf16, from random frames to centroids, on `drawn` frames."""
    from speechladder.units.kmeans.fit import fit
    from speechladder.units.kmeans.plan import Plan

    features = drawn(count, dim, clusters, device)
    found: dict[str, Any] = {"frames": count, "dim": dim, "clusters": clusters, "iterations": iterations}
    for precision in ("fp32", "bf16"):
        begun = time.perf_counter()
        got = fit(features, Plan(clusters, iterations, 0, backend="torch", precision=precision, device=device))
        found[precision] = {"seconds": round(time.perf_counter() - begun, 2), "objective": got.objective[-1]}
    return found


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=Path, help="a sample.safetensors in place of drawn frames")
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--clusters", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("faiss", "torch"), help="leave the other out")
    args = parser.parse_args()
    features = None
    if args.sample:
        from speechladder.io.tensors import read_tensor

        features = read_tensor(args.sample, "features")[0]
    found = compare(args.frames, args.dim, args.clusters, args.seed, args.threads, args.only, features)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
