"""Normalise features before clustering: by the mean and variance of each utterance, of each speaker, or not at all.

Assignment must see the same features as k-means. The provenance of the codebook says which normalisation it was trained
with, and `Normaliser.matching(book.provenance, paths)` gives exactly that one; call `apply(features, speaker)` before
assigning.

- none: the features are unchanged.
- utterance: mean and variance over the frames of the utterance. A benchmark item is an utterance, and the statistics of
  a word of half a second come from 25 frames. So they are noisier than those of the sentences that k-means saw.
- speaker: mean and variance over some seconds of each speaker (`units.speaker_seconds`). They are computed once, before
  the sample is drawn, and kept in units/speakers.safetensors. Items and prompts are spoken by voices. A voice that is a
  speaker of the corpus has that speaker's statistics. Any other voice has its own, from the items that it speaks, in
  units/voices.safetensors.
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
_FLOOR = 1e-8  # added to a variance, so that a constant dimension becomes 0
_MUST_MATCH = ("sha256", "layer", "dim", "normalise")  # of Encoder.provenance, as in codebook.MUST_MATCH

Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]  # speaker -> mean, scale; both (dim,) float32


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the frames of (frames, dim): both (dim,) float32, summed in double precision."""
    wide = features.astype(np.float64)
    return wide.mean(axis=0).astype(np.float32), np.sqrt(wide.var(axis=0) + _FLOOR).astype(np.float32)


@dataclass(frozen=True)
class Normaliser:
    """The normalisation of features before they are compared with centroids; see the module."""

    kind: str = "none"
    statistics: Statistics = field(default_factory=dict)
    digest: str = ""  # of the speakers' statistics; the sample and the codebook note it
    sources: tuple[str, ...] = ()
    _sent: dict[Any, dict[str, Any]] = field(default_factory=dict, compare=False, repr=False)  # by device and type

    @classmethod
    def none(cls) -> "Normaliser":
        """No normalisation."""
        return cls()

    @classmethod
    def utterance(cls) -> "Normaliser":
        """Normalisation by utterance."""
        return cls("utterance")

    @classmethod
    def load(cls, *paths: str | Path) -> "Normaliser":
        """Normalisation by speaker, from units/speakers.safetensors and, for items, units/voices.safetensors after it.

        A speaker in both files has the statistics of the first. Raise UserError naming a file that is missing or
        broken, or that belongs to another encoder than the first.
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
    def named(cls, kind: str, paths: Iterable[str | Path] = ()) -> "Normaliser":
        """The normalisation that `units.normalisation` names. `paths`: the statistics that `speaker` needs.

        Raise UserError if the name is unknown, or if the statistics are missing or broken.
        """
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
        """The normalisation that a codebook's provenance asks for. Raise UserError if `paths` are other statistics."""
        found = cls.named(provenance.get("normalisation", "none"), paths)
        if found.digest != provenance.get("speaker_statistics", ""):
            raise UserError(
                f"{found.sources[0]}: not the speakers' statistics that the codebook was trained with; delete the "
                "codebook and run again"
            )
        return found

    @property
    def provenance(self) -> dict[str, str]:
        """What a sample and its codebook note about the normalisation; empty for none."""
        if self.kind == "none":
            return {}
        return {"normalisation": self.kind} | ({"speaker_statistics": self.digest} if self.digest else {})

    def apply(self, features: Any, speaker: str) -> Any:
        """Normalise (frames, dim) of one whole utterance; the shape, type and device stay the same.

        `features` is a numpy array or a torch tensor. `speaker` is the speaker of the cut, or the voice of the item.
        Raise UserError naming a speaker without statistics.
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
        self._of(speaker)
        mean, scale = self._table(features)[speaker]
        return (features - mean) / scale

    def _table(self, features: Any) -> dict[str, Any]:
        """The statistics of every speaker, (2, dim), on the device of `features`. They are sent once, together."""
        key = features.device, features.dtype
        if key not in self._sent:
            import torch

            every = torch.from_numpy(np.array(list(self.statistics.values()))).to(*key)
            self._sent[key] = dict(zip(self.statistics, every, strict=True))
        return self._sent[key]

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


class SpeakerSums:
    """Sums of each speaker's features, from which the statistics follow. Only sums are kept in memory."""

    def __init__(self) -> None:
        self.frames: dict[str, int] = {}
        self._sums: dict[str, np.ndarray] = {}

    def add(self, speaker: str, features: np.ndarray) -> None:
        """Add features (frames, dim) of one utterance."""
        wide = features.astype(np.float64)
        sums = np.stack([wide.sum(axis=0), (wide**2).sum(axis=0)])
        self._sums[speaker] = self._sums.get(speaker, 0) + sums
        self.frames[speaker] = self.frames.get(speaker, 0) + len(features)

    def write(self, path: str | Path, provenance: dict[str, Any]) -> None:
        """Write `means` and `scales`, (speakers, dim) float32, with the speakers in the order of their names."""
        names = sorted(self._sums)
        dim = int(provenance["dim"])
        means, scales = np.zeros((len(names), dim), np.float32), np.ones((len(names), dim), np.float32)
        for row, name in enumerate(names):
            mean, square = self._sums[name] / self.frames[name]
            means[row], scales[row] = mean, np.sqrt(np.maximum(square - mean**2, 0) + _FLOOR)
        said = {**provenance, "speakers": names, "frames": [self.frames[name] for name in names]}
        write_tensors(path, {"means": means, "scales": scales}, said)
