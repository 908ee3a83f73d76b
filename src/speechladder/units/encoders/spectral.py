"""Spectral features without a model, the baselines of an encoder: MFCC with deltas, or log mel energies."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from speechladder.settings import Units
from speechladder.units import mfcc
from speechladder.units.decode import Wave
from speechladder.units.encoders.base import Encoder, Features, check_lengths

# units.source -> the function of (n,) samples that gives (frames, values) float32. Both have mean 0 and variance 1 in
# each dimension over the utterance, so that loudness and a fixed channel make no unit of their own.
_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mfcc": mfcc.mfcc,
    "logmel": lambda samples: mfcc.normalise(mfcc.log_mel(samples)),
}
# What the features depend on, in place of weights. Other numbers give other features, which fit no older codebook.
_NUMBERS = ("FFT", "BANDS", "LOWEST", "HIGHEST", "COEFFICIENTS", "PREEMPHASIS", "DELTA_REACH", "FLOOR")


class SpectralEncoder(Encoder):
    """The features that `units.source` names, on the CPU, one utterance at a time."""

    ahead = 0.0

    def __init__(self, name: str) -> None:
        self.name, self.device = name, torch.device("cpu")
        self.dim, self._function = mfcc.WIDTHS[name], _FUNCTIONS[name]

    @property
    def provenance(self) -> dict[str, Any]:
        """See Encoder. There are no layers, so `layer` is 0; `sha256` is that of the numbers in units/mfcc.py."""
        said = " ".join([self.name, *(f"{name}={getattr(mfcc, name)}" for name in _NUMBERS)])
        digest = hashlib.sha256(said.encode()).hexdigest()
        return {"encoder": self.name, "sha256": digest, "layer": 0, "dim": self.dim, "normalise": False}

    def features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        """See Encoder."""
        check_lengths(waves)
        for index, wave in enumerate(waves):
            yield [(index, torch.from_numpy(self._function(wave.samples)))]


def open_encoder(units: Units, device: str | None) -> SpectralEncoder:
    """See factory.open_encoder. The features are computed on the CPU whatever `device` says."""
    return SpectralEncoder(units.source)
