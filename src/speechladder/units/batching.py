"""Choose the utterances that are encoded together: read some seconds ahead, sort by length, batch by padded size."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
AHEAD = 10  # number of batches that are read ahead, so that the utterances of a batch have similar lengths


def buckets(lengths: Sequence[int], budget: float) -> Iterator[list[int]]:
    """Indices of similar `lengths`, in batches whose padded size is at most `budget`. One that exceeds it is alone."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def windows(rows: Iterable[T], size: Callable[[T], float], enough: float) -> Iterator[list[T]]:
    """Groups of consecutive rows whose sizes add up to at least `enough`; the last group may be smaller."""
    window: list[T] = []
    held = 0.0
    for row in rows:
        window.append(row)
        held += size(row)
        if held >= enough:
            yield window
            window, held = [], 0.0
    if window:
        yield window
