"""alignment/{shard}.parquet and rejected.{shard}.jsonl: schema, order, and what happens to bad utterances."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechladder.alignment.run import align_shard
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.speak import speak, voices
from speechladder.io.audio import encode_flac
from speechladder.io.errors import UserError
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, read_table, write_table
from speechladder.settings import Alignment

TEXT = "the cooks near the window bake bread"


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good utterances among a truncated file, a missing one, silence, a wrong and an empty transcript."""
    folder = tmp_path_factory.mktemp("corpus")
    samples = speak(TEXT, voices(0)[0], seed=3).samples
    seconds = len(samples) / 16_000
    flac = encode_flac(samples)
    (folder / "good.flac").write_bytes(flac)
    (folder / "cut off.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "silent.flac").write_bytes(encode_flac(np.zeros_like(samples)))
    soundfile.write(folder / "stereo.wav", np.stack([samples, samples], axis=1), 16_000)
    wrong = "seventeen yellow elephants understood mathematics"
    cuts = [
        Cut(name, name, str(folder / path), 0.0, seconds, "s", "train", text, text, 16_000, len(samples))
        for name, path, text in (
            ("a, good one", "good.flac", TEXT),
            ("truncated", "cut off.flac", TEXT),
            ("missing", "nothing.flac", TEXT),
            ("silent", "silent.flac", TEXT),
            ("wrong", "good.flac", wrong),
            ("half", "good.flac", "the cooks"),
            ("empty", "good.flac", ""),
            ("stereo", "stereo.wav", TEXT),
        )
    ]
    write_cuts(folder / "cuts.0.jsonl.gz", cuts)
    return folder


def _align(shard: Path, out: Path, max_rejected: float = 1.0, truth: Path | None = None, **settings: str) -> list[dict]:
    align_shard(
        shard / "cuts.0.jsonl.gz",
        truth,
        Alignment(**settings),
        max_rejected,
        out / "0.parquet",
        out / "rejected.0.jsonl",
    )
    return read_table(out / "0.parquet", ALIGNMENT).to_pylist()


def test_rows_and_rejects(shard: Path, tmp_path: Path) -> None:
    rows = _align(shard, tmp_path, aligner="pocketsphinx")
    assert [r["id"] for r in rows] == ["a, good one", "stereo"]
    assert {r["aligner"] for r in rows} == {"pocketsphinx"}
    for row in rows:
        phones = from_rows(row["phones"])
        assert phones[0].start == 0 and phones[-1].end == row["seconds"]
        assert all(a.end == b.start for a, b in itertools.pairwise(phones))
        assert [w["label"] for w in row["words"]] == TEXT.split()
    rejected = {r["id"]: r for r in map(json.loads, (tmp_path / "rejected.0.jsonl").read_text().splitlines())}
    assert list(rejected) == ["truncated", "missing", "silent", "wrong", "half", "empty"]
    assert rejected["silent"]["reason"] == "silent" and rejected["empty"]["reason"] == "empty text"
    assert "audio" in rejected["truncated"]["reason"] and "audio" in rejected["missing"]["reason"]
    assert rejected["missing"]["source"].endswith("nothing.flac")


def test_the_same_bytes_again(shard: Path, tmp_path: Path) -> None:
    for name in "ab":
        _align(shard, tmp_path / name, aligner="pocketsphinx")
    assert (tmp_path / "a/0.parquet").read_bytes() == (tmp_path / "b/0.parquet").read_bytes()


def test_too_many_rejects_fail_the_shard(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="6 of 8 utterances rejected"):
        _align(shard, tmp_path, max_rejected=0.5, aligner="pocketsphinx")


def test_truth_rows_are_copied(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pocketsphinx"):
        _align(shard, tmp_path, aligner="truth")
    span = [{"label": "SIL", "start": 0.0, "end": 1.0}]
    known = ["stereo", "not in the cuts", "a, good one"]
    table = [{"id": i, "words": [], "phones": span, "seconds": 1.0, "aligner": "truth"} for i in known]
    write_table(tmp_path / "truth.0.parquet", table, ALIGNMENT)
    rows = _align(shard, tmp_path, truth=tmp_path / "truth.0.parquet", aligner="truth")
    assert [r["id"] for r in rows] == ["a, good one", "stereo"] and rows[0]["phones"] == span
    assert len((tmp_path / "rejected.0.jsonl").read_text().splitlines()) == 6
