"""An encoder in one file: the log energies of mel bands, without a model."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from speechladder.settings import Units
from speechladder.units.decode import Wave
from speechladder.units.encoders.base import Encoder, Features, check_lengths
from speechladder.units.mfcc import log_mel


class ToyEncoder(Encoder):
    """`layer` is the number of bands."""

    ahead = 0.0

    def __init__(self, bands: int) -> None:
        self.bands, self.device = bands, torch.device("cpu")

    @property
    def provenance(self) -> dict[str, Any]:
        return {"encoder": "toy", "sha256": "0" * 64, "layer": self.bands, "dim": self.bands, "normalise": False}

    def features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        check_lengths(waves)
        for index, wave in enumerate(waves):
            yield [(index, torch.from_numpy(log_mel(wave.samples, self.bands)))]


def open_encoder(units: Units, device: str | None) -> ToyEncoder:
    return ToyEncoder(units.layer)
