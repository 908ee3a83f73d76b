"""questions.csv and its figure: each arm against its baseline, and the share of factor C that it gives back."""

import shutil
import warnings

import numpy as np
import pytest
from ladder_results import make, scores
from test_causes_table import write_items

from speechladder.analysis import table
from speechladder.analysis.accuracy import Outcomes, generator
from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.analysis.factors import holm
from speechladder.analysis.questions import COLUMNS, find_arms, repaired
from speechladder.analysis.units_sweep import sweep_columns
from speechladder.analysis.variability import CHANGE_COLUMNS, variability_columns
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import PHONE_UNITS, SCORES, write_table
from speechladder.report.questions import COLOURS, draw_questions, make_questions
from speechladder.settings import Analysis, Point
from speechladder.units.diagnostics.quality import purities

ANALYSIS = Analysis(resamples=200)
OWN = Point(3, 100, "none", 0)


def outcomes(values, names=None):
    values = np.atleast_2d(np.asarray(values, dtype=float))
    return Outcomes(tuple(range(len(values))), tuple(names or map(str, range(values.shape[1]))), values)


def units_of(folder, seeds, scale):
    """The models of a speech-hubert that is better than the run's by `scale`."""
    make(folder, ["speech-hubert"], seeds=seeds, ids=60, layers=0, learning=0)
    for task in TASKS:
        rows = scores("speech-hubert", task, seeds, ids=60, layers=0, scale=scale, twos=task == "topic")
        write_table(folder / "scores" / "speech-hubert" / f"{task}.parquet", rows, SCORES)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two arms, a rung as an arm, and the same texts in one flat voice."""
    folder = tmp_path_factory.mktemp("run")
    rungs = ["phone-repeat", "speech-hubert", "unit-words"]
    make(folder, rungs, seeds=(0, 1), ids=60, layers=0, learning=0, twos=["topic"])
    arms = {"segments-syllable": (0, 1), "supervised-1": (0,)}
    for name, seeds in arms.items():
        units_of(folder / "questions" / name, seeds, scale=4)
    flat = folder / "causes" / "flat" / "results"
    make(flat, rungs[:1], seeds=(0, 1), ids=60, layers=0, learning=0, twos=["topic"])
    units_of(flat, (0, 1), scale=2)
    for results in (folder, flat):
        write_items(results, ids=60)
    return folder


def made(run, out, **options):
    arms = {name: run / "questions" / name for name in ("segments-syllable", "supervised-1")}
    words = {"arms": arms, "rungs": ["unit-words"], "corpora": {"flat": run / "causes" / "flat" / "results"}} | options
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_questions(run, OWN.name, out, out.parent, ANALYSIS, **words)
    return read_csv(out, COLUMNS)


def test_every_arm_is_compared_with_its_baseline(run, tmp_path):
    rows = made(run, tmp_path / "questions.csv")
    arms = ["phone-repeat", "speech-hubert", "segments-syllable", "unit-words", "supervised-1", "flat", "flat-c"]
    assert [row["arm"] for row in rows] == [arm for arm in arms for _ in range(len(TASKS) * len(NORMS))]
    found = {(row["arm"], row["task"], row["norm"]): row for row in rows}
    own = table.read_scores(run, ["phone-repeat", "speech-hubert"])
    for (arm, task, norm), row in found.items():
        if arm == "speech-hubert":
            assert row["base"] == row["difference"] == row["p_value"] == row["p_holm"] == row["repaired"] == ""
            continue
        change, low, high = (float(row[f"difference{end}"]) for end in ("", "_low", "_high"))
        assert low <= change <= high and 0 < float(row["p_value"]) <= float(row["p_holm"]) <= 1
        base = "phone-repeat of flat" if arm == "flat-c" else "speech-hubert"
        before = own[base.split()[0], task].outcomes(norm).values.mean()
        assert row["base"] == base and change == pytest.approx(float(row["accuracy"]) - 100 * before, abs=0.11)
        start = table.estimate_accuracy(own[base.split()[0], task], base.split()[0], task, norm, 0, ANALYSIS)
        assert row["floor"] == str(table.starts_at_floor(start)).lower()
    for task in TASKS:
        for norm in NORMS:
            family = [found[arm, task, norm] for arm in arms if arm != "speech-hubert"]
            adjusted = holm([float(row["p_value"]) for row in family])
            assert [float(row["p_holm"]) for row in family] == pytest.approx(adjusted, abs=0.006)
    marked = {row["arm"] for row in rows if row["one_seed"] == "true"}
    assert marked == {"supervised-1"} and found["supervised-1", "swuggy", "sum"]["seeds"] == "1"


def test_the_share_is_empty_where_there_is_no_factor_c(run, tmp_path):
    rows = made(run, tmp_path / "questions.csv")
    of_run = {(row["task"], row["norm"]): row for row in rows if row["arm"] == "phone-repeat"}
    shown = set()
    for row in (row for row in rows if row["question"] != "run"):
        apart = float(of_run[row["task"], row["norm"]]["difference_low"]) > 0.5  # other resamples move it by 0.2
        if apart:
            change, c = float(row["difference"]), float(of_run[row["task"], row["norm"]]["difference"])
            share = 100 * (1 + change / c if row["arm"] == "flat-c" else change / c)
            assert float(row["repaired"]) == pytest.approx(share, abs=60 / c)
            assert float(row["repaired_low"]) <= float(row["repaired"]) <= float(row["repaired_high"])
        shown.add(bool(row["repaired"]))
    assert shown == {True, False} and not any(row["repaired"] for row in of_run.values())


def test_the_share_is_empty_where_the_phones_of_the_arms_corpus_are_at_the_floor(run, tmp_path):
    flat = tmp_path / "flat"
    make(flat, ["phone-repeat", "speech-hubert"], seeds=(0, 1), ids=60, layers=0, learning=0, twos=["topic"])
    for task in TASKS:
        rows = scores("phone-repeat", task, (0, 1), ids=60, layers=0, scale=0, twos=task == "topic")
        write_table(flat / "scores" / "phone-repeat" / f"{task}.parquet", rows, SCORES)
    write_items(flat, ids=60)
    rows = made(run, tmp_path / "questions.csv", corpora={"flat": flat})
    assert {(row["floor"], row["repaired"]) for row in rows if row["arm"] == "flat-c"} == {("true", "")}
    assert any(row["repaired"] for row in rows if row["arm"] == "flat")


def test_the_share_is_one_less_a_ratio_of_steps():
    top, start = outcomes([1] * 90 + [0] * 10), outcomes([1] * 50 + [0] * 50)
    half = outcomes([1] * 70 + [0] * 30)
    assert repaired((top, start), half, None, ANALYSIS, generator(0)).value == pytest.approx(0.5)
    assert repaired((top, start), start, None, ANALYSIS, generator(0)) == pytest.approx((0, 0, 0))
    own = outcomes([1] * 80 + [0] * 20)  # C of the arm is 10 of 40 points
    assert repaired((top, start), half, own, ANALYSIS, generator(0)).value == pytest.approx(0.75)
    assert repaired((start, start), half, None, ANALYSIS, generator(0)) is None
    assert repaired((start, top), half, None, ANALYSIS, generator(0)) is None
    with pytest.raises(ValueError, match="no shared ids"):
        repaired((top, start), outcomes([1], ["x"]), None, ANALYSIS, generator(0))


def test_the_interval_of_the_share_covers():
    rng, covered, value = np.random.default_rng(5), [], 0.5
    for trial in range(200):
        ease = rng.normal(0.0, 0.4, 200)
        draws = [rng.random(200) < np.clip(level + 0.05 * ease, 0, 1) for level in (0.9, 0.6, 0.75)]
        found = repaired((outcomes(draws[0]), outcomes(draws[1])), outcomes(draws[2]), None, ANALYSIS, generator(trial))
        covered.append(found.low <= value <= found.high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_an_unknown_arm_is_named(run, tmp_path):
    with pytest.raises(UserError, match="no question asks for segments-foot"):
        list(find_arms(run, {"segments-foot": run}, [], {}))
    with pytest.raises(UserError, match="--own: 'x' is no point"):
        make_questions(run, "x", tmp_path / "questions.csv", tmp_path, ANALYSIS)


def test_another_corpus_with_other_texts_is_an_error(run, tmp_path):
    flat = tmp_path / "flat"
    make(flat, ["phone-repeat", "speech-hubert"], ids=60, layers=0, learning=0, twos=["topic"])
    write_items(flat, ids=60, wrong="0003")
    with pytest.raises(UserError, match="id '0003' is"):
        made(run, tmp_path / "questions.csv", corpora={"flat": flat})


def test_units_are_measured_where_they_were(run, tmp_path):
    folder = run / "questions" / "segments-syllable"
    counts = [("AA", 0, 30), ("AA", 1, 10), ("SIL", 1, 40)]
    write_table(
        folder / "units" / "phone_units.parquet", [dict(zip(PHONE_UNITS.names, c)) for c in counts], PHONE_UNITS
    )
    write_json(folder / "units" / "resynthesis.json", {"wer": 0.51234, "low": 0.4, "high": None})
    try:
        rows = {row["arm"]: row for row in made(run, tmp_path / "questions.csv")}
    finally:
        shutil.rmtree(folder / "units")
    found = purities(np.array([[30, 10], [0, 40]]))["pnmi"]
    assert float(rows["segments-syllable"]["pnmi"]) == pytest.approx(found, abs=1e-4)
    names = ("resynthesis_wer", "resynthesis_wer_low", "resynthesis_wer_high")
    assert [rows["segments-syllable"][name] for name in names] == ["51.2", "40.0", ""]
    assert rows["flat"]["pnmi"] == "0.5123" and rows["supervised-1"]["pnmi"] == rows["phone-repeat"]["pnmi"] == ""


def test_an_arm_without_a_shared_pair_is_named(run, tmp_path):
    make(tmp_path, ["speech-hubert"], ids=60, layers=0, learning=0)  # no twos: other ids of topic
    with pytest.raises(UserError, match="share no pair of topic"):
        made(run, tmp_path / "questions.csv", arms={"segments-word": tmp_path})


def quote(run):
    """The tables of the dial and of the units sweep in the results of `run`."""
    cells = {
        f"{name}{task}_{norm}{end}": value
        for task in TASKS
        for norm in NORMS
        for name, ends in (("", ("61.0", "55.0", "67.0")), ("C_points_", ("-9", "-12", "-6")))
        for end, value in zip(("", "_low", "_high"), ends)
    }
    level = dict.fromkeys(variability_columns(), "") | cells | {"rung": "speech-hubert", "valid_bits_per_second": "50"}
    write_csv(run / "variability.csv", variability_columns(), [level | {"variability": n} for n in "03"])
    change = dict.fromkeys(CHANGE_COLUMNS, "") | {"from_level": "0", "to_level": "3", "floor": "false", "ids": "60"}
    change |= {"change": "-2.0", "change_low": "-8.0", "change_high": "4.0"}
    changes = [change | {"task": task, "norm": norm} for task in TASKS for norm in NORMS]
    write_csv(run / "variability_change.csv", CHANGE_COLUMNS, changes)
    trained = {name: cells.get(name, "") for name in sweep_columns()} | {"valid_bits_per_second": "80"}
    points = [OWN, OWN._replace(seed=1), OWN._replace(seed=1, dedup=True), OWN._replace(layer=2)]
    rows = [trained | {"point": point.name, "pnmi": "0.5"} for point in points]
    rows.append(rows[1] | {"point": OWN._replace(seed=2).name, "valid_bits_per_second": ""})  # not trained
    write_csv(run / "units_sweep.csv", sweep_columns(), rows)


def test_other_tables_are_quoted_and_change_no_other_row(run, tmp_path):
    plain = made(run, tmp_path / "questions.csv")
    quote(run)
    try:
        write_json(run / "units_sweep" / OWN._replace(seed=1).codebook / "lm/speech-hubert/seed0/train.json", {})
        rows = made(run, tmp_path / "questions.csv")
    finally:
        for name in ("variability", "variability_change", "units_sweep"):
            (run / f"{name}.csv").unlink()
    assert rows[: len(plain)] == plain
    told = {row["arm"]: row for row in rows[len(plain) :] if (row["task"], row["norm"]) == ("swuggy", "sum")}
    assert list(told) == ["variability-0", "variability-3", "variability-0-3", "kmeans-seed1"]
    assert told["variability-3"]["difference_low"] == "-12" and told["variability-3"]["accuracy"] == "61.0"
    assert (told["variability-0-3"]["difference"], told["variability-0-3"]["ids"]) == ("-2.0", "60")
    assert told["kmeans-seed1"] | {"pnmi": "0.5", "accuracy_high": "67.0", "one_seed": "true"} == told["kmeans-seed1"]
    assert not any(row["p_value"] or row["p_holm"] for row in told.values())
    assert all("quoted" in row["answers"] for row in told.values())


def test_the_figure_shows_every_arm_between_the_two_rungs(run, tmp_path):
    rows = made(run, tmp_path / "questions.csv")
    assert {path.suffix for path in tmp_path.glob("questions.*")} == {".csv", ".svg", ".png"}
    figure = draw_questions(tmp_path / "questions.csv", tmp_path)
    panels = dict(zip(TASKS, figure.axes, strict=True))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["segments-syllable", "unit-words", "supervised-1 (one seed)", "flat"]
    own = table.read_scores(run, ["phone-repeat", "speech-hubert"])
    for task, axis in panels.items():
        ends = [100 * own[rung, task].outcomes("sum").values.mean() for rung in ("phone-repeat", "speech-hubert")]
        vertical = [line.get_xdata()[0] for line in axis.lines if list(line.get_ydata()) == [0, 1]]
        assert all(any(abs(end - at) < 0.06 for at in vertical) for end in ends)
        here = [row for row in rows if row["task"] == task and row["question"] != "run" and row["arm"] != "flat-c"]
        drawn = {(line.get_color(), round(line.get_xdata()[0], 1)) for line in axis.lines if len(line.get_xdata()) == 1}
        assert drawn == {(COLOURS[row["question"]], float(row["accuracy"])) for row in here}
