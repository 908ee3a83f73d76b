"""Draws by hash: of a total size, and of a cap in hours that is balanced over speakers."""

from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechladder.corpora.draw import Draw, SpeakerDraw, hash_order, water_fill, water_level
from speechladder.io.hashing import stable_hash


def corpus(utterances: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(speakers, order, seconds) of speakers with this many utterances each, of 2 to 20 s."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(len(utterances)), utterances)
    order = np.array([stable_hash("hours", f"u{n}") for n in range(len(speakers))], np.uint64)
    return speakers, order, rng.uniform(2, 20, len(speakers)).round(2)


def given_by(speakers: np.ndarray, seconds: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.bincount(speakers[kept], seconds[kept], minlength=speakers.max() + 1)


def test_the_level_fills_the_cap() -> None:
    assert water_level(np.array([1.0, 5.0, 10.0]), 7.0) == 3.0  # 1 + 3 + 3
    assert water_level(np.array([10.0, 1.0, 5.0]), 13.0) == 7.0  # 1 + 5 + 7
    assert water_level(np.array([4.0, 4.0]), 8.0) == float("inf")
    assert water_level(np.array([3.0]), 2.0) == 2.0


def test_every_speaker_gives_the_same_time_as_far_as_possible() -> None:
    speakers, order, seconds = corpus([2, 400, 300, 5, 600])
    own = np.bincount(speakers, seconds)
    kept, level = water_fill(speakers, order, seconds, 3600)
    out = given_by(speakers, seconds, kept)
    assert out[0] == pytest.approx(own[0]) and out[3] == pytest.approx(own[3])  # all that these speakers have
    assert np.minimum(own, level).sum() == pytest.approx(3600)
    assert np.abs(out - np.minimum(own, level)).max() < 20
    assert 3600 - 20 < out.sum() <= 3600 + 1e-6


def test_it_does_not_depend_on_the_order_of_the_manifest() -> None:
    speakers, order, seconds = corpus([30, 50, 70])
    kept, level = water_fill(speakers, order, seconds, 600)
    shuffled = np.random.default_rng(1).permutation(len(seconds))
    again, same = water_fill(1000 - speakers[shuffled], order[shuffled], seconds[shuffled], 600)
    assert np.array_equal(again, kept[shuffled]) and same == level


def test_a_small_cap_is_inside_a_large_one_up_to_an_utterance_per_speaker() -> None:
    speakers, order, seconds = corpus([3, 40, 80, 160, 20])
    caps = [water_fill(speakers, order, seconds, cap)[0] for cap in (300, 600, 1200, 2400)]
    for small, large in pairwise(caps):
        lost = speakers[small & ~large]
        assert len(lost) == len(set(lost.tolist()))
        assert (small & large).sum() >= small.sum() - 5


def test_a_cap_below_an_utterance_per_speaker_is_still_filled() -> None:
    speakers, order, seconds = corpus([10] * 100)
    kept, level = water_fill(speakers, order, seconds, 200)
    assert level == 2.0  # no speaker has such a short utterance
    assert 180 < seconds[kept].sum() <= 200
    assert len(set(speakers[kept].tolist())) == kept.sum()


def test_a_cap_above_the_corpus_keeps_all() -> None:
    speakers, order, seconds = corpus([3, 4])
    assert water_fill(speakers, order, seconds, 1e6)[0].all()
    assert len(water_fill(*(x[:0] for x in corpus([1])), 10)[0]) == 0


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.floats(0.1, 2000), st.floats(1, 2), st.integers(0, 99))
def test_any_corpus(utterances: list[int], cap: float, more: float, seed: int) -> None:
    speakers, order, seconds = corpus(utterances, seed)
    kept, _ = water_fill(speakers, order, seconds, cap)
    total = seconds[kept].sum()
    assert total <= cap + 1e-3
    assert kept.all() or total > cap - 20 - 1e-3
    larger, _ = water_fill(speakers, order, seconds, cap * more)
    lost = speakers[kept & ~larger]
    assert len(lost) == len(set(lost.tolist()))


def drawn(names: list[str], sizes: list[float], wanted: float, within: bool) -> list[str]:
    """The same draw by a full sort."""
    order = sorted(range(len(names)), key=lambda n: (stable_hash("key", 3, names[n]), names[n], n))
    ends = list(accumulate(sizes[n] for n in order))
    count = next((k + 1 for k, end in enumerate(ends) if end >= wanted), len(ends))
    count -= within and count > 1 and ends[count - 1] > wanted
    return [f"{names[n]} {n}" for n in order[:count]]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=60),
    st.integers(1, 300),
    st.booleans(),
)
def test_a_draw_equals_the_head_of_a_full_sort(rows: list[tuple[int, int]], wanted: int, within: bool) -> None:
    names, sizes = [f"u{name}" for name, _ in rows], [size / 4 for _, size in rows]
    found = Draw(wanted / 4, "key", 3)
    for n, (name, size) in enumerate(zip(names, sizes)):
        found.add(name, size, f"{name} {n}")
    assert found.items(within) == drawn(names, sizes, wanted / 4, within)


def test_a_draw_holds_few_items() -> None:
    found = Draw(10, "key")
    for n in range(20_000):
        found.add(f"u{n}", 1, n)
        assert len(found._held) < 20
    first = found.items()
    assert len(first) == 10 and first == hash_order(range(20_000), "key", name=lambda n: f"u{n}")[:10]
    assert found.items() == first  # a second call returns the same


def test_a_smaller_draw_begins_a_larger_one() -> None:
    small, large = Draw(5, "key"), Draw(50, "key")
    for n in range(200):
        small.add(f"u{n}", 1, n)
        large.add(f"u{n}", 1, n)
    assert large.items()[:5] == small.items() and len(large.items()) == 50


def test_a_draw_by_speaker_fills_the_cap_in_the_order_of_its_hash() -> None:
    speakers, order, seconds = corpus([5, 40, 8])
    balanced = SpeakerDraw("hours")
    for n, (speaker, duration) in enumerate(zip(speakers, seconds)):
        balanced.add(f"u{n}", f"speaker {speaker}", duration)
    assert np.array_equal(balanced.kept(200), water_fill(speakers, order, seconds, 200)[0])
