"""What an encoder is: the interface that the rest of the workflow uses, whichever model computes the features.

To add an encoder, write a file beside this one with a class that implements `Encoder` and a function
`open_encoder(units, device)`, and name the file in factory.ENCODERS. Torch is imported only where an encoder runs.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from speechladder.units.decode import MIN_SAMPLES, Wave

if TYPE_CHECKING:
    import torch

Features = list[tuple[int, "torch.Tensor"]]  # (index of the utterance, its (frames, dim) float32 on the device)


class Encoder(Protocol):
    """One layer of a speech model. A frame's features depend on its own utterance alone, never on its batch.

    `device`: where `features` leaves its tensors. `ahead`: seconds of speech that are worth reading before they are
    encoded together; 0 for an encoder that gains nothing from batches.
    """

    device: "torch.device"
    ahead: float

    @property
    def provenance(self) -> dict[str, Any]:
        """What makes these features what they are; a codebook is used only with features of the same provenance.

        It has `encoder` (the name in `units.encoder`), `sha256` (hex, of the weights), `layer`, `dim` (size of a
        feature vector), `normalise` (whether waveforms are brought to zero mean and unit variance; None if unknown),
        and `precision` unless it is fp32.
        """
        ...

    def features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        """Yield the features of all `waves` in batches, each utterance once, in any order.

        An utterance has io.audio.frame_count(samples) frames. Raise ValueError for fewer than MIN_SAMPLES samples.
        """
        ...

    def encode(self, utterances: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Encode utterances, each (samples,) float32 at 16 kHz, into arrays of (frames, dim) float32.

        Raise ValueError for fewer than MIN_SAMPLES samples: callers reject such an utterance with the reason.
        """
        out: list[np.ndarray] = [np.empty(0)] * len(utterances)
        for batch in self.features([Wave.of(samples) for samples in utterances]):
            for index, values in batch:
                out[index] = values.cpu().numpy()
        return out


def check_lengths(waves: Sequence[Wave]) -> None:
    """Raise ValueError if an utterance is too short for a single frame."""
    if any(wave.length < MIN_SAMPLES for wave in waves):
        raise ValueError(f"an utterance shorter than {MIN_SAMPLES} samples has no frame")
