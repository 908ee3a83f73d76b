"""Units of segments: syllables by rule, edges by the alignment or found in the features, means, and durations."""

from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch

from speechladder.corpora.syllables import syllable_starts
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ALIGNMENT
from speechladder.settings import Units
from speechladder.units import segments
from speechladder.units.decode import Job
from speechladder.units.nearest import Nearest
from speechladder.units.normalise import Normaliser
from speechladder.units.stream import Quantiser

WORDS = {
    "cat": "K AE1 T",
    "water": "W AO1 . T ER0",
    "extra": "EH1 K . S T R AH0",
    "instruct": "IH0 N . S T R AH1 K T",
    "computer": "K AH0 M . P Y UW1 . T ER0",
    "onion": "AH1 N . Y AH0 N",  # Y joins a cluster only before UW and UH
    "singer": "S IH1 NG . ER0",  # no English word begins with NG
    "atlas": "AE1 T . L AH0 S",  # nor with T L
    "area": "EH1 . R IY0 . AH0",
    "rhythm": "R IH1 . DH AH0 M",
    "hm": "HH M",
}


@pytest.mark.parametrize("word", WORDS)
def test_syllables_have_the_longest_english_onset(word):
    parts = [syllable.split() for syllable in WORDS[word].split(" . ")]
    phones = [phone for part in parts for phone in part]
    assert syllable_starts(phones) == np.cumsum([0, *map(len, parts[:-1])]).tolist()
    assert syllable_starts([]) == []


def spans(*parts: tuple[str, float], start: float = 0.0) -> list[Span]:
    ends = np.cumsum([start, *(seconds for _, seconds in parts)])
    return [Span(label, float(a), float(b)) for (label, _), a, b in zip(parts, ends, ends[1:])]


PHONES = spans(
    *(("SIL", 0.1), ("SIL", 0.1), ("W", 0.1), ("AO1", 0.1), ("T", 0.1), ("ER0", 0.1)),
    *(("AH0", 0.1), ("SIL", 0.2), ("K", 0.1), ("SIL", 0.1), ("AE1", 0.1)),
)
SPOKEN = [Span("water", 0.2, 0.6), Span("a", 0.6, 0.7), Span("ka", 0.9, 1.2)]


@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        ("phone", [0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0, 1.1]),
        ("syllable", [0, 0.2, 0.4, 0.6, 0.7, 0.9, 1.0, 1.1]),
        ("word", [0, 0.2, 0.6, 0.7, 0.9, 1.0, 1.1]),  # a pause within a word divides it
    ],
)
def test_segments_are_those_of_the_alignment_and_a_pause_is_one(kind, starts):
    assert segments.segment_times(SPOKEN, PHONES, kind).tolist() == pytest.approx(starts)
    row = {"id": "u", "words": as_rows(SPOKEN), "phones": as_rows(PHONES), "seconds": 1.2, "aligner": "truth"}
    table = pa.Table.from_pylist([row], schema=ALIGNMENT)
    assert segments.aligned_times(table, kind)("u").tolist() == pytest.approx(starts)


def test_a_segment_without_the_centre_of_a_frame_is_left_out():
    found = segments.starts_of(torch.zeros(4, 2), Units(segments="phone"), np.array([0, 0.014, 0.0301, 0.0302, 1.0]))
    assert found.tolist() == [True, True, False, False]  # centres at 0.0125, 0.0325, 0.0525, 0.0725 s
    shifted = segments.starts_of(torch.zeros(4, 2), Units(segments="phone"), np.array([0, 0.001, 0.0525 + 1e-9]))
    assert shifted.tolist() == [True, False, True, False]


def test_the_means_are_those_of_the_frames_of_each_segment():
    rng = np.random.default_rng(0)
    features, starts = torch.from_numpy(rng.normal(size=(50, 7)).astype(np.float32)), rng.random(50) < 0.3
    starts[0] = True
    edges = [*np.flatnonzero(starts), 50]
    wanted = [features[a:b].double().mean(0).float() for a, b in pairwise(edges)]
    assert torch.allclose(segments.pool(features, starts), torch.stack(wanted), rtol=0, atol=1e-6)


def piecewise(lengths: list[int], noise: float, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Features that are constant within segments but for noise, and where the segments begin."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.normal(size=(len(lengths), 5)), lengths, axis=0)
    starts = np.zeros(sum(lengths), bool)
    starts[np.cumsum([0, *lengths[:-1]])] = True
    return torch.from_numpy((100 + levels + rng.normal(0, noise, levels.shape)).astype(np.float32)), starts


def test_auto_finds_the_true_edges_whatever_the_scale():
    features, starts = piecewise([7, 12, 3, 30, 9], noise=0.05)
    assert segments.find_segments(features, 1.0).tolist() == starts.tolist()
    assert segments.find_segments(features * 1000, 1.0).tolist() == starts.tolist()
    assert segments.find_segments(features, 1e6).sum() == np.ceil(len(features) / segments.LONGEST)
    assert segments.find_segments(features, 1e-9).all()
    assert segments.find_segments(features[:0], 1.0).tolist() == []
    assert segments.find_segments(features[:1], 1.0).tolist() == [True]
    rates = [segments.find_segments(features, penalty).sum() for penalty in (0.01, 0.1, 1.0, 10.0)]
    assert rates == sorted(rates, reverse=True) and rates[0] > rates[-1]


@pytest.mark.parametrize("seed", range(3))
def test_auto_is_the_best_of_all_segmentations(seed):
    features, _ = piecewise([3, 2, 4], noise=0.7, seed=seed)
    wide = features.double()
    cost = 0.4 * float(((wide - wide.mean(0)) ** 2).sum() / len(wide))

    def total(edges: tuple[int, ...]) -> float:
        parts = [wide[a:b] for a, b in pairwise((0, *edges, len(wide)))]
        return sum(float(((part - part.mean(0)) ** 2).sum()) + cost for part in parts)

    every = [edges for n in range(len(wide)) for edges in combinations(range(1, len(wide)), n)]
    best = min(every, key=total)
    assert np.flatnonzero(segments.find_segments(features, 0.4)).tolist() == [0, *best]


def test_a_segment_is_at_most_a_second():
    starts = segments.find_segments(torch.zeros(130, 3), 1.0)
    assert np.diff(np.flatnonzero(starts), append=130).max() <= segments.LONGEST == 50


def test_a_batch_gives_each_utterance_its_units_and_their_durations():
    features = [piecewise(lengths, 0.01, seed)[0] for seed, lengths in enumerate([[3, 5], [4], [2, 2, 9]])]
    jobs = [Job(f"u{n}", "s", "", 1.0) for n in range(3)]
    centroids = np.concatenate([x[[0, -1]] for x in features])
    quantiser = Quantiser(Normaliser.none(), Nearest(centroids, torch.device("cpu")))
    times = {"u0": [0, 3 * 0.02], "u1": [0], "u2": [0, 2 * 0.02, 4 * 0.02]}
    quantise = segments.SegmentQuantiser(quantiser, Units(segments="word"), lambda name: np.array(times[name]))
    rows = quantise(features, jobs).numpy().astype(np.uint16)
    assert rows.shape == (2, 25)
    found = [segments.collapse(part) for part in np.split(rows, [8, 12], axis=1)]
    assert [durations.tolist() for _, durations in found] == [[3, 5], [4], [2, 2, 9]]
    assert [units.tolist() for units, _ in found[:2]] == [[0, 1], [2]]
    for units, durations in found:
        assert units.dtype == durations.dtype == np.uint16
