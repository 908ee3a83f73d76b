"""The speech on which ABX is measured is drawn over all shards, which are read one at a time."""

import pytest

from speechladder.alignment import cuts as alignment_cuts
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.tables import ALIGNMENT, write_table
from speechladder.units.diagnostics import abx_run

PHONES = ["B", "AA1", "S", "B", "IY0", "S", "B"]


def save(folder, shards):
    """Cuts and alignments of {id: (speaker, aligned)} for each shard; every utterance lasts 0.7 s."""
    folder.mkdir()
    spans = [{"label": phone, "start": 0.1 * i, "end": 0.1 * (i + 1)} for i, phone in enumerate(PHONES)]
    cuts, alignments = [], []
    for n, shard in enumerate(shards):
        cuts.append(folder / f"cuts.{n}.jsonl.gz")
        alignments.append(folder / f"{n}.parquet")
        known = [
            Cut(name, name, f"{name}.flac", 0.0, 0.7, speaker, "train", "TEXT", "text", 16_000, 11_200)
            for name, (speaker, _) in shard.items()
        ]
        write_cuts(cuts[-1], known)
        rows = [
            {"id": name, "words": [], "phones": spans, "seconds": 0.7, "aligner": "truth"}
            for name, (_, aligned) in shard.items()
            if aligned
        ]
        write_table(alignments[-1], rows, ALIGNMENT)
    return cuts, alignments


@pytest.fixture
def corpus():
    """Twelve speakers with six utterances each, the last of which is not aligned. Each speaker has a shard."""
    return [{f"s{s}-{u}": (f"s{s}", u < 5) for u in range(6)} for s in range(12)]


def test_shards_are_read_one_by_one_and_phones_only_of_those_that_speak(corpus, tmp_path, monkeypatch):
    cuts, alignments = save(tmp_path / "corpus", corpus)
    read = []

    def noting(module, name):
        real = getattr(module, name)

        def call(path, *args, **columns):
            read.append((name, path, columns.get("columns")))
            return real(path, *args, **columns)

        monkeypatch.setattr(module, name, call)

    noting(alignment_cuts, "read_table")
    noting(alignment_cuts, "read_cuts")
    speech = abx_run.draw_speech(cuts, alignments, 1.0, seed=0)
    ids = [("read_table", path, ["id"]) for path in alignments]
    wanted = [row for pair in zip(ids, [("read_cuts", path, None) for path in cuts], strict=True) for row in pair]
    assert read[: len(wanted)] == wanted
    spoken = sorted({int(cut.speaker[1:]) for cut in speech.cuts})
    assert len(spoken) == abx_run.SPEAKERS
    assert read[len(wanted) :] == [("read_table", alignments[s], ["id", "phones"]) for s in spoken]


def test_what_is_drawn_is_aligned_and_does_not_depend_on_the_shards(corpus, tmp_path):
    whole = abx_run.draw_speech(*save(tmp_path / "corpus", corpus), 0.14, seed=0)
    together = {name: about for shard in corpus[::-1] for name, about in shard.items()}
    assert abx_run.draw_speech(*save(tmp_path / "one", [together]), 0.14, seed=0) == whole
    assert (
        len(whole.cuts) == 2 * abx_run.SPEAKERS
    )  # 1.05 s each are one utterance of 0.7 s, and one that reaches beyond
    assert not any(cut.id.endswith("-5") for cut in whole.cuts)
    assert len(whole.groups) > 0
    assert abx_run.draw_speech(*save(tmp_path / "again", corpus), 0.14, seed=1).cuts != whole.cuts
