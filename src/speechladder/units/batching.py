"""Which utterances are encoded together: read ahead some seconds, sort by length, batch by padded seconds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
AHEAD = 10  # batches' worth of speech read ahead, so that what is batched is of similar length


def buckets(lengths: Sequence[int], budget: float) -> Iterator[list[int]]:
    """Indices of similar `lengths`, in batches whose size with padding is at most `budget`; one too long is alone."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[index] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def windows(rows: Iterable[T], size: Callable[[T], float], enough: float) -> Iterator[list[T]]:
    """Consecutive rows, as many as reach `enough` together; the last may be smaller."""
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
