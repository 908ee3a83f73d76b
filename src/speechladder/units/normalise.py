"""Mean and variance of features, taken out before clustering: of each utterance, of each speaker, or not at all.

What k-means saw must be what assignment sees. The codebook's provenance says which normalisation it was trained on, and
`Normaliser.matching(book.provenance, paths)` gives exactly that one: `apply(features, speaker)` before `assign`.

- none: the features as they are.
- utterance: mean and variance over the frames of the utterance that is encoded. A benchmark item is an utterance: a
  word of half a second has its statistics from 25 frames, noisier than those of the sentences that k-means saw.
- speaker: over some seconds of each speaker (`units.speaker_seconds`), read once before the sample is drawn and kept in
  units/speakers.safetensors; items and prompts are spoken by voices: one that is a speaker of the corpus has its
  statistics, another one has its own from what it says, in units/voices.safetensors.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.io.errors import UserError
from speechladder.io.tensors import read_tensors, write_tensors

KINDS = ("none", "utterance", "speaker")
_FLOOR = 1e-8  # added to a variance: a dimension that never moves stays 0
_MUST_MATCH = ("sha256", "layer", "dim", "normalise")  # of Encoder.provenance, as for a codebook

Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]  # speaker -> mean, scale; both (dim,) float32


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the frames of (frames, dim): both (dim,) float32, summed in double precision."""
    wide = features.astype(np.float64)
    return wide.mean(axis=0).astype(np.float32), np.sqrt(wide.var(axis=0) + _FLOOR).astype(np.float32)


@dataclass(frozen=True)
class Normaliser:
    """What is taken out of features before they meet a centroid; see the module."""

    kind: str = "none"
    statistics: Statistics = field(default_factory=dict)
    digest: str = ""  # of the corpus's statistics, which the sample and the codebook note
    sources: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> "Normaliser":
        """Features as they are."""
        return cls()

    @classmethod
    def utterance(cls) -> "Normaliser":
        """Mean and variance of each utterance."""
        return cls("utterance")

    @classmethod
    def load(cls, *paths: str | Path) -> "Normaliser":
        """By speaker, from units/speakers.safetensors and, for items, units/voices.safetensors after it.

        A speaker in both has the first one's statistics. Raises UserError naming the file that is missing or broken, or
        of another encoder than the first.
        """
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        first: dict[str, Any] = {}
        digest = ""
        for path in paths:
            tensors, said = read_tensors(path, ("means", "scales"))
            first, digest = first or said, digest or _digest(tensors["means"], tensors["scales"], said["speakers"])
            if wrong := [key for key in _MUST_MATCH if said.get(key) != first.get(key)]:
                raise UserError(
                    f"{path}: statistics of another encoder than {paths[0]} ({', '.join(wrong)} differ); delete both "
                    "and run again"
                )
            for name, mean, scale in zip(said["speakers"], tensors["means"], tensors["scales"], strict=True):
                found.setdefault(name, (mean, scale))
        return cls("speaker", found, digest, tuple(map(str, paths)))

    @classmethod
    def of(cls, kind: str, paths: Iterable[str | Path] = ()) -> "Normaliser":
        """By its name in `units.normalisation`; `paths` are the statistics that `speaker` needs. Raises UserError."""
        paths = tuple(paths)
        if kind == "speaker":
            if not paths:
                raise UserError(
                    "units.normalisation: speaker needs the speakers' statistics; give --speakers "
                    "units/speakers.safetensors (scripts/speaker_statistics.py makes it)"
                )
            return cls.load(*paths)
        if kind not in KINDS:
            raise UserError(f"units.normalisation: {kind!r} is not one of {', '.join(KINDS)}")
        return cls(kind)

    @classmethod
    def matching(cls, provenance: Mapping[str, Any], paths: Iterable[str | Path] = ()) -> "Normaliser":
        """The one that a codebook's provenance asks for. Raises UserError where `paths` are of another."""
        found = cls.of(provenance.get("normalisation", "none"), paths)
        if found.digest != provenance.get("speaker_statistics", ""):
            raise UserError(
                f"{found.sources[0]}: not the speakers' statistics that the codebook was trained with; delete the "
                "codebook and run again"
            )
        return found

    @property
    def provenance(self) -> dict[str, str]:
        """What a sample and its codebook note; nothing for none, so that what was made before still fits."""
        if self.kind == "none":
            return {}
        return {"normalisation": self.kind} | ({"speaker_statistics": self.digest} if self.digest else {})

    def apply(self, features: Any, speaker: str) -> Any:
        """(frames, dim) of one whole utterance -> the same shape, type and device; `speaker` is the cut's, or the
        item's voice.

        Takes a numpy array or a torch tensor. Raises UserError naming a speaker without statistics.
        """
        if self.kind == "none" or not len(features):
            return features
        if not isinstance(features, np.ndarray):
            return self._apply_tensor(features, speaker)
        mean, scale = _moments(features) if self.kind == "utterance" else self._of(speaker)
        return (features - mean) / scale

    def _apply_tensor(self, features: Any, speaker: str) -> Any:
        if self.kind == "utterance":
            wide = features.double()
            mean, scale = wide.mean(0), (wide.var(0, correction=0) + _FLOOR).sqrt()
            return (features - mean.to(features.dtype)) / scale.to(features.dtype)
        mean, scale = (features.new_tensor(values) for values in self._of(speaker))
        return (features - mean) / scale

    def _of(self, speaker: str) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self.statistics[speaker]
        except KeyError:
            raise UserError(
                f"{', '.join(self.sources)}: no statistics of speaker '{speaker}'; make the statistics again, or set "
                "units.normalisation to utterance"
            ) from None


def _digest(means: np.ndarray, scales: np.ndarray, names: Sequence[str]) -> str:
    digest = hashlib.sha256("\x1f".join(names).encode())
    for values in (means, scales):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


class Gathering:
    """Sums of a speaker's features while utterances are read; nothing but sums is kept."""

    def __init__(self) -> None:
        self.frames: dict[str, int] = {}
        self._sums: dict[str, np.ndarray] = {}

    def add(self, speaker: str, features: np.ndarray) -> None:
        """Take in (frames, dim) of one utterance."""
        wide = features.astype(np.float64)
        sums = np.stack([wide.sum(axis=0), (wide**2).sum(axis=0)])
        self._sums[speaker] = self._sums.get(speaker, 0) + sums
        self.frames[speaker] = self.frames.get(speaker, 0) + len(features)

    def write(self, path: str | Path, provenance: dict[str, Any]) -> None:
        """Write `means` and `scales` (speakers, dim) float32, speakers in the order of their names."""
        names = sorted(self._sums)
        dim = int(provenance["dim"])
        means, scales = np.zeros((len(names), dim), np.float32), np.ones((len(names), dim), np.float32)
        for row, name in enumerate(names):
            mean, square = self._sums[name] / self.frames[name]
            means[row], scales[row] = mean, np.sqrt(np.maximum(square - mean**2, 0) + _FLOOR)
        said = {**provenance, "speakers": names, "frames": [self.frames[name] for name in names]}
        write_tensors(path, {"means": means, "scales": scales}, said)
