"""k-means by faiss, and the codebook that knows which encoder it belongs to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from speechladder.io.errors import UserError
from speechladder.io.files import atomic

_MUST_MATCH = ("sha256", "layer", "dim", "normalise")  # of Encoder.provenance; a name may differ, weights may not
_BLOCK = 4096  # frames assigned at once, bounds the distance matrix


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray], provenance: dict[str, Any]) -> None:
    """Write safetensors atomically with `provenance` in the header; equal content gives equal bytes."""
    with atomic(path) as temporary:
        # one key: the header's order of several is not fixed
        save_file(tensors, temporary, metadata={"provenance": json.dumps(provenance, sort_keys=True)})


def read_tensor(path: str | Path, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """(the tensor, the provenance); raises UserError naming the file when it is missing or broken."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.get_tensor(name), json.loads((file.metadata() or {})["provenance"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the stage that makes it") from None
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a file that the units stage wrote ({error}); delete it and run again") from None


@dataclass(frozen=True)
class Trained:
    """k-means' outcome: centroids (clusters, dim) float32, objective per iteration, centroids without a frame."""

    centroids: np.ndarray
    objective: list[float]
    empty: int


def kmeans(features: np.ndarray, clusters: int, iterations: int, max_points_per_centroid: int, seed: int) -> Trained:
    """Lloyd's algorithm on features (frames, dim) float32, by faiss with one thread.

    faiss takes 256 points per centroid unless told otherwise, without a word: beyond
    `max_points_per_centroid` x clusters frames it still subsamples. The objective is the sum of squared distances.
    """
    import faiss

    if len(features) < clusters:
        raise UserError(
            f"units.clusters: {clusters} clusters from {len(features)} frames; raise units.sample_frames "
            "(or give more speech), or lower units.clusters"
        )
    if not np.isfinite(features).all():
        raise UserError("units.encoder: the encoder gives values that are not finite; its checkpoint is damaged")
    faiss.omp_set_num_threads(1)
    means = faiss.Kmeans(
        features.shape[1],
        clusters,
        niter=iterations,
        seed=seed,
        spherical=False,
        min_points_per_centroid=1,
        max_points_per_centroid=max_points_per_centroid,
    )
    means.train(np.ascontiguousarray(features, dtype=np.float32))
    used = np.unique(assign(features, means.centroids))
    return Trained(means.centroids, [float(v) for v in means.obj], clusters - len(used))


def assign(features: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """(frames, dim) -> (frames,) uint16: the nearest centroid, the lowest index among equals.

    Computed in double precision with a margin far below what float32 features resolve, so that neither the order of
    a sum nor the number of frames at hand decides.
    """
    wide = centroids.astype(np.float64)
    norms = (wide**2).sum(axis=1)
    out = np.empty(len(features), dtype=np.uint16)
    for at in range(0, len(features), _BLOCK):
        block = features[at : at + _BLOCK].astype(np.float64)
        distance = norms - 2.0 * (block @ wide.T)  # + |x|^2, the same for every centroid
        nearest = distance.min(axis=1, keepdims=True)
        margin = 1e-10 * (np.abs(nearest) + norms.max())
        out[at : at + _BLOCK] = np.argmax(distance <= nearest + margin, axis=1)
    return out


@dataclass(frozen=True)
class Codebook:
    """Centroids (clusters, dim) float32 and what they were made from."""

    centroids: np.ndarray
    provenance: dict[str, Any]

    def assign(self, features: np.ndarray) -> np.ndarray:
        """(frames, dim) -> (frames,) uint16 units."""
        return assign(features, self.centroids)


def train(
    sample: str | Path, out: str | Path, clusters: int, iterations: int, max_points_per_centroid: int, seed: int
) -> Codebook:
    """Train on units/sample.safetensors and write units/centroids.safetensors. Raises UserError."""
    import hashlib

    import faiss

    features, origin = read_tensor(sample, "features")
    trained = kmeans(features, clusters, iterations, max_points_per_centroid, seed)
    provenance = {
        **{key: origin[key] for key in ("encoder", *_MUST_MATCH)},
        "clusters": clusters,
        "iterations": iterations,
        "max_points_per_centroid": max_points_per_centroid,
        "seed": seed,
        "sample": {k: v for k, v in origin.items() if k not in ("encoder", *_MUST_MATCH)},
        "sample_sha256": hashlib.sha256(np.ascontiguousarray(features).tobytes()).hexdigest(),
        "frames_used": min(len(features), clusters * max_points_per_centroid),
        "faiss": faiss.__version__,
        "objective": trained.objective,
        "empty_clusters": trained.empty,
    }
    write_tensors(out, {"centroids": trained.centroids}, provenance)
    return Codebook(trained.centroids, provenance)


def load(path: str | Path, expected: dict[str, Any] | None = None) -> Codebook:
    """Read a codebook. `expected` is Encoder.provenance: UserError naming both when the codebook is another's."""
    centroids, provenance = read_tensor(path, "centroids")
    if expected is not None:
        wrong = [key for key in _MUST_MATCH if provenance.get(key) != expected[key]]
        if wrong:

            def said(what: dict[str, Any]) -> str:
                return (
                    f"{what.get('encoder')} layer {what.get('layer')} ("
                    + ", ".join(f"{key} {str(what.get(key))[:12]}" for key in wrong)
                    + ")"
                )

            raise UserError(
                f"{path}: the codebook was made from {said(provenance)}, the encoder is {said(expected)}; "
                "delete the codebook and run again, or set units.encoder and units.layer to its own"
            )
    return Codebook(centroids, provenance)
