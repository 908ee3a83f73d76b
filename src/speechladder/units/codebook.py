"""The codebook: centroids that know which encoder they belong to and how they were trained."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl
from speechladder.io.progress import say
from speechladder.io.tensors import map_tensor, read_tensor, write_tensors
from speechladder.settings import Units
from speechladder.units.assign import assign
from speechladder.units.kmeans.fit import fit
from speechladder.units.kmeans.plan import Plan, Trained

MUST_MATCH = ("sha256", "layer", "dim", "normalise")  # of Encoder.provenance; a name may differ, weights may not
_NORMALISED = ("normalisation", "speaker_statistics")  # of Normaliser.provenance: assignment must do the same


@dataclass(frozen=True)
class Codebook:
    """Centroids (clusters, dim) float32 and their provenance."""

    centroids: np.ndarray
    provenance: dict[str, Any]

    def assign(self, features: np.ndarray) -> np.ndarray:
        """Map features (frames, dim) to units (frames,) uint16."""
        return assign(features, self.centroids)


def train_codebook(
    sample: Path, out: Path, units: Units, seed: int = 0, log: Path | None = None, kmeans_device: str | None = None
) -> Codebook:
    """Train the k-means codebook.

    Raise UserError if the sample has too few frames or values that are not finite, or if the backend cannot run. The
    sample is mapped, not held in memory. An objective is a sum of squared distances.

    Args:
        sample: units/sample.safetensors
        out: units/centroids.safetensors to write
        seed: seed of the first centroids
        log: units/kmeans.jsonl to write: a line {start, iteration, objective} for each iteration of every start
        kmeans_device: for kmeans: torch: cpu, cuda, cuda:1; without it the GPU if there is one
    """
    features, origin = map_tensor(sample, "features")
    plan = _plan(units, seed, kmeans_device)

    def report(start: int, iteration: int, objective: float) -> None:
        say(f"k-means start {start}, iteration {iteration}: {objective:.4f} per frame")

    used = f"{plan.frames_used(len(features)):,} of {len(features):,} frames"
    say(f"k-means on {used}: {plan.clusters} clusters, {plan.iterations} iterations (faiss reports them after a start)")
    trained = fit(features, plan, report)
    provenance = _provenance(origin, features, plan, trained)
    write_tensors(out, {"centroids": trained.centroids}, provenance)
    if log:
        starts = enumerate(trained.starts)
        rows = ((start, i, value) for start, values in starts for i, value in enumerate(values, 1))
        write_jsonl(log, ({"start": start, "iteration": i, "objective": value} for start, i, value in rows))
    return Codebook(trained.centroids, provenance)


def _plan(units: Units, seed: int, device: str | None) -> Plan:
    return Plan(
        units.clusters,
        units.iterations,
        seed,
        units.max_points_per_centroid,
        backend=units.kmeans,
        init=units.kmeans_init,
        restarts=units.kmeans_restarts,
        precision=units.kmeans_precision,
        device=device,
    )


def _provenance(origin: dict[str, Any], features: np.ndarray, plan: Plan, trained: Trained) -> dict[str, Any]:
    """What a codebook notes. `origin` is the provenance of the sample."""
    many = {"objectives": [start[-1] for start in trained.starts], "kept": trained.kept} if plan.restarts > 1 else {}
    return {
        **{key: origin[key] for key in ("encoder", *MUST_MATCH)},
        **{key: origin[key] for key in _NORMALISED if key in origin},
        "clusters": plan.clusters,
        "iterations": plan.iterations,
        "max_points_per_centroid": plan.max_points_per_centroid,
        "seed": plan.seed,
        "sample": {k: v for k, v in origin.items() if k not in ("encoder", *MUST_MATCH, *_NORMALISED)},
        "sample_sha256": _sha256(features),
        "frames_used": plan.frames_used(len(features)),
        **(trained.made_by or {}),
        **plan.unusual,
        **many,
        **({"reseeded": trained.reseeded} if trained.reseeded else {}),
        "objective": trained.objective,
        "empty_clusters": trained.empty,
    }


def _sha256(features: np.ndarray) -> str:
    """sha256 (hex) of the values of features (frames, dim), which may be mapped."""
    digest = hashlib.sha256()
    for at in range(0, len(features), 1 << 16):
        digest.update(np.ascontiguousarray(features[at : at + (1 << 16)]).data)
    return digest.hexdigest()


def load_codebook(path: str | Path, expected: dict[str, Any] | None = None) -> Codebook:
    """Read a codebook. `expected` is Encoder.provenance: raise UserError naming both if the codebook has another."""
    centroids, provenance = read_tensor(path, "centroids")
    wrong = [key for key in MUST_MATCH if expected is not None and provenance.get(key) != expected[key]]
    if wrong:

        def described(what: dict[str, Any]) -> str:
            differing = ", ".join(f"{key} {str(what.get(key))[:12]}" for key in wrong)
            return f"{what.get('encoder')} layer {what.get('layer')} ({differing})"

        raise UserError(
            f"{path}: the codebook was made from {described(provenance)}, the encoder is {described(expected or {})}; "
            "delete the codebook and run again, or set units.encoder and units.layer to its own"
        )
    return Codebook(centroids, provenance)
