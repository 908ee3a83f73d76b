"""Training windows and batches by length."""

from types import SimpleNamespace

import numpy as np
import pytest

from speechladder.lm.batches import BOS, IGNORE, Batches, by_length, padded

EOS = 2


def documents(lengths: list[int]) -> SimpleNamespace:
    """Documents `<s> 10 11 12 ... </s>`; the second token names the document."""
    parts = [np.array([BOS, 100 + i, *range(10, 10 + n - 3), EOS], dtype=np.uint16) for i, n in enumerate(lengths)]
    lengths = np.array([len(p) for p in parts], dtype=np.int32)
    return SimpleNamespace(tokens=np.concatenate(parts), lengths=lengths, offsets=np.cumsum(lengths) - lengths)


@pytest.fixture
def data() -> SimpleNamespace:
    return documents([5, 9, 3, 30, 7, 6, 12])


def stream(batches: Batches, steps: int) -> np.ndarray:
    return np.concatenate([batches.at(s).inputs.ravel() for s in range(steps)])


def test_each_pass_holds_each_document_once_and_passes_differ(data: SimpleNamespace) -> None:
    batches = Batches(data, seed=0, window=6, batch_windows=2)
    n = batches.tokens_per_pass
    assert n == 72
    tokens = stream(batches, 2 * n // batches.tokens_per_step)
    passes = tokens[:n], tokens[n : 2 * n]
    names = [[t for t in p if t >= 100] for p in passes]
    assert all(sorted(p) == sorted(data.tokens) for p in passes)
    assert sorted(names[0]) == sorted(names[1]) == list(range(100, 107))
    assert names[0] != names[1]
    other = [t for t in stream(Batches(data, 1, 6, 2), n // 12) if t >= 100]
    assert other != names[0]


def test_a_step_needs_no_history(data: SimpleNamespace) -> None:
    one, other = Batches(data, 3, 7, 2), Batches(data, 3, 7, 2)
    walked = [one.at(s) for s in range(12)]
    for step in (11, 4, 9):
        for a, b in zip(walked[step], other.at(step)):
            np.testing.assert_array_equal(a, b)


def test_no_target_is_another_documents_start(data: SimpleNamespace) -> None:
    batches = Batches(data, 0, 8, 3)
    for step in range(9):
        batch = batches.at(step)
        after = np.concatenate([batch.inputs.ravel()[1:], batches.at(step + 1).inputs.ravel()[:1]])
        expected = np.where(after == BOS, IGNORE, after)
        np.testing.assert_array_equal(batch.targets.ravel(), expected)
        # exactly the targets after </s> are ignored
        np.testing.assert_array_equal(batch.targets == IGNORE, batch.inputs == EOS)


def test_positions_restart_at_documents_and_windows(data: SimpleNamespace) -> None:
    batch = Batches(data, 0, 10, 7).at(0)
    for tokens, positions, starts in zip(batch.inputs, batch.positions, batch.starts):
        at = 0
        for i, token in enumerate(tokens):
            at = i if token == BOS else at
            assert (positions[i], starts[i]) == (i - at, at)
    assert (batch.inputs[:, 0] != BOS).any()  # at least one window begins inside a document


def test_by_length_takes_all_within_the_limit() -> None:
    lengths = [3, 50, 7, 7, 1, 20, 200, 8]
    batches = by_length(lengths, 40)
    assert sorted(np.concatenate(batches)) == list(range(8))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 40
    assert batches[0].tolist() == [6]
    assert by_length([], 40) == []


def test_padded_pads_on_the_right() -> None:
    got = padded([np.array([1, 5], np.uint16), np.array([1, 6, 7], np.uint16)])
    assert got.tolist() == [[1, 5, 0], [1, 6, 7]]
    assert got.dtype == np.int64
