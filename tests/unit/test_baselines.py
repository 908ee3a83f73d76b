"""baselines.csv: its columns, and what counts get on items whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from speechladder.analysis import baselines
from speechladder.analysis.baselines import BASELINES, COLUMNS, Sequences, read_training, repeats, write_baselines
from speechladder.analysis.csv_tables import read_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import ITEM_TOKENS, ITEMS, TOKEN_INDEX, write_table
from speechladder.settings import Analysis

BOS, EOS, VOCABULARY = 1, 2, 12
ANALYSIS = Analysis(resamples=100)


def write_rung(results: Path, rung: str, train: list[list[int]], items: dict[bool, list[list[int]]]) -> Path:
    """A rung with these training sequences; the items of every task are the pairs of items[True] and items[False]."""
    folder = results / "tokens" / rung
    folder.mkdir(parents=True)
    lengths = np.array([len(s) + 2 for s in train])
    np.array([t for s in train for t in (BOS, *s, EOS)], np.uint16).tofile(folder / "train.bin")
    rows = [
        {"id": f"u{n}", "offset": int(end - length), "length": int(length), "seconds": 2.0}
        for n, (end, length) in enumerate(zip(np.cumsum(lengths), lengths))
    ]
    write_table(folder / "train.parquet", rows, TOKEN_INDEX)
    write_json(folder / "meta.json", {"rung": rung, "vocab_size": VOCABULARY})
    for task in TASKS:
        known, tokens = [], []
        for correct, sequences in items.items():
            for n, sequence in enumerate(sequences):
                name = f"{n}|{correct}|v"
                common = {"id": str(n), "voice": "v", "correct": correct, "type": "t", "split": "", "text": ""}
                known.append({"item": name, **common, "words": [], "phones": [], "seconds": 1.0, "audio": b""})
                tokens.append({"item": name, "tokens": [BOS, *sequence]})
        write_table(results / "benchmarks" / task / "items.parquet", known, ITEMS)
        write_table(results / "benchmarks" / task / f"{rung}.parquet", tokens, ITEM_TOKENS)
    return results


def by_baseline(results: Path, rung: str) -> dict[str, tuple[str, str]]:
    rows = [row for row in read_csv(results / "baselines.csv") if row["rung"] == rung and row["task"] == "swuggy"]
    return {row["baseline"]: (row["sum"], row["mean"]) for row in rows}


def test_the_columns_and_rows_are_those_of_the_contract(tmp_path: Path) -> None:
    train = [[3, 4, 5], [3, 4, 6], [5, 6]]
    for rung in ("b", "a"):
        write_rung(tmp_path, rung, train, {True: [[3, 4, 5]] * 9, False: [[5, 4, 3]] * 9})
    write_baselines(tmp_path, ["b", "a"], ANALYSIS)
    first = (tmp_path / "baselines.csv").read_bytes()
    assert first.splitlines()[0] == b"rung,task,baseline,sum,sum_low,sum_high,mean,mean_low,mean_high"
    rows = read_csv(tmp_path / "baselines.csv", COLUMNS)
    assert [(r["rung"], r["task"], r["baseline"]) for r in rows] == [
        (rung, task, name) for rung in "ba" for task in TASKS for name in BASELINES
    ]
    for row in rows:
        norms = ("sum",) if row["baseline"] == "length" else ("sum", "mean")
        for norm in norms:
            assert 0 <= float(row[f"{norm}_low"]) <= float(row[norm]) <= float(row[f"{norm}_high"]) <= 100
        assert row["baseline"] != "length" or row["mean"] == row["mean_low"] == row["mean_high"] == ""
    write_baselines(tmp_path, ["b", "a"], ANALYSIS)
    assert (tmp_path / "baselines.csv").read_bytes() == first


def test_each_baseline_solves_what_it_can_see(tmp_path: Path) -> None:
    train = [[3, 4, 5, 6, 7], [8, 4, 5, 6, 9]] * 30 + [[10]]
    pairs = {  # correct: wrong
        (3, 4): (3, 4, 4),  # shorter
        (4, 5): (10, 3),  # of frequent tokens
        (5, 6): (6, 5),  # in a seen order
        (3, 4, 5, 6, 7): (3, 4, 5, 6, 9),  # seen only with four tokens of context
    }
    for n, (good, bad) in enumerate(pairs.items()):
        write_rung(tmp_path / str(n), "r", train, {True: [[*good]] * 6, False: [[*bad]] * 6})
        write_baselines(tmp_path / str(n), ["r"], ANALYSIS)
    found = [{name: cells[0] for name, cells in by_baseline(tmp_path / str(n), "r").items()} for n in range(4)]
    right, even = "100.0", "50.0"
    assert found[0]["length"] == right and [f["length"] for f in found[1:]] == [even] * 3
    assert (found[1]["unigram"], found[2]["unigram"], found[3]["unigram"]) == (right, even, even)
    assert (found[2]["bigram"], found[3]["bigram"]) == (right, even)
    assert found[3]["5-gram"] == right


def test_runs_are_counted_where_tokens_repeat(tmp_path: Path) -> None:
    train = [[3] * 4 + [4] * 4 + [5] * 4, [5] * 4 + [3] * 4] * 20
    # the same runs, of a length that was seen or not: a 5-gram of tokens sees no farther than the run
    pairs = {True: [[3] * 4 + [4] * 4] * 6, False: [[3] * 4 + [4] * 9] * 6}
    write_rung(tmp_path, "r", train, pairs)
    write_baselines(tmp_path, ["r"], ANALYSIS)
    assert by_baseline(tmp_path, "r")["5-gram"] == ("100.0", "100.0")
    joined = [
        Sequences.join(np.array(tokens), np.array([len(tokens)])) for tokens in ([1, 3, 3, 4, 5], [1, 3, 4, 5, 5, 6])
    ]
    assert [repeats(sequences) for sequences in joined] == [True, False]
    runs, lengths = Sequences.join(np.array([1, 3, 3, 2, 1, 1, 4, 4, 4]), np.array([4, 1, 4])).runs()
    assert runs.tokens.tolist() == [1, 3, 2, 1, 1, 4] and runs.place.tolist() == [0, 1, 2, 0, 0, 1]
    assert lengths.tolist() == [1, 2, 1, 1, 1, 3]  # a run ends with its sequence


def test_a_large_corpus_is_counted_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [[3 + n % 7] * (1 + n % 5) for n in range(100)]
    write_rung(tmp_path, "r", train, {True: [[3]], False: [[4]]})
    folder = tmp_path / "tokens" / "r"
    assert read_training(folder)[0].number[-1] == 99
    monkeypatch.setattr(baselines, "MOST_SECONDS", 51.0)  # of 200: each fourth utterance
    found = read_training(folder)[0]
    assert np.split(found.tokens, np.flatnonzero(found.place == 0)[1:])[1].tolist() == [BOS, *train[4], EOS]
    assert found.number[-1] == 24
    monkeypatch.setattr(baselines, "MOST_TOKENS", 60)  # of 500
    assert len(read_training(folder)[0].tokens) <= 60


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    write_rung(tmp_path, "r", [[3]], {True: [[3]], False: [[4]]})
    path = tmp_path / "benchmarks" / "swuggy" / "r.parquet"
    write_table(path, [{"item": "other", "tokens": [1, 3]}], ITEM_TOKENS)
    with pytest.raises(UserError, match=r"swuggy/r.parquet: other items than .*items.parquet; run tokenize_items"):
        write_baselines(tmp_path, ["r"], ANALYSIS)
    write_rung(tmp_path / "none", "r", [], {True: [[3]], False: [[4]]})
    with pytest.raises(UserError, match="no training utterance"):
        write_baselines(tmp_path / "none", ["r"], ANALYSIS)
