"""Paired differences compared with their definition, McNemar's test, and simulation."""

import numpy as np
import pytest
from ladder_results import make
from scipy.stats import binomtest

from speechladder.analysis import factors, table
from speechladder.analysis.accuracy import Outcomes, generator
from speechladder.analysis.csv_tables import read_csv
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.settings import Analysis


def outcomes(values, names=None):
    values = np.atleast_2d(np.asarray(values, dtype=float))
    return Outcomes(tuple(range(len(values))), tuple(names or map(str, range(values.shape[1]))), values)


def test_only_shared_ids_are_compared_by_name():
    start, end = outcomes([1, 0, 1, 1], "abcd"), outcomes([0, 1, 0, 1], "bcde")
    step = factors.compare(start, end, 0.95, 100, generator(0))
    assert (step.ids, step.start, step.end) == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert step.difference.value == pytest.approx(-1 / 3)
    with pytest.raises(ValueError, match="no shared ids"):
        factors.compare(start, outcomes([1], "z"), 0.95, 100, generator(0))


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(2)
    start = rng.random(400) < 0.6
    flipped = np.where(rng.random(400) < 0.06, ~start, start)
    paired = factors.compare(outcomes(start), outcomes(flipped), 0.95, 500, generator(0)).difference
    loose = factors.compare(outcomes(start), outcomes(rng.permutation(flipped)), 0.95, 500, generator(0)).difference
    assert paired.high - paired.low < 0.6 * (loose.high - loose.low)


def test_the_interval_covers_and_the_p_value_keeps_its_level():
    rng = np.random.default_rng(4)
    covered, rejected = [], []
    for trial in range(200):
        ease = rng.random(150)
        pair = [(rng.random((2, 150)) < ease).mean(axis=0) for _ in range(2)]
        step = factors.compare(*map(outcomes, pair), 0.95, 300, generator(trial))
        covered.append(step.difference.low <= 0 <= step.difference.high)
        rejected.append(step.p_value < 0.05)
    assert 0.90 <= np.mean(covered) <= 0.99
    assert np.mean(rejected) <= 0.10


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_interval_covers_with_several_seeds(seeds):
    """Seeds differ in strength, independently in the two rungs, and ids in ease, alike in both."""
    rng = np.random.default_rng(seeds)
    covered = []
    for trial in range(200):
        ease = rng.normal(0.5, 1.2, 150)
        logits = [ease + rng.normal(0, 0.25, (seeds, 1)) for _ in range(2)]
        pair = [rng.random((seeds, 150)) < 1 / (1 + np.exp(-logit)) for logit in logits]
        step = factors.compare(*map(outcomes, pair), 0.95, 200, generator(trial))
        covered.append(step.difference.low <= 0 <= step.difference.high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_holm_is_its_definition():
    p = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04]
    assert factors.holm(p) == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.5, 0.12])
    assert factors.holm([0.9, 0.6]) == [1.0, 1.0] and factors.holm([]) == []


@pytest.mark.parametrize(("gained", "lost"), [(2, 8), (0, 6), (5, 5), (30, 60)])
def test_the_p_value_is_mcnemars_if_outcomes_are_binary(gained, lost):
    change = np.array([1.0] * gained + [-1.0] * lost + [0.0] * 50)
    exact = binomtest(gained, gained + lost).pvalue
    assert factors.sign_flip(change, 20_000, generator(1)) == pytest.approx(exact, rel=0.25 if gained == 30 else 1e-9)


def test_no_change_does_not_mean_certainty():
    step = factors.compare(outcomes(np.ones(100)), outcomes(np.ones(100)), 0.95, 200, generator(0))
    assert step.p_value == 1
    assert -0.05 < step.difference.low < -0.03 and 0.03 < step.difference.high < 0.05
    assert factors.compare(outcomes(np.zeros(100)), outcomes(np.ones(100)), 0.95, 200, generator(0)).relative is None


def test_the_csv_has_the_steps_of_the_rungs(tmp_path):
    rungs = ["phone-raw", "phone-repeat", "speech-hubert"]
    make(tmp_path, rungs, ids=60, layers=0, learning=0, twos=["topic"])
    found = table.read_scores(tmp_path, rungs)
    analysis = Analysis(resamples=200)
    factors.write_factors(tmp_path, rungs, found, 0, analysis)
    table.write_table(tmp_path, rungs, found, 0, analysis)
    starts = {row["rung"]: row for row in read_csv(tmp_path / "table.csv")}
    rows = read_csv(tmp_path / "factors.csv", factors.COLUMNS)
    assert [row["factor"] for row in rows] == ["B"] * 3 * len(NORMS) + ["C"] * 3 * len(NORMS)
    assert {(row["task"], row["ids"]) for row in rows} == {("swuggy", "60"), ("sblimp", "60"), ("topic", "30")}
    for row in rows:
        start, end, change = (float(row[k]) for k in ("from_accuracy", "to_accuracy", "difference"))
        assert change == pytest.approx(end - start, abs=0.11)
        assert float(row["difference_low"]) <= change <= float(row["difference_high"])
        floor = float(starts[row["from_rung"]][f"{row['task']}_{row['norm']}_low"]) <= 50
        assert row["floor"] == str(floor).lower()
        if floor:
            assert row["relative"] == row["relative_low"] == row["relative_high"] == ""
        else:
            assert float(row["relative"]) == pytest.approx(100 * (end - start) / start, abs=0.3)
            assert float(row["relative_low"]) <= float(row["relative"]) <= float(row["relative_high"])
    assert {row["floor"] for row in rows} == {"true", "false"}
    for task in ("swuggy", "sblimp", "topic"):
        both = {row["factor"]: row for row in rows if (row["task"], row["norm"]) == (task, "sum")}
        p = [float(both[name]["p_value"]) for name in "BC"]
        assert [float(both[name]["p_holm"]) for name in "BC"] == pytest.approx(factors.holm(p), abs=0.0011)
        assert min(p) >= 0.004 and all(len(both[name]["p_value"]) == len("0.005") for name in "BC")  # 1 / 201


def test_rungs_without_a_shared_id_are_named(tmp_path):
    scores = {}
    rungs = ["phone-raw", "phone-repeat"]
    make(tmp_path, rungs, ids=4, layers=0, learning=0)
    for (rung, task), pairs in table.read_scores(tmp_path, rungs).items():
        ids = tuple(f"{rung}{name}" for name in pairs.ids)
        scores[rung, task] = type(pairs)(**{**pairs.__dict__, "ids": ids})
    with pytest.raises(UserError, match=r"phone-raw,phone-repeat.*share no id"):
        factors.write_factors(tmp_path, rungs, scores, 0, Analysis(resamples=100))
