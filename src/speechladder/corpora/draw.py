"""Seeded draws of utterances in the order of a stable hash, until enough seconds (or items) are drawn.

The hash depends on a key and on the utterance's id alone. So a draw does not depend on the order of the corpus, on how
it is divided into shards, or on the machine, and a smaller draw lies within a larger one.
"""

from array import array
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import numpy as np

from speechladder.io.hashing import stable_hash

T = TypeVar("T")
_ROUNDING = 1e-6  # seconds, of sums of floats


def hash_order(items: Iterable[T], *key: object, name: Callable[[T], object]) -> list[T]:
    """The items sorted by `stable_hash(*key, name(item))`; equal names keep their order."""
    return sorted(items, key=lambda item: stable_hash(*key, name(item)))


class Draw(Generic[T]):
    """The first items in the order of `stable_hash(*key, name)` that reach a wanted total size.

    Items are added one at a time. Those in memory have about twice the wanted size, however many are added.
    """

    def __init__(self, wanted: float, *key: object) -> None:
        """`wanted`: the total size to reach, above 0, in the unit of the items' sizes (seconds, frames, 1 for each)."""
        self._wanted, self._key = wanted, key
        self._held: list[tuple[int, str, int, float, T]] = []
        self._added, self._size, self._limit = 0, 0.0, 2 * wanted

    def add(self, name: str, size: float, item: T) -> None:
        """Add an item; its `name` (an utterance's id) decides its place in the order."""
        self._held.append((stable_hash(*self._key, name), name, self._added, size, item))
        self._added += 1
        self._size += size
        if self._size >= self._limit:
            self._size = self._trim()[-1]
            self._limit = self._size + self._wanted

    def items(self, within: bool = False) -> list[T]:
        """The items drawn, in their order: up to the one that reaches the wanted size, which is included.

        `within`: leave that last one out if the total would exceed the wanted size, unless it is the only one.
        """
        ends = self._trim()
        count = len(self._held) - (within and len(ends) > 1 and ends[-1] > self._wanted)
        return [item for *_, item in self._held[:count]]

    def _trim(self) -> np.ndarray:
        """Let go of the items that cannot be drawn any more; returns the cumulative sizes of the others."""
        self._held.sort(key=lambda row: row[:3])
        ends = np.cumsum([size for *_, size, _ in self._held])
        count = int(np.searchsorted(ends, self._wanted)) + 1
        del self._held[count:]
        return ends[:count]


def water_level(own: np.ndarray, cap: float) -> float:
    """The level for which sum(min(own, level)) is `cap`; infinity if all speakers together have no more than `cap`.

    own: (speakers,) seconds of speech of each speaker.
    """
    if own.sum() <= cap:
        return float("inf")
    rising = np.sort(own)
    full = np.concatenate([[0.0], np.cumsum(rising)[:-1]])  # of the speakers who have less than the one at this place
    levels = (cap - full) / np.arange(len(rising), 0, -1)
    return float(levels[np.argmax(levels <= rising)])


def water_fill(speakers: np.ndarray, order: np.ndarray, seconds: np.ndarray, cap: float) -> tuple[np.ndarray, float]:
    """Which utterances to keep so that they last `cap` seconds together: ((n,) bool, the level in seconds).

    speakers: (n,) a number for each speaker; order: (n,) uint64, a hash of the utterance's id; seconds: (n,) durations.
    Every speaker gives utterances in the order of the hash, up to `level` seconds or all that the speaker has. What
    `cap` still lacks is filled, in the order of the hash, from the next utterance of each speaker. So the sum never
    exceeds `cap` and is less than one utterance below it. A larger cap keeps all that a smaller cap keeps, except for
    at most one utterance per speaker.
    """
    n = len(seconds)
    if not n:
        return np.zeros(0, bool), float("inf")
    at = np.lexsort((order, speakers))
    own = speakers[at]
    first = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    counts = np.diff(np.append(first, n))
    durations = seconds[at].astype(np.float64)
    ends = np.cumsum(durations)
    ends -= np.repeat(ends[first] - durations[first], counts)  # within the speaker
    level = water_level(ends[first + counts - 1], cap)
    below = ends <= level + _ROUNDING
    lacking = cap - durations[below].sum()
    taken = np.add.reduceat(below, first, dtype=np.int64)
    following = (first + taken)[taken < counts]
    following = following[np.argsort(order[at[following]], kind="stable")]
    below[following[np.cumsum(durations[following]) <= lacking + _ROUNDING]] = True
    kept = np.zeros(n, bool)
    kept[at[below]] = True
    return kept, level


class SpeakerDraw:
    """A draw of utterances with the same time for every speaker as far as possible (`water_fill`).

    20 bytes are held in memory for each utterance, and no text.
    """

    def __init__(self, *key: object) -> None:
        """`key`: the draw's own key of the hash."""
        self._key = key
        self._numbers: dict[str, int] = {}
        self._speakers, self._order, self._seconds = array("i"), array("Q"), array("d")

    def add(self, name: str, speaker: str, seconds: float) -> None:
        """Add an utterance; its `name` (its id) decides its place in the order."""
        self._speakers.append(self._numbers.setdefault(speaker, len(self._numbers)))
        self._order.append(stable_hash(*self._key, name))
        self._seconds.append(seconds)

    def kept(self, cap: float) -> np.ndarray:
        """Which of the utterances, as they were added, are drawn within `cap` seconds: (n,) bool."""
        columns = np.array(self._speakers, np.int32), np.array(self._order, np.uint64), np.array(self._seconds)
        return water_fill(*columns, cap)[0]
