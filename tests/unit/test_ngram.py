"""Smoothed counts: against the formula written out with dictionaries, and as a distribution."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from speechladder.analysis.baselines import Sequences, train_ngram, train_run_ngram
from speechladder.analysis.ngram import NONE, CountModel

BOS, EOS, VOCABULARY = 1, 2, 7


def some_sequences(seed: int, count: int, repeat: int = 1) -> list[list[int]]:
    """Sequences `<s> tokens </s>` in which some trigrams are frequent; each token up to `repeat` times in a row."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(3, VOCABULARY, 3) for _ in range(4)]
    out = []
    for _ in range(count):
        said = np.concatenate([words[n] for n in rng.integers(0, 4, 4)] + [rng.integers(3, VOCABULARY, 2)])
        out.append([BOS, *np.repeat(said, rng.integers(1, repeat + 1, len(said))).tolist(), EOS])
    return out


def joined(sequences: Sequence[Sequence[int]]) -> Sequences:
    return Sequences.join(np.concatenate([*map(np.array, sequences)]), np.array([len(s) for s in sequences]))


class Slow:
    """Witten-Bell by recursion over the context, nearest symbol first, with a dictionary per context."""

    def __init__(self, events: list[tuple[tuple[int, ...], int]], base) -> None:
        self.base, self.seen = base, defaultdict(Counter)
        for context, event in events:
            for size in range(len(context) + 1):
                self.seen[context[:size]][event] += 1

    def __call__(self, context: tuple[int, ...], event: int) -> float:
        shorter = self(context[:-1], event) if context else self.base(event)
        counts = self.seen.get(context)
        if not counts:
            return shorter
        return (counts[event] + len(counts) * shorter) / (counts.total() + len(counts))


def slow_ngram(train: list[list[int]], order: int) -> Slow:
    events = [(tuple(reversed(s[max(0, at - order + 1) : at])), s[at]) for s in train for at in range(1, len(s))]
    return Slow(events, lambda event: 1 / VOCABULARY)


def slow_score(model: Slow, sequence: list[int], order: int) -> float:
    return -sum(
        np.log(model(tuple(reversed(sequence[max(0, at - order + 1) : at])), sequence[at]))
        for at in range(1, len(sequence))
    )


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_an_ngram_is_the_formula(order: int) -> None:
    train, items = some_sequences(0, 30), [s[:-1] for s in some_sequences(1, 20)] + [[BOS, 6, 6, 6], [BOS, 3]]
    slow = slow_ngram(train, order)
    found = train_ngram(joined(train), VOCABULARY, order)(joined(items))
    assert found == pytest.approx([slow_score(slow, item, order) for item in items], rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_the_probabilities_of_the_vocabulary_sum_to_one(order: int) -> None:
    score = train_ngram(joined(some_sequences(0, 30)), VOCABULARY, order)
    for prefix in ([BOS], [BOS, 3], [BOS, 3, 4, 5, 6, 3], [BOS, 0, 0, 0, 0, 0]):
        before = score(joined([prefix]))[0]
        after = score(joined([[*prefix, token] for token in range(VOCABULARY)]))
        assert np.exp(before - after).sum() == pytest.approx(1, abs=1e-12)


def runs_of(sequence: list[int]) -> tuple[list[int], list[int]]:
    groups = [(token, len([*group])) for token, group in itertools.groupby(sequence)]
    return [token for token, _ in groups], [length for _, length in groups]


def test_a_run_ngram_is_the_formula_and_sums_to_one() -> None:
    order, train = 5, some_sequences(2, 40, repeat=4)
    split = [runs_of(s) for s in train]
    tokens = slow_ngram([t for t, _ in split], order)
    lengths = [n for _, counts in split for n in counts[1:]]
    stop = 1 / np.mean(lengths)
    events = [((t[at], t[at - 1]), n[at]) for t, n in split for at in range(1, len(t))]
    durations = Slow(events, lambda length: stop * (1 - stop) ** (length - 1))

    def slow(item: list[int]) -> float:
        runs, counts = runs_of(item)
        total = 0.0
        for at in range(1, len(runs)):
            context = tuple(reversed(runs[max(0, at - order + 1) : at]))
            chance = tokens(context, runs[at]) / (1 - tokens(context, runs[at - 1]))
            total -= np.log(chance * durations((runs[at], runs[at - 1]), counts[at]))
        return total

    score = train_run_ngram(joined(train), VOCABULARY, order)
    items = [s[:-1] for s in some_sequences(3, 20, repeat=6)]
    assert score(joined(items)) == pytest.approx([slow(item) for item in items], rel=1e-12)
    prefix = [BOS, 3, 3, 4, 4, 4, 5]
    more = [[*prefix, *[token] * count] for token in range(VOCABULARY) if token != 5 for count in range(1, 60)]
    assert np.exp(score(joined([prefix])) - score(joined(more))).sum() == pytest.approx(1, abs=1e-6)


def test_a_context_ends_where_a_symbol_is_missing() -> None:
    near, far = np.array([4, 4, NONE]), np.array([5, NONE, 5])
    model = CountModel(np.array([1, 2, 2]), [near, far], lambda events: np.full(len(events), 0.5))
    found = model.probabilities(np.array([1, 1, 1]), [near, far])
    start = (1 + 2 * 0.5) / (3 + 2)
    after = (1 + 2 * start) / (2 + 2)
    assert found == pytest.approx([(1 + after) / 2, after, start])
