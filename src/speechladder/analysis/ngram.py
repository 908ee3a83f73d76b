"""Counts of events in contexts as an interpolated model, in arrays: n-grams of tokens, and lengths of runs.

The smoothing is Witten and Bell's (1991, method C) in its interpolated form (Chen and Goodman 1999, section 2.4):

    p(e | c1..ck) = (n(c1..ck, e) + t(c1..ck) p(e | c1..c(k-1))) / (n(c1..ck) + t(c1..ck))

n counts occurrences and t distinct events; c1 is the nearest symbol of the context. Below the empty context lies a base
distribution that is given. The method has no parameter to tune, and the probabilities of all events sum to one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SPAN = 1 << 32  # a key is (number of the shorter context or of the context) * SPAN + symbol
NONE = -1  # in a context: no symbol, because the sequence begins later

Base = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Level:
    """Counts of contexts of one length. Keys are sorted, so that they are found by bisection."""

    contexts: np.ndarray  # (contexts,) keys of number of the context without its last symbol, and that symbol
    total: np.ndarray  # (contexts,) occurrences
    kinds: np.ndarray  # (contexts,) distinct events
    pairs: np.ndarray  # (pairs,) keys of number of the context, and event
    counts: np.ndarray  # (pairs,) occurrences


class CountModel:
    """The distribution of an event given up to k symbols, learnt from counts.

    `events` is (n,), each of the k `contexts` is (n,) with the nearest symbols first; both hold integers from 0 to
    SPAN - 1, and a context may hold NONE, after which farther ones are not read. `base` gives the probability of each
    of some events before any was seen. Memory is at most some 230 bytes per event with four contexts.
    """

    def __init__(self, events: np.ndarray, contexts: Sequence[np.ndarray], base: Base) -> None:
        self._base, self._levels = base, []
        events, number = events.astype(np.int64), np.zeros(len(events), np.int64)
        rows = np.arange(len(events))
        for context in (None, *contexts):
            keys = number if context is None else number * SPAN + context[rows]
            if context is not None:
                there = context[rows] != NONE
                rows, keys = rows[there], keys[there]
            known, number, total = np.unique(keys, return_inverse=True, return_counts=True)
            pairs, counts = np.unique(number * SPAN + events[rows], return_counts=True)
            kinds = np.bincount(pairs // SPAN, minlength=len(known))
            self._levels.append(_Level(known, total, kinds, pairs, counts))

    def probabilities(self, events: np.ndarray, contexts: Sequence[np.ndarray]) -> np.ndarray:
        """The probability of each event in its context, (m,) float64; shapes as in the constructor."""
        events = events.astype(np.int64)
        found, number = self._base(events).astype(np.float64), np.zeros(len(events), np.int64)
        rows = np.arange(len(events))  # those whose context was seen so far
        for level, context in zip(self._levels, (None, *contexts)):
            keys = number if context is None else number * SPAN + context[rows]
            number = _find(level.contexts, keys)
            seen = number >= 0
            if context is not None:
                seen &= context[rows] != NONE
            rows, number = rows[seen], number[seen]
            pair = _find(level.pairs, number * SPAN + events[rows])
            count = np.where(pair >= 0, level.counts[pair], 0) if len(level.counts) else 0
            total, kinds = level.total[number], level.kinds[number]
            found[rows] = (count + kinds * found[rows]) / (total + kinds)
        return found


def _find(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The place of each key in the sorted `known`; -1 if it is not there."""
    if not len(known):
        return np.full(len(keys), -1)
    at = np.searchsorted(known, keys).clip(max=len(known) - 1)
    return np.where(known[at] == keys, at, -1)
