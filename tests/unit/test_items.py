"""Items: what counts as an attempt, and which words of a corpus are its own."""

import json
from pathlib import Path

import pytest

from speechladder.alignment.pocketsphinx import AlignmentError
from speechladder.benchmarks import items
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.tables import ITEMS, read_table
from speechladder.settings import Alignment, Benchmarks


def _build(folder: Path, rows: int, max_rejected: float, **settings: int) -> list[dict[str, str]]:
    pairs = folder / "pairs.csv"
    pairs.write_text("good,bad\n" + "".join(f"dog {'a' * n},cat {'a' * n}\n" for n in range(1, rows + 1)) + "x,x\n" * 5)
    paths = (folder / "items.parquet", folder / "rejected.jsonl")
    options = Benchmarks(max_pairs=2, **settings)
    items.build_items("sblimp", options, Alignment(), 0, 0, *paths, max_rejected, files=[pairs])
    return [json.loads(line) for line in paths[1].read_text().splitlines()]


def test_bad_rows_of_a_file_are_listed_and_not_counted(tmp_path):
    rejected = _build(tmp_path, rows=4, max_rejected=0.0)
    assert [r["id"] for r in rejected] == [f"pairs.csv, row {n}" for n in range(6, 11)]
    assert len(read_table(tmp_path / "items.parquet", ITEMS)) == 4  # two pairs in the one voice of the flat world


def test_the_share_is_of_the_voices_that_there_are(tmp_path, monkeypatch):
    speak = items.Speaker.synthesize

    def failing(self, text, voice, seed):
        if text == "cat a":
            raise AlignmentError("no")
        return speak(self, text, voice, seed)

    monkeypatch.setattr(items.Speaker, "synthesize", failing)
    with pytest.raises(UserError, match="1 of 2 utterances rejected"):
        _build(tmp_path, rows=2, max_rejected=0.4, voices=5)


def test_words_are_tested_when_heard_twice_and_known_when_heard_at_all(tmp_path):
    def cut(name: str, split: str, text: str) -> Cut:
        return Cut(name, name, "x.wav", 0.0, 1.0, "s", split, text, text, 16_000, 16_000)

    path = tmp_path / "cuts.jsonl.gz"
    write_cuts(path, [cut("a", "train", "whale sea whale"), cut("b", "valid", "sea harpoon harpoon")])
    assert items.training_words([path]) == (["whale"], {"whale", "sea", "harpoon"})
