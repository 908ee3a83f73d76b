"""Turn a stream of waveforms into units, in order, with batches in flight on the device."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speechladder.constants import SAMPLE_RATE
from speechladder.io.progress import Meter
from speechladder.units.batching import windows
from speechladder.units.codebook import Codebook
from speechladder.units.decode import Job, Wave
from speechladder.units.encoders.base import Encoder, Features
from speechladder.units.nearest import Highest, Nearest
from speechladder.units.normalise import Normaliser

# The features of utterances, each (frames, dim) float32, to (rows, frames of all) int32 on the device.
Quantise = Callable[[list[torch.Tensor], list[Job]], torch.Tensor]
_IN_FLIGHT = 2  # batches that are sent to the device before the units of the first are fetched


@dataclass(frozen=True)
class Quantiser:
    """Map features to units on the device: normalise them as for the codebook, then assign them by it."""

    normaliser: Normaliser
    nearest: Nearest | Highest

    @classmethod
    def of(cls, codebook: Codebook, normaliser: Normaliser, device: torch.device) -> "Quantiser":
        """The quantiser of a codebook on a device."""
        if codebook.classifier:
            return cls(normaliser, Highest(*codebook.classifier, device))
        return cls(normaliser, Nearest(codebook.centroids, device))

    def __call__(self, features: list[torch.Tensor], jobs: list[Job]) -> torch.Tensor:
        """Map features, each (frames, dim) float32 of an utterance, to all their units, (1, frames) int32."""
        pairs = zip(features, jobs, strict=True)
        return self.nearest(torch.cat([self.normaliser.apply(x, job.speaker) for x, job in pairs]))[None]


class _Flight:
    """What the quantisers made of a batch, (rows, frames), on its way from the device to this process."""

    def __init__(self, positions: list[int], lengths: list[int], units: torch.Tensor) -> None:
        self.positions, self.lengths, self.units, self.event = positions, lengths, units, None
        if units.device.type == "cuda":
            self.units = torch.empty(units.shape, dtype=units.dtype, pin_memory=True)
            self.units.copy_(units, non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record()

    def land(self) -> Iterator[tuple[int, np.ndarray]]:
        """(position, (rows, frames) uint16) of each utterance. Waits for the device."""
        if self.event:
            self.event.synchronize()
        ends = np.cumsum(self.lengths)[:-1]
        return zip(self.positions, np.split(self.units.numpy().astype(np.uint16), ends, axis=1), strict=True)


def units_of(
    encoder: Encoder, quantisers: Sequence[Quantise], speech: Iterable[tuple[Job, Wave]], meter: Meter
) -> Iterator[tuple[Job, np.ndarray]]:
    """Yield each utterance with the rows of all quantisers, (rows, frames) uint16, in order; a Quantiser has one row.

    Speech is encoded once, whatever the number of codebooks. `encoder.ahead` seconds are read ahead, so that the
    utterances of a batch have similar lengths. At most two such windows are in memory. `meter` counts seconds.
    """
    landed: dict[int, np.ndarray] = {}
    waiting: deque[tuple[int, Job, float]] = deque()  # position, job, seconds of each utterance not yielded yet
    flights: deque[_Flight] = deque()
    count = 0

    def done(left: int) -> Iterator[tuple[Job, np.ndarray]]:
        while len(flights) > left:
            landed.update(flights.popleft().land())
        while waiting and waiting[0][0] in landed:
            position, job, seconds = waiting.popleft()
            meter.advance(seconds)
            yield job, landed.pop(position)

    for window in windows(speech, _seconds, encoder.ahead):
        first, count = count, count + len(window)
        waiting.extend((first + at, row[0], _seconds(row)) for at, row in enumerate(window))
        for batch in encoder.features([wave for _, wave in window]):
            flights.append(_launch(batch, window, first, quantisers))
            yield from done(_IN_FLIGHT)
    yield from done(0)


def _seconds(row: tuple[Job, Wave]) -> float:
    return row[1].length / SAMPLE_RATE


def _launch(batch: Features, window: list[tuple[Job, Wave]], first: int, quantisers: Sequence[Quantise]) -> _Flight:
    """Start computing the units of a batch. `first` is the position of the window's first utterance."""
    features = [values for _, values in batch]
    jobs = [window[index][0] for index, _ in batch]
    units = torch.cat([quantiser(features, jobs) for quantiser in quantisers])
    return _Flight([first + index for index, _ in batch], [len(values) for values in features], units)
