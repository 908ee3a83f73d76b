"""A shard of the world: its files agree with each other, load with lhotse, and are the same each time."""

from collections import Counter
from pathlib import Path

import pytest
import soundfile

from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.world_speech import build_world_shard
from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import Corpus

CORPUS = Corpus(hours=1 / 6, shards=2, max_seconds=18.0, max_rejected=0.5)  # long documents are rejected


def build(folder, corpus=CORPUS, shard=0, seed=0):
    folder.mkdir(exist_ok=True)
    paths = [folder / name for name in ("cuts.jsonl.gz", "audio", "truth.parquet", "rejected.jsonl")]
    build_world_shard(corpus, seed, shard, *paths)
    return paths


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    return build(tmp_path_factory.mktemp("corpus") / "one")


def test_cuts_audio_and_truth_agree(shard):
    cuts, _, truth, _ = shard
    rows = {r["id"]: r for r in read_table(truth, ALIGNMENT).to_pylist()}
    utterances = list(read_cuts(cuts))
    assert [c.id for c in utterances] == list(rows)
    for cut in utterances:
        row, samples = rows[cut.id], cut.samples()
        info = soundfile.info(cut.path)
        assert (info.samplerate, info.frames) == (16000, cut.num_samples)
        assert cut.start + cut.duration <= cut.num_samples / 16000
        assert row["seconds"] == cut.duration == len(samples) / 16000
        assert row["aligner"] == "truth"
        assert [w["label"] for w in row["words"]] == cut.text.split()
        ends = [0.0, *(p["end"] for p in row["phones"])]
        assert [p["start"] for p in row["phones"]] == ends[:-1]
        assert ends[-1] == row["seconds"]
        assert frame_count(len(samples)) > len(row["phones"])
        assert cut.original.endswith(".") and cut.original.lower() != cut.text
        # the window contains the utterance: it is quiet at both edges and has sound between them
        assert abs(samples[:400]).max() < 0.02 < abs(samples).max()
        assert abs(samples[-400:]).max() < 0.02


def test_pauses_between_sentences(shard):
    rows = read_table(shard[2], ALIGNMENT).to_pylist()
    originals = {c.id: c.original for c in read_cuts(shard[0])}
    for row in rows:
        pauses = sum(p["label"] == "SIL" for p in row["phones"][1:-1])
        assert pauses >= originals[row["id"]].count(". ")


def test_splits_speakers_and_hours(tmp_path, shard):
    other = build(tmp_path / "other", shard=1)
    utterances = [c for paths in (shard, other) for c in read_cuts(paths[0])]
    assert len({c.id for c in utterances}) == len(utterances)
    assert set(Counter(c.split for c in utterances)) == {"train", "valid", "test"}
    assert len({c.speaker for c in utterances}) >= 8
    assert all(len({c.speaker for c in utterances if c.recording == r}) == 1 for r in {c.recording for c in utterances})
    rejected = [r for paths in (shard, other) for r in read_jsonl(paths[3])]
    assert rejected and all("too long" in r["reason"] for r in rejected)
    assert {r["id"] for r in rejected}.isdisjoint(c.id for c in utterances)
    seconds = sum(c.duration for c in utterances)
    assert 300 < seconds < 700


def test_lhotse_loads_the_cuts(shard):
    lhotse = pytest.importorskip("lhotse")
    cuts = lhotse.load_manifest_lazy(shard[0])
    ours = {c.id: c for c in read_cuts(shard[0])}
    for number, cut in enumerate(cuts):
        mine = ours.pop(cut.id)
        assert cut.duration == mine.duration
        assert cut.supervisions[0].text == mine.text
        assert cut.custom["split"] == mine.split
        if number < 3:
            assert (cut.load_audio()[0] == mine.samples()).all()
    assert not ours


def test_lhotse_decomposes_the_cuts_with_their_times(shard):
    """docs/artefacts.md promises it: in the cuts a supervision starts at 0, in their recordings at the cut."""
    lhotse = pytest.importorskip("lhotse")
    cuts = list(lhotse.load_manifest_lazy(shard[0]))
    _, supervisions, _ = lhotse.CutSet.from_cuts(cuts).decompose()
    assert {s.id: s.start for s in supervisions} == {cut.id: cut.start for cut in cuts}
    assert any(cut.start > 0 for cut in cuts)
    assert all(cut.supervisions[0].start == 0 for cut in cuts)


def test_same_arguments_same_bytes(tmp_path, monkeypatch, shard):
    small = Corpus(hours=0.05, shards=1)
    results = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        build(Path("corpus"), small)
        files = sorted(p for p in Path("corpus").rglob("*") if p.is_file())
        results.append({str(p): p.read_bytes() for p in files})
    assert results[0] == results[1]
    assert len(results[0]) >= 5
    assert next(read_cuts("corpus/cuts.jsonl.gz")).path.startswith("corpus/audio/")  # results/ can be moved
    build(Path("corpus"), small, seed=1)
    assert Path("corpus/truth.parquet").read_bytes() != results[0]["corpus/truth.parquet"]


def test_all_levels_of_variability_speak_the_same_documents(tmp_path):
    texts = []
    for variability in (0, 3):
        paths = build(tmp_path / str(variability), Corpus(hours=0.03, shards=1, variability=variability))
        texts.append([c.text for c in read_cuts(paths[0])])
    common = min(map(len, texts))
    assert texts[0][:common] == texts[1][:common]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="--shard 2"):
        build(tmp_path, shard=2)
    with pytest.raises(UserError, match=r"corpus\.hours"):
        build(tmp_path, Corpus(hours=0.001, shards=1))
