"""variability.csv, variability_change.csv and their figure: factor C at each level, and whether the ends are apart."""

import warnings

import numpy as np
import pytest
from ladder_results import make

from speechladder.analysis import factors, table
from speechladder.analysis.accuracy import Outcomes, generator
from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.analysis.variability import (
    CHANGE_COLUMNS,
    change_of_factor,
    variability_columns,
    write_change,
    write_variability,
)
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.report.notes import variability_notes
from speechladder.report.variability import draw_variability, make_variability
from speechladder.settings import Analysis

RUNGS = ["phone-repeat", "speech-hubert"]
ANALYSIS = Analysis(resamples=200)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two levels; the upper one is the lower one with other seeds of its models."""
    found = []
    for level, seeds in ((0, (0,)), (3, (0, 1))):
        results = tmp_path_factory.mktemp(f"level{level}")
        make(results, RUNGS, seeds=seeds, ids=30, layers=0, learning=0, twos=["topic"])
        scores = table.read_scores(results, RUNGS)
        for write in (table.write_table, factors.write_factors):
            write(results, RUNGS, scores, 0, ANALYSIS)
        found.append((level, results))
    return found


def test_factor_c_stands_beside_the_accuracies_of_its_level(runs, tmp_path):
    write_variability(reversed(runs), tmp_path / "variability.csv")
    rows = read_csv(tmp_path / "variability.csv", variability_columns())
    assert [(row["variability"], row["rung"]) for row in rows] == [(level, rung) for level in "03" for rung in RUNGS]
    for level, results in runs:
        steps = read_csv(results / "factors.csv")
        before, after = (row for row in rows if row["variability"] == str(level))
        assert after["swuggy_sum"] == read_csv(results / "table.csv")[1]["swuggy_sum"]
        for step in steps:
            name = f"C_points_{step['task']}_{step['norm']}"
            cells = [step[f"difference{end}"] for end in ("", "_low", "_high")]
            assert [after[f"{name}{end}"] for end in ("", "_low", "_high")] == cells
            assert before[name] == ""
    with pytest.raises(UserError, match=r"absent.factors\.csv: no such file"):
        write_variability([(0, tmp_path / "absent")], tmp_path / "x.csv")


class Fixed:
    """What `change_of_factor` reads of the scores of a rung."""

    def __init__(self, values):
        self.found = Outcomes((0,), tuple(map(str, range(len(values)))), np.asarray(values, float)[None])

    def outcomes(self, norm):
        return self.found


def levels(rng, shift, ids=150):
    """Scores of the two rungs at a level; the second rung is `shift` logits below the first."""
    ease = rng.normal(1.0, 1.2, ids)
    return {
        (rung, "swuggy"): Fixed(rng.random(ids) < 1 / (1 + np.exp(shift * number - ease)))
        for number, rung in enumerate(RUNGS)
    }


def test_the_change_is_a_difference_of_paired_differences():
    rng = np.random.default_rng(0)
    low, high = levels(rng, 0.5), levels(rng, 2.0)
    ids, found = change_of_factor(low, high, "swuggy", "sum", ANALYSIS, generator(0))
    means = [scores[rung, "swuggy"].found.values.mean() for scores in (low, high) for rung in RUNGS]
    assert ids == 150 and found.value == pytest.approx((means[3] - means[2]) - (means[1] - means[0]))
    assert found.low < found.value < found.high < 0
    high[RUNGS[0], "swuggy"].found = Outcomes((0,), ("x",), np.ones((1, 1)))
    with pytest.raises(ValueError, match="no shared ids"):
        change_of_factor(low, high, "swuggy", "sum", ANALYSIS, generator(0))


def test_the_interval_of_the_change_covers():
    rng = np.random.default_rng(7)
    covered = []
    for trial in range(200):
        ends = levels(rng, 1.0), levels(rng, 1.0)
        _, found = change_of_factor(*ends, "swuggy", "sum", ANALYSIS, generator(trial))
        covered.append(found.low <= 0 <= found.high)
    assert 0.90 <= np.mean(covered) <= 0.985


def test_the_ends_are_compared_and_the_sentence_says_the_outcome(runs, tmp_path):
    write_change(runs, tmp_path / "change.csv", 0, ANALYSIS)
    rows = read_csv(tmp_path / "change.csv", CHANGE_COLUMNS)
    assert [(row["task"], row["norm"]) for row in rows] == [(task, norm) for task in TASKS for norm in ("sum", "mean")]
    assert {(row["task"], row["ids"]) for row in rows} == {("swuggy", "30"), ("sblimp", "30"), ("topic", "15")}
    for row in rows:
        low, high = float(row["change_low"]), float(row["change_high"])
        assert low <= float(row["change"]) <= high
        assert row["apart"] == str(low > 0 or high < 0).lower()
        floors = [
            step["floor"]
            for _, results in runs
            for step in read_csv(results / "factors.csv")
            if (step["task"], step["norm"]) == (row["task"], row["norm"])
        ]
        assert row["floor"] == str("true" in floors).lower()
    row = dict(zip(CHANGE_COLUMNS, ("swuggy", "sum", "0", "3", "30", "-6.0", "-9.0", "-2.0", "true", "false")))
    write_csv(tmp_path / "told.csv", CHANGE_COLUMNS, [row, row | {"task": "topic", "apart": "false", "floor": "true"}])
    assert variability_notes(tmp_path / "told.csv") == [
        "sWUGGY: levels 0 and 3 are apart: C changes by -6.0 points [-9.0, -2.0].",
        "Topic-SC: levels 0 and 3 are not apart: C changes by -6.0 points [-9.0, -2.0]; phone-repeat is at the floor.",
    ]


def test_the_figure_shows_every_level_and_the_sentence(runs, tmp_path):
    out, change = tmp_path / "variability.csv", tmp_path / "variability_change.csv"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_variability([path for _, path in runs], [level for level, _ in runs], out, change, tmp_path, ANALYSIS)
    assert {path.suffix for path in tmp_path.glob("variability.*")} == {".csv", ".svg", ".png"}
    rows, figure = read_csv(out), draw_variability(out, change, tmp_path)
    count = len(TASKS) + 1
    titles = [*(task.title for task in TASKS.values()), "validation loss"]
    assert [axis.get_title() for axis in figure.axes[:count]] == titles
    for above, below, task in zip(figure.axes, figure.axes[count:], TASKS):
        for axis, rung, name in [(above, rung, task) for rung in RUNGS] + [(below, RUNGS[1], f"C_points_{task}")]:
            values = [float(row[f"{name}_sum"]) for row in rows if row["rung"] == rung]
            (line,) = [line for line in axis.lines if line.get_label() == f"{rung}, sum over tokens"]
            assert list(line.get_ydata()) == values and np.allclose(line.get_xdata(), [0, 3], atol=0.35)
    loss = [[float(row["valid_bits_per_second"]) for row in rows if row["rung"] == rung] for rung in RUNGS]
    assert [list(line.get_ydata()) for line in figure.axes[count - 1].lines] == loss
    said = " ".join(figure.axes[-1].texts[0].get_text().split())
    assert said == " ".join(variability_notes(change))
    with pytest.raises(UserError, match="--runs names 2 folders and --levels 1 levels"):
        make_variability([path for _, path in runs], [0], out, change, tmp_path, ANALYSIS)
