"""Mean durations of the training phones, and the placement of phones on a recording by them."""

import json
from itertools import pairwise

import numpy as np
import pytest

from speechladder.alignment.base import SHORTEST, AlignmentError
from speechladder.alignment.durations import Durations, measure_durations, speech_edges
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.tables import ALIGNMENT, write_table

MODEL = Durations({"B": 0.05, "IH": 0.1, "K": 0.05}, mean=0.2)


def recording(silent=0.2, spoken=0.4, after=0.3):
    """A tone between silences, with a little noise."""
    tone = np.sin(np.arange(round(spoken * 16_000)) / 10)
    whole = np.concatenate([np.zeros(round(silent * 16_000)), 0.5 * tone, np.zeros(round(after * 16_000))])
    return (whole + np.random.default_rng(0).normal(0, 1e-5, len(whole))).astype(np.float32)


def test_phones_fill_the_speech_in_proportion():
    words, phones = MODEL.spread([("blick", ["B", "IH1", "K"]), ("a", ["AH0"])], recording())
    assert [p.label for p in phones] == ["SIL", "B", "IH1", "K", "AH0", "SIL"]
    assert [p.start for p in phones[1:]] == pytest.approx([0.2, 0.25, 0.35, 0.4, 0.6])
    assert all(a.end == b.start for a, b in pairwise(phones))
    assert (phones[0].start, phones[-1].end) == (0.0, pytest.approx(0.9))
    assert [(w.label, w.start, w.end) for w in words] == [("blick", 0.2, 0.4), ("a", 0.4, pytest.approx(0.6))]


def test_no_phone_is_shorter_than_a_frame():
    model = Durations({"B": 0.001, "IH": 0.5, "K": 0.1}, mean=0.1)
    _, phones = model.spread([("bik", ["B", "IH", "K"])], recording(spoken=0.2))
    lengths = [p.end - p.start for p in phones[1:-1]]
    assert lengths[0] == pytest.approx(SHORTEST) and sum(lengths) == pytest.approx(0.2)
    assert lengths[1] / lengths[2] == pytest.approx(5, rel=1e-4)


def test_speech_to_the_edges_has_no_pause():
    _, phones = MODEL.spread([("b", ["B"])], recording(0, 0.333, 0))
    assert [(p.label, p.start, round(p.end, 3)) for p in phones] == [("B", 0.0, 0.333)]


@pytest.mark.parametrize(
    ("samples", "words", "reason"),
    [
        (np.zeros(8000, np.float32), [("b", ["B"])], "silent"),
        (np.zeros(0, np.float32), [("b", ["B"])], "silent"),
        (recording(spoken=0.03), [("bik", ["B", "IH", "K"])], "too fast"),
        (recording(), [("bik", [])], "no phones"),
    ],
)
def test_phones_that_cannot_be_placed(samples, words, reason):
    with pytest.raises(AlignmentError, match=reason):
        MODEL.spread(words, samples)


def test_edges_are_within_40_db_of_the_loudest():
    samples = recording()
    samples[:1600] += 0.5 * 10 ** (-43 / 20) * np.sin(np.arange(1600) / 10).astype(np.float32)
    assert speech_edges(samples) == pytest.approx((0.2, 0.6))
    samples[:1600] *= 3
    assert speech_edges(samples) == pytest.approx((0.0, 0.6))


def shard(folder, number, rows):
    """Cuts and an alignment of (id, split, [(phone, seconds)])."""
    paths = folder / f"cuts.{number}.jsonl.gz", folder / f"{number}.parquet"
    write_cuts(paths[0], [Cut(i, i, "x.flac", 0.0, 1.0, "s", split, "x", "x", 16_000, 16_000) for i, split, _ in rows])
    aligned = []
    for name, _, phones in rows:
        ends = np.cumsum([seconds for _, seconds in phones]).tolist()
        spans = [{"label": p, "start": e - s, "end": e} for (p, s), e in zip(phones, ends)]
        aligned.append({"id": name, "words": [], "phones": spans, "seconds": 1.0, "aligner": "x"})
    write_table(paths[1], aligned, ALIGNMENT)
    return paths


def test_means_are_of_the_train_split(tmp_path):
    shards = [
        shard(tmp_path, 0, [("a", "train", [("SIL", 0.5), ("AH0", 0.1), ("B", 0.06)]), ("b", "dev", [("B", 9.0)])]),
        shard(tmp_path, 1, [("c", "train", [("AH1", 0.3), ("SIL", 0.1), ("AH0", 0.2)]), ("d", "train", [])]),
    ]
    measure_durations(*zip(*shards), tmp_path / "durations.json")
    found = json.loads((tmp_path / "durations.json").read_text())
    assert found["phones"] == {"AH": {"seconds": 0.2, "count": 3}, "B": {"seconds": 0.06, "count": 1}}
    assert (found["utterances"], found["mean"]) == (3, pytest.approx(0.66 / 4))
    model = Durations.load(tmp_path / "durations.json")
    assert (model.phones["AH"], model.mean, model.stress) == (0.2, found["mean"], True)
    bare = shard(tmp_path, 2, [("e", "train", [("AH", 0.1), ("B", 0.1)])])
    measure_durations([bare[0]], [bare[1]], tmp_path / "bare.json")
    assert not Durations.load(tmp_path / "bare.json").stress


def test_the_sample_is_bounded(tmp_path):
    rows = [(f"u{n}", "train", [("B", 0.1)]) for n in range(10)]
    shards = [shard(tmp_path, k, [(f"{k}{name}", *rest) for name, *rest in rows]) for k in range(3)]
    measure_durations(*zip(*shards), tmp_path / "durations.json", most=14)
    found = json.loads((tmp_path / "durations.json").read_text())
    assert found["utterances"] == found["phones"]["B"]["count"] == 14


def test_mistakes_are_named(tmp_path):
    paths = shard(tmp_path, 0, [("a", "test", [("B", 0.1)])])
    with pytest.raises(UserError, match="no aligned utterance of the train split"):
        measure_durations([paths[0]], [paths[1]], tmp_path / "durations.json")
    with pytest.raises(UserError, match="1 files of cuts and 2 alignments"):
        measure_durations([paths[0]], [paths[1]] * 2, tmp_path / "durations.json")
    (tmp_path / "durations.json").write_text('{"mean": 1}')
    with pytest.raises(UserError, match=r"durations.json: field 'phones'"):
        Durations.load(tmp_path / "durations.json")
