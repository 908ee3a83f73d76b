"""table.csv and the tables like it: columns, values, the same bytes again; and the table in the terminal."""

import io
import json

import pytest
from ladder_results import SHAPE, make

from speechladder.analysis import curves, factors, table, types
from speechladder.analysis.accuracy import accuracy, generator
from speechladder.analysis.csv_tables import fixed, read_csv
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import LEARNING, SCORES, read_table
from speechladder.io.tables import write_table as write_parquet
from speechladder.report.terminal import show
from speechladder.settings import Analysis

RUNGS = ["phone-raw", "text-bpe"]  # neither in alphabetical order nor in that of the registry
ANALYSIS = Analysis(resamples=200)


@pytest.fixture
def results(tmp_path):
    return make(tmp_path / "results", RUNGS, seeds=(0, 1), ids=30, layers=3, learning=2)


def write_all(results, seed=0):
    scores = table.read_scores(results, RUNGS)
    for write in (table.write_table, curves.write_layers, curves.write_learning):
        write(results, RUNGS, scores, seed, ANALYSIS)
    return scores


def test_columns_are_those_of_the_contract():
    expected = ["rung", "vocab_size", "tokens_per_second", "seeds", "train_tokens", "passes", "valid_bits_per_second"]
    for kind in ("", "pairwise_"):
        for task in ("swuggy", "sblimp", "topic"):
            for norm in ("sum", "mean", "span"):
                expected += [f"{task}_{kind}{norm}{end}" for end in ("", "_low", "_high")]
    assert list(table.table_columns()) == [*expected, "ppl", "ppl_low", "ppl_high"]


def test_values_come_from_their_sources(results):
    scores = write_all(results)
    rows = read_csv(results / "table.csv", table.table_columns())
    assert [row["rung"] for row in rows] == RUNGS
    assert rows[1]["vocab_size"] == "512"
    assert rows[1]["tokens_per_second"] == "4.41"
    assert rows[0]["train_tokens"] == "2000500"  # the mean of two seeds
    assert (rows[0]["seeds"], rows[0]["passes"]) == ("2", "4.5")
    assert rows[0]["valid_bits_per_second"] == "32.000"
    for row in rows:
        for task in ("swuggy", "sblimp", "topic"):
            for norm in ("sum", "mean"):
                values = scores[row["rung"], task].outcomes(norm).values
                assert row[f"{task}_{norm}"] == f"{100 * values.mean():.1f}"
                low, high = float(row[f"{task}_{norm}_low"]), float(row[f"{task}_{norm}_high"])
                assert 0 <= low <= 100 * values.mean() + 0.05 and 100 * values.mean() - 0.05 <= high <= 100
                single = [row[f"{task}_pairwise_{norm}{end}"] for end in ("", "_low", "_high")]
                assert single == [row[f"{task}_{norm}{end}"] for end in ("", "_low", "_high")]  # no pair has a two


def test_twos_are_counted_once_and_single_pairs_stand_beside(tmp_path):
    make(tmp_path, RUNGS, ids=40, layers=2, learning=1, twos=["topic"])
    scores = write_all(tmp_path)
    for row in read_csv(tmp_path / "table.csv"):
        for norm in ("sum", "mean"):
            pairs = scores[row["rung"], "topic"]
            crossed, single = pairs.outcomes(norm).values, pairs.outcomes(norm, crossed=False).values
            assert crossed.shape == single.shape == (1, 20)
            assert row[f"topic_{norm}"] == f"{100 * crossed.mean():.1f}"
            assert row[f"topic_pairwise_{norm}"] == f"{100 * single.mean():.1f}"
        assert row["topic_sum"] != row["topic_pairwise_sum"]
        assert row["sblimp_sum"] == row["sblimp_pairwise_sum"]
        curve, layers = (read_csv(tmp_path / f"{name}.csv") for name in ("learning", "layers"))
        ends = {
            r["task"]: r["accuracy"] for r in curve if (r["rung"], r["norm"]) == (row["rung"], "sum")
        }  # the last point
        assert ends["topic"] == row["topic_sum"]
        first = pairs.outcomes("mean", 0).values.mean()
        (cell,) = [r for r in layers if [*r.values()][:4] == [row["rung"], "topic", "mean", "0"]]
        assert cell["accuracy"] == f"{100 * first:.1f}"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(results):
    names = ("table.csv", "layers.csv", "learning.csv")
    write_all(results)
    first = {name: (results / name).read_bytes() for name in names}
    write_all(results)
    assert first == {name: (results / name).read_bytes() for name in names}
    write_all(results, seed=1)
    assert first["table.csv"] != (results / "table.csv").read_bytes()


def test_a_seed_that_was_not_scored_does_not_count(results):
    stale = results / "lm" / "phone-raw" / "seed7"
    stale.mkdir()
    (stale / "train.json").write_text('{"train_tokens": 0, "valid_bits_per_second": 0}')
    write_all(results)
    assert read_csv(results / "table.csv")[0]["train_tokens"] == "2000500"


def test_layers_and_learning(results):
    scores = write_all(results)
    rows = read_csv(results / "layers.csv", curves.LAYERS_COLUMNS)
    assert len(rows) == len(RUNGS) * 3 * 3 * 3
    row = next(r for r in rows if (r["rung"], r["task"], r["norm"], r["layer"]) == ("text-bpe", "topic", "mean", "2"))
    expected = accuracy(scores["text-bpe", "topic"].outcomes("mean", 2), 0.95, 200, generator(0)).value
    assert row["accuracy"] == f"{100 * expected:.1f}"
    curve = [
        row
        for row in read_csv(results / "learning.csv", curves.LEARNING_COLUMNS)
        if (row["rung"], row["task"], row["norm"]) == ("text-bpe", "swuggy", "sum")
    ]
    assert [row["train_tokens"] for row in curve] == [
        "30000",
        "120000",
        "1900500",
    ]  # the last is the tokens of the kept weights
    last = read_csv(results / "table.csv")[1]
    assert curve[-1]["accuracy"] == last["swuggy_sum"]  # here the curve has all pairs and voices


def point(seed, tokens, final, right, pairs=4):
    """Rows of a learning table in which the first `right` of `pairs` pairs are right."""
    common = {
        "voice": "v",
        "task": "topic",
        "seed": seed,
        "train_tokens": tokens,
        "final": final,
        "tokens": 5,
        "span_tokens": 5,
    }
    for pair in range(pairs):
        for correct in (True, False):
            nll = 9.0 + (correct != (pair < right))
            yield common | {
                "item": f"{pair}|{correct}",
                "id": f"{pair}",
                "correct": correct,
                "nll": nll,
                "span_nll": nll,
            }


def test_seeds_that_stopped_at_different_steps_share_the_steps_of_both(tmp_path):
    rung = make(tmp_path, ["phone-raw"], seeds=(0, 1), ids=4, layers=0, learning=0) / "scores" / "phone-raw"
    rows = [*point(0, 100, False, 1), *point(0, 200, False, 2), *point(0, 400, False, 4), *point(0, 350, True, 4)]
    rows += [*point(1, 100, False, 2), *point(1, 200, False, 3), *point(1, 250, True, 3)]
    write_parquet(rung / "learning.parquet", rows, LEARNING)
    scores = table.read_scores(tmp_path, ["phone-raw"])
    curves.write_learning(tmp_path, ["phone-raw"], scores, 0, ANALYSIS)
    found = [row for row in read_csv(tmp_path / "learning.csv") if row["norm"] == "sum"]
    assert [(row["task"], row["train_tokens"], row["accuracy"]) for row in found] == [
        ("topic", "100", "37.5"),
        ("topic", "200", "62.5"),
        ("topic", "300", "87.5"),
    ]


def test_without_layers_and_curve_the_tables_have_only_headers(tmp_path):
    make(tmp_path, RUNGS, ids=10, layers=0, learning=0)
    write_all(tmp_path)
    assert read_csv(tmp_path / "layers.csv", curves.LAYERS_COLUMNS) == []
    assert read_csv(tmp_path / "learning.csv", curves.LEARNING_COLUMNS) == []


def test_a_missing_field_is_named(results):
    path = results / "tokens" / "phone-raw" / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "vocab_size": None}))
    with pytest.raises(UserError, match=r"phone-raw/meta.json: field 'vocab_size' is None"):
        write_all(results)
    path.write_text(json.dumps(meta))
    (results / "lm" / "text-bpe" / "seed1" / "train.json").unlink()
    with pytest.raises(UserError, match=r"text-bpe/seed1/train.json: no such file"):
        write_all(results)


def write_for_terminal(results, rungs):
    scores = table.read_scores(results, rungs)
    for write in (table.write_table, factors.write_factors, types.write_types):
        write(results, rungs, scores, 0, ANALYSIS)


def test_terminal_fits_80_columns_with_every_rung(tmp_path):
    rungs = list(SHAPE)
    make(tmp_path, rungs, ids=12, layers=0, learning=0)
    write_for_terminal(tmp_path, rungs)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "ladder.svg").touch()
    out = io.StringIO()
    show(tmp_path, file=out, width=80)
    lines = out.getvalue().splitlines()
    assert max(map(len, (line for line in lines if str(tmp_path) not in line))) <= 80
    assert "…" not in out.getvalue() and "\x1b" not in out.getvalue()
    for rung in rungs:
        assert sum(line.strip().startswith(f"{rung} ") for line in lines) == 4
    row = read_csv(tmp_path / "table.csv")[3]
    assert f"{float(row['sblimp_sum']):.1f} [{float(row['sblimp_sum_low']):.1f}, " in out.getvalue()
    assert "ladder" in lines[-1]


def test_notes_on_official_benchmarks_stand_under_the_accuracies(tmp_path):
    make(tmp_path, RUNGS, ids=10, layers=0, learning=0)
    write_for_terminal(tmp_path, RUNGS)
    plain = io.StringIO()
    write_json(tmp_path / "benchmarks" / "swuggy" / "about.json", {"source": "generated", "notes": []})
    show(tmp_path, file=plain, width=80)
    assert "Note" not in plain.getvalue() and "sLM21" not in plain.getvalue()
    notes = ["Topic-StoryCloze, 1,871 pairs", "its texts were transcribed by Whisper large-v3"]
    write_json(tmp_path / "benchmarks" / "topic" / "about.json", {"notes": notes})
    (tmp_path / "slm21.csv").touch()
    out = io.StringIO()
    show(tmp_path, file=out, width=80)
    words = " ".join(out.getvalue().split())
    note = "Note: Topic-SC is Topic-StoryCloze, 1,871 pairs; its texts were transcribed by Whisper large-v3."
    assert words.index("log-likelihood per token") < words.index(note) < words.index("Table:")
    assert "slm21.csv" in words and words.count("Note:") == 1


def test_the_table_has_one_split(results):
    path = results / "scores" / "phone-raw" / "swuggy.parquet"
    rows = read_table(path, SCORES).to_pylist()
    for row in rows:
        row["split"] = "dev" if int(row["id"]) % 3 else "test"
    write_parquet(path, rows, SCORES)
    whole, dev = (table.read_scores(results, RUNGS, split) for split in (None, "dev"))
    assert len(whole["phone-raw", "swuggy"].ids) == 30 and len(dev["phone-raw", "swuggy"].ids) == 20
    assert dev["text-bpe", "swuggy"].ids == whole["text-bpe", "swuggy"].ids
    for scores in (whole, dev):
        table.write_table(results, RUNGS, scores, 0, ANALYSIS)
        values = scores["phone-raw", "swuggy"].outcomes("sum").values
        assert read_csv(results / "table.csv")[0]["swuggy_sum"] == f"{100 * values.mean():.1f}"


def test_no_minus_zero():
    assert fixed(-0.001, 2) == "0.00"
    assert fixed(-0.01, 2) == "-0.01"


def test_a_snapshot_is_one_point_of_the_curve():
    import pyarrow as pa

    from speechladder.analysis.curves import curve_points
    from speechladder.io.tables import LEARNING

    rows = [
        {"item": f"{i}", "id": str(i), "voice": "v", "correct": i % 2 == 0, "task": "swuggy", "seed": 0}
        | {"train_tokens": at, "final": at == 40, "nll": 1.0, "tokens": 3}
        for at in (10, 20, 40)
        for i in range(6)
    ]
    found = curve_points(pa.Table.from_pylist(rows, schema=LEARNING))
    assert [(at, part.num_rows) for at, part in found] == [(10, 6), (20, 6), (40, 6)]
