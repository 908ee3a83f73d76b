"""From waveforms to units without a stop: batches in flight on the device, utterances in the order they came in."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speechladder.constants import SAMPLE_RATE
from speechladder.io.progress import Meter
from speechladder.units.batching import windows
from speechladder.units.codebook import Codebook
from speechladder.units.decode import Job, Wave
from speechladder.units.encoder import Encoder, Features
from speechladder.units.nearest import Nearest
from speechladder.units.normalise import Normaliser

_IN_FLIGHT = 2  # batches that the device may have before the first one's units are asked for


@dataclass(frozen=True)
class Quantiser:
    """Features to units on the device: normalised as k-means saw them, then the nearest centroid."""

    normaliser: Normaliser
    nearest: Nearest

    @classmethod
    def of(cls, codebook: Codebook, normaliser: Normaliser, device: torch.device) -> "Quantiser":
        """Of a codebook, on a device."""
        return cls(normaliser, Nearest(codebook.centroids, device))

    def __call__(self, features: list[torch.Tensor], speakers: list[str]) -> torch.Tensor:
        """Each (frames, dim) float32 of one utterance -> units of all, one after the other, int32 on the device."""
        pairs = zip(features, speakers, strict=True)
        return self.nearest(torch.cat([self.normaliser.apply(x, speaker) for x, speaker in pairs]))


class _Flight:
    """A batch's units by each codebook, (codebooks, frames), on their way to this process."""

    def __init__(self, places: list[int], lengths: list[int], units: torch.Tensor) -> None:
        self.places, self.lengths, self.units, self.event = places, lengths, units, None
        if units.device.type == "cuda":
            self.units = torch.empty(units.shape, dtype=units.dtype, pin_memory=True)
            self.units.copy_(units, non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record()

    def land(self) -> Iterator[tuple[int, np.ndarray]]:
        """(place, (codebooks, frames) uint16) of each utterance; waits for the device."""
        if self.event:
            self.event.synchronize()
        ends = np.cumsum(self.lengths)[:-1]
        return zip(self.places, np.split(self.units.numpy().astype(np.uint16), ends, axis=1), strict=True)


def units_of(
    encoder: Encoder, quantisers: Sequence[Quantiser], speech: Iterable[tuple[Job, Wave]], meter: Meter
) -> Iterator[tuple[Job, np.ndarray]]:
    """Each utterance with its units by each quantiser, (quantisers, frames) uint16, in order; `meter` counts seconds.

    Encoded once, whatever the number of codebooks. Reads `encoder.ahead` seconds ahead, so that batches are of similar
    length, and holds no more than two such windows.
    """
    landed: dict[int, np.ndarray] = {}
    waiting: deque[tuple[int, Job, float]] = deque()  # place, job, seconds: what is not out yet
    flights: deque[_Flight] = deque()
    count = 0

    def done(left: int) -> Iterator[tuple[Job, np.ndarray]]:
        while len(flights) > left:
            landed.update(flights.popleft().land())
        while waiting and waiting[0][0] in landed:
            place, job, seconds = waiting.popleft()
            meter.advance(seconds)
            yield job, landed.pop(place)

    for window in windows(speech, _seconds, encoder.ahead):
        first, count = count, count + len(window)
        waiting.extend((first + at, row[0], _seconds(row)) for at, row in enumerate(window))
        for batch in encoder.features([wave for _, wave in window]):
            flights.append(_launch(batch, window, first, quantisers))
            yield from done(_IN_FLIGHT)
    yield from done(0)


def _seconds(row: tuple[Job, Wave]) -> float:
    return len(row[1].samples) / SAMPLE_RATE


def _launch(batch: Features, window: list[tuple[Job, Wave]], first: int, quantisers: Sequence[Quantiser]) -> _Flight:
    features = [values for _, values in batch]
    speakers = [window[index][0].speaker for index, _ in batch]
    units = torch.stack([quantiser(features, speakers) for quantiser in quantisers])
    return _Flight([first + index for index, _ in batch], [len(values) for values in features], units)
