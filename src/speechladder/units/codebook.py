"""The codebook that knows which encoder it belongs to, and how it was trained."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl
from speechladder.io.progress import say
from speechladder.io.tensors import map_tensor, read_tensor, write_tensors
from speechladder.units.kmeans import Plan, Trained, fit

__all__ = ["Codebook", "Trained", "assign", "kmeans", "load", "read_tensor", "train", "write_tensors"]

_MUST_MATCH = ("sha256", "layer", "dim", "normalise")  # of Encoder.provenance; a name may differ, weights may not
_NORMALISED = ("normalisation", "speaker_statistics")  # of Normaliser.provenance: what assignment must do too
_BLOCK = 4096  # frames assigned at once, bounds the distance matrix


def kmeans(features: np.ndarray, clusters: int, iterations: int, max_points_per_centroid: int, seed: int) -> Trained:
    """Lloyd's algorithm on features (frames, dim) float32, by faiss on the CPU with one thread. Raises UserError."""
    return fit(features, Plan(clusters, iterations, seed, max_points_per_centroid, backend="faiss"))


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


def _sha256(features: np.ndarray) -> str:
    """Of the values of features (frames, dim), which may be mapped."""
    digest = hashlib.sha256()
    for at in range(0, len(features), 1 << 16):
        digest.update(np.ascontiguousarray(features[at : at + (1 << 16)]).data)
    return digest.hexdigest()


def train(
    sample: str | Path,
    out: str | Path,
    clusters: int,
    iterations: int,
    max_points_per_centroid: int,
    seed: int,
    log: str | Path | None = None,
    **how: Any,
) -> Codebook:
    """Train on units/sample.safetensors, which is mapped, and write units/centroids.safetensors. Raises UserError.

    `how`: backend, init, restarts, precision and device of kmeans.Plan. `log` gets a line {start, iteration, objective}
    per iteration of every start; the objective is the sum of squared distances.
    """
    features, origin = map_tensor(sample, "features")
    plan = Plan(clusters, iterations, seed, max_points_per_centroid, **how)

    def report(start: int, iteration: int, objective: float) -> None:
        say(f"k-means start {start}, iteration {iteration}: {objective:.4f} per frame")

    used = f"{plan.frames_used(len(features)):,} of {len(features):,} frames"
    say(f"k-means on {used}: {clusters} clusters, {iterations} iterations (faiss tells them when a start is over)")
    trained = fit(features, plan, report)
    made_by = dict(trained.made_by or {})
    many = {"objectives": [start[-1] for start in trained.starts], "kept": trained.kept} if plan.restarts > 1 else {}
    provenance = {
        **{key: origin[key] for key in ("encoder", *_MUST_MATCH)},
        **{key: origin[key] for key in _NORMALISED if key in origin},
        "clusters": clusters,
        "iterations": iterations,
        "max_points_per_centroid": max_points_per_centroid,
        "seed": seed,
        "sample": {k: v for k, v in origin.items() if k not in ("encoder", *_MUST_MATCH, *_NORMALISED)},
        "sample_sha256": _sha256(features),
        "frames_used": plan.frames_used(len(features)),
        **made_by,
        **plan.unusual,
        **many,
        **({"reseeded": trained.reseeded} if trained.reseeded else {}),
        "objective": trained.objective,
        "empty_clusters": trained.empty,
    }
    write_tensors(out, {"centroids": trained.centroids}, provenance)
    if log:
        starts = enumerate(trained.starts)
        rows = ((start, i, value) for start, values in starts for i, value in enumerate(values, 1))
        write_jsonl(log, ({"start": start, "iteration": i, "objective": value} for start, i, value in rows))
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
