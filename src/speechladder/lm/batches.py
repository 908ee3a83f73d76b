"""Training windows out of packed tokens, and batches of whole sequences by length. Loads no torch."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np

PAD, BOS = 0, 1  # fixed for every rung (rungs.tokenizers)
IGNORE = -100  # the target of a position whose next token is not predicted


class Documents(Protocol):
    """The fields of rungs.data.TokenData that are read here."""

    tokens: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    meta: dict[str, object]  # read only for a rung with `spelled` symbols


class Batch(NamedTuple):
    """The windows of one optimiser step; all arrays are (batch, window) int64."""

    inputs: np.ndarray
    targets: np.ndarray  # the next token; IGNORE if that is the <s> of another document
    positions: np.ndarray  # in the document, from 0; a document that the edge of a window cuts begins at 0 again
    starts: np.ndarray  # index in the window at which the document of the token begins


class Batches:
    """Windows of an endless stream of passes. Each pass is all documents end to end, shuffled by (seed, pass).

    `at(step)` depends only on the data, the seed and the step, so a resumed run needs no state but its step. Tokens
    after the last whole window of a pass are not lost: windows run on into the next pass.
    """

    def __init__(self, data: Documents, seed: int, window: int, batch_windows: int) -> None:
        self.data, self.seed, self.window, self.batch_windows = data, seed, window, batch_windows
        self.lengths = self._lengths()
        self.tokens_per_pass = int(self.lengths.sum(dtype=np.int64))
        self.first = 0  # token of the stream at which step 0 begins
        self.whole_from = 0  # the step from which documents are as they are (lm.curriculum)
        self.tokens_per_step = window * batch_windows
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def _lengths(self) -> np.ndarray:
        """(documents,) tokens of each document."""
        return self.data.lengths

    def _document(self, number: int) -> np.ndarray:
        """(length,) tokens of a document."""
        return self.data.tokens[self.data.offsets[number] :][: self.data.lengths[number]]

    def passes(self, steps: int) -> float:
        """Passes over the data in the first `steps` steps."""
        return steps * self.tokens_per_step / self.tokens_per_pass

    def _shuffled(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The documents of pass `number` in order, and where each ends in the pass."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.lengths))
        return order, np.cumsum(self.lengths[order], dtype=np.int64)

    def _read(self, first: int, count: int) -> np.ndarray:
        """(count,) int64 tokens of the stream from token `first`."""
        parts: list[np.ndarray] = []
        while count > 0:
            number, at = divmod(first, self.tokens_per_pass)
            order, ends = self._order(number)
            index = int(np.searchsorted(ends, at, side="right"))
            while count > 0 and index < len(order):
                document = order[index]
                skip = at - (int(ends[index]) - int(self.lengths[document]))
                part = self._document(document)[skip : skip + count]
                parts.append(part)
                at, first, count, index = at + len(part), first + len(part), count - len(part), index + 1
        return np.concatenate(parts).astype(np.int64)

    def at(self, step: int) -> Batch:
        """The batch of step `step`; the first is 0."""
        tokens = self._read(self.first + step * self.tokens_per_step, self.tokens_per_step + 1)
        shape = (self.batch_windows, self.window)
        inputs, targets = tokens[:-1].reshape(shape), tokens[1:].reshape(shape)
        index = np.arange(self.window)
        starts = np.maximum.accumulate(np.where(inputs == BOS, index, 0), axis=1)
        return Batch(inputs, np.where(targets == BOS, IGNORE, targets), index - starts, starts)


def split_batch(batch: Batch, rank: int, ranks: int, micro: int, even: bool = False) -> list[Batch]:
    """The windows of a step for process `rank` of `ranks`, in micro-batches of at most `micro` windows.

    Every process gets the same number of micro-batches, of the same size if there are several processes or with
    `even`, which compiled kernels need: another size would be compiled again. Windows without targets, in which each
    token sees only itself, fill what is missing; they add nothing to the loss, the gradients or the count of targets.
    """
    count, window = batch.inputs.shape
    share = -(-count // ranks)
    parts = -(-share // micro)
    mine = np.array_split(np.arange(count), ranks)[rank]
    size = parts * min(micro, share) if even or ranks > 1 else len(mine)
    if len(mine) < size:
        order = np.arange(window)
        empty = Batch(np.full_like(order, PAD), np.full_like(order, IGNORE), np.zeros_like(order), order)
        batch = Batch(*(np.concatenate([a, b[None]]) for a, b in zip(batch, empty)))
        mine = np.concatenate([mine, np.full(size - len(mine), count)])
    return [Batch(*(a[mine[i : i + micro]] for a in batch)) for i in range(0, size, micro)]


def by_length(lengths: Sequence[int] | np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Indices in batches of similar length, longest first. A batch holds at most `batch_tokens` tokens with padding,
    or a single longer sequence."""
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        count = max(1, batch_tokens // max(1, int(lengths[order[begin]])))
        batches.append(order[begin : begin + count])
        begin += count
    return batches


def padded(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """(n, longest) int64, padded with PAD on the right, where causal attention never looks."""
    out = np.full((len(sequences), max(map(len, sequences))), PAD, dtype=np.int64)
    for row, sequence in zip(out, sequences):
        row[: len(sequence)] = sequence
    return out
