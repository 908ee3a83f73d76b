"""The codebook: centroids or a phone classifier, which know their encoder and how they were trained."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import FRAME_RATE
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl
from speechladder.io.progress import say
from speechladder.io.tensors import map_tensor, read_tensor, read_tensors, write_tensors
from speechladder.settings import Units
from speechladder.units.assign import assign
from speechladder.units.kmeans.fit import check_features, fit
from speechladder.units.kmeans.plan import Plan, Trained

MUST_MATCH = ("sha256", "layer", "dim", "normalise")  # of Encoder.provenance; a name may differ, weights may not
_NORMALISED = ("normalisation", "speaker_statistics")  # of Normaliser.provenance: assignment must do the same


@dataclass(frozen=True)
class Codebook:
    """Centroids (clusters, dim) float32 and their provenance.

    `classifier`: weights (clusters, dim) and biases (clusters,), float32, of supervised units (units.labels). They
    assign in place of the centroids, which are the mean features of each label.
    """

    centroids: np.ndarray
    provenance: dict[str, Any]
    classifier: tuple[np.ndarray, np.ndarray] | None = None

    def assign(self, features: np.ndarray) -> np.ndarray:
        """Map features (frames, dim) to units (frames,) uint16."""
        if self.classifier:
            weights, biases = self.classifier
            return assign(features, weights / 2, -biases)
        return assign(features, self.centroids)


def train_codebook(
    sample: Path, out: Path, units: Units, seed: int = 0, log: Path | None = None, kmeans_device: str | None = None
) -> Codebook:
    """Train the codebook: k-means, or with units.labels: phones a phone classifier.

    Raise UserError if the sample has too few frames or values that are not finite, or if the backend cannot run. The
    sample is mapped, not held in memory. An objective is a sum of squared distances; of a classifier, nats per frame.

    Args:
        sample: units/sample.safetensors
        out: units/centroids.safetensors to write
        seed: seed of the first centroids
        log: units/kmeans.jsonl to write: a line {start, iteration, objective} for each iteration of every start
        kmeans_device: for kmeans: torch and classifiers: cpu, cuda, cuda:1; without it the GPU if there is one
    """
    if units.labels != "none":
        return _train_classifier(sample, out, log, kmeans_device)
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
        _write_log(log, trained.starts)
    return Codebook(trained.centroids, provenance)


def _write_log(path: Path, starts: Iterable[Sequence[float]]) -> None:
    rows = ((start, i, value) for start, values in enumerate(starts) for i, value in enumerate(values, 1))
    write_jsonl(path, ({"start": start, "iteration": i, "objective": value} for start, i, value in rows))


def _train_classifier(sample: Path, out: Path, log: Path | None, device: str | None) -> Codebook:
    """Train a phone classifier on the train frames of a labelled sample, and measure it on the others."""
    import torch  # which takes seconds to load

    from speechladder.units.classifier import ITERATIONS, PENALTY, fit_classifier

    (features, origin), labels = map_tensor(sample, "features"), read_tensor(sample, "labels")[0]
    check_features(features, 1)
    names, train = origin["labels"], origin["splits"]["train"]["frames"]
    where = torch.device(device or acquire_gpu())
    say(f"classifier of {len(names)} phones on {train:,} frames, {len(features) - train:,} are held out")
    fitted = fit_classifier(features[:train], labels[:train], len(names), where)
    found = Codebook(np.empty(0), origin, (fitted.weights, fitted.biases)).assign(features)
    right = found == labels
    centroids, empty = _means(features[:train], found[:train], len(names))
    provenance = {
        **_known(origin),
        "labels": names,
        "clusters": len(names),
        "penalty": PENALTY,
        "iterations": ITERATIONS,
        "minutes": round(train / FRAME_RATE / 60, 3),
        "frames_used": train,
        "frames_per_label": np.bincount(labels[:train], minlength=len(names)).tolist(),
        "train_accuracy": round(float(right[:train].mean()), 4),
        "valid_frames": len(features) - train,
        "valid_accuracy": round(float(right[train:].mean()), 4) if train < len(features) else None,
        "sample": {key: value for key, value in _of_sample(origin).items() if key != "labels"},
        "sample_sha256": _sha256(features),
        "torch": torch.__version__,
        "device": where.type,
        "objective": fitted.objective[-1],
        "empty_clusters": empty,
    }
    say(f"frame accuracy: {provenance['train_accuracy']} in training, {provenance['valid_accuracy']} held out")
    tensors = {"centroids": centroids, "weights": fitted.weights, "biases": fitted.biases}
    write_tensors(out, tensors, provenance)
    if log:
        _write_log(log, [fitted.objective])
    return Codebook(centroids, provenance, (fitted.weights, fitted.biases))


def _means(features: np.ndarray, units: np.ndarray, clusters: int) -> tuple[np.ndarray, int]:
    """((clusters, dim) float32: the mean features of each unit's frames, number of units without frames).

    A unit without frames has the mean of all frames.
    """
    counts, sums = np.bincount(units, minlength=clusters), np.zeros((clusters, features.shape[1]))
    for at in range(0, len(features), 1 << 14):
        chosen = np.eye(clusters)[units[at : at + (1 << 14)]]
        sums += chosen.T @ features[at : at + (1 << 14)].astype(np.float64)
    means = np.where(counts[:, None], sums / np.maximum(counts, 1)[:, None], sums.sum(0) / len(features))
    return means.astype(np.float32), int((counts == 0).sum())


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
        **_known(origin),
        "clusters": plan.clusters,
        "iterations": plan.iterations,
        "max_points_per_centroid": plan.max_points_per_centroid,
        "seed": plan.seed,
        "sample": _of_sample(origin),
        "sample_sha256": _sha256(features),
        "frames_used": plan.frames_used(len(features)),
        **(trained.made_by or {}),
        **plan.unusual,
        **many,
        **({"reseeded": trained.reseeded} if trained.reseeded else {}),
        "objective": trained.objective,
        "empty_clusters": trained.empty,
    }


def _known(origin: dict[str, Any]) -> dict[str, Any]:
    """What a codebook takes over from its sample: the encoder and the normalisation."""
    return {key: origin[key] for key in ("encoder", *MUST_MATCH, *_NORMALISED) if key in origin}


def _of_sample(origin: dict[str, Any]) -> dict[str, Any]:
    """What else the sample notes about itself."""
    return {key: value for key, value in origin.items() if key not in ("encoder", *MUST_MATCH, *_NORMALISED)}


def _sha256(features: np.ndarray) -> str:
    """sha256 (hex) of the values of features (frames, dim), which may be mapped."""
    digest = hashlib.sha256()
    for at in range(0, len(features), 1 << 16):
        digest.update(np.ascontiguousarray(features[at : at + (1 << 16)]).data)
    return digest.hexdigest()


def load_codebook(path: str | Path, expected: dict[str, Any] | None = None) -> Codebook:
    """Read a codebook. `expected` is Encoder.provenance: raise UserError naming both if the codebook has another."""
    centroids, provenance = read_tensor(path, "centroids")
    classifier = None
    if "labels" in provenance:
        found, _ = read_tensors(path, ("weights", "biases"))
        classifier = found["weights"], found["biases"]
    wrong = [key for key in MUST_MATCH if expected is not None and provenance.get(key) != expected[key]]
    if wrong:

        def described(what: dict[str, Any]) -> str:
            differing = ", ".join(f"{key} {str(what.get(key))[:12]}" for key in wrong)
            return f"{what.get('encoder')} layer {what.get('layer')} ({differing})"

        raise UserError(
            f"{path}: the codebook was made from {described(provenance)}, the encoder is {described(expected or {})}; "
            "delete the codebook and run again, or set units.encoder and units.layer to its own"
        )
    return Codebook(centroids, provenance, classifier)
