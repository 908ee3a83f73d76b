"""Pair accuracy compared with a plain loop, and intervals with simulation."""

import math

import numpy as np
import pyarrow as pa
import pytest
from ladder_results import scores

from speechladder.analysis.accuracy import (
    Outcomes,
    accuracy,
    clopper_pearson,
    generator,
    match_halves,
    read_scored_pairs,
)
from speechladder.io.errors import UserError
from speechladder.io.tables import SCORES, write_table


def table_of(rows):
    return pa.Table.from_pylist(rows, schema=SCORES)


def coarse(seeds=(0, 1), ids=30):
    """Scores with many ties, different numbers of voices per id, and halves of different lengths."""
    rng = np.random.default_rng(5)
    rows = scores("phone-raw", "topic", seeds, ids, voices=3)
    rows = [row for row in rows if not (row["voice"] == "v2" and int(row["id"]) % 3 == 0)]
    for row in rows:
        row["tokens"] = int(rng.integers(1, 4))
        row["nll"] = float(rng.integers(1, 5))
        row["span_tokens"], row["span_nll"] = int(rng.integers(1, 3)), float(rng.integers(1, 5))
        row["layer_nll"], row["layer_span_nll"] = ([float(rng.integers(1, 4)) for _ in range(3)] for _ in range(2))
    rng.shuffle(rows)
    return rows


def plain(rows, score):
    """Zerospeech's order, written as loops over dictionaries: voices within an id, ids, seeds."""
    per_seed = []
    for seed in {row["seed"] for row in rows}:
        per_id = []
        for name in {row["id"] for row in rows}:
            per_voice = []
            for voice in {row["voice"] for row in rows}:
                here = [r for r in rows if (r["seed"], r["id"], r["voice"]) == (seed, name, voice)]
                if not here:
                    continue
                (good,) = [score(r) for r in here if r["correct"]]
                (bad,) = [score(r) for r in here if not r["correct"]]
                per_voice.append(1.0 if good > bad else 0.5 if good == bad else 0.0)
            per_id.append(math.fsum(per_voice) / len(per_voice))
        per_seed.append(math.fsum(per_id) / len(per_id))
    return math.fsum(per_seed) / len(per_seed)


def test_accuracy_equals_a_plain_loop_with_voices_and_ties():
    rows = coarse()
    pairs = match_halves(table_of(rows), "x")
    expected = {
        ("sum", None): plain(rows, lambda r: -r["nll"]),
        ("mean", None): plain(rows, lambda r: -r["nll"] / r["tokens"]),
        ("span", None): plain(rows, lambda r: -r["span_nll"] / r["span_tokens"]),
        ("span", 0): plain(rows, lambda r: -r["layer_span_nll"][0] / r["span_tokens"]),
        ("sum", 1): plain(rows, lambda r: -r["layer_nll"][1]),
        ("mean", 2): plain(rows, lambda r: -r["layer_nll"][2] / r["tokens"]),
    }
    assert len(set(expected.values())) > 2  # otherwise the test could not tell them apart
    for (norm, layer), value in expected.items():
        found = accuracy(pairs.outcomes(norm, layer), 0.95, 100, generator(0))
        assert found.value == pytest.approx(value, abs=1e-12)
        assert found.low <= found.value <= found.high


def test_voices_are_averaged_within_an_id_first():
    rows = [r for r in scores("text-raw", "topic", ids=2, voices=3) if r["id"] == "0000" or r["voice"] == "v0"]
    for row in rows:  # id 0 is right in its three voices, id 1 is wrong in its only voice
        row["nll"] = 1.0 if row["correct"] == (row["id"] == "0000") else 2.0
    assert match_halves(table_of(rows), "x").outcomes("sum").values.tolist() == [[1.0, 0.0]]


def crossed(rows, score):
    """A two as one trial, written as loops over dictionaries: margins of its pairs in a voice, voices, twos, seeds."""
    per_seed = []
    for seed in {row["seed"] for row in rows}:
        per_two = []
        for two in {row["two"] for row in rows}:
            per_voice = []
            for voice in {row["voice"] for row in rows}:
                here = [r for r in rows if (r["seed"], r["two"], r["voice"]) == (seed, two, voice)]
                assert len(here) == 4
                margin = sum(score(r) if r["correct"] else -score(r) for r in here)
                per_voice.append(1.0 if margin > 1e-9 else 0.5 if margin > -1e-9 else 0.0)
            per_two.append(math.fsum(per_voice) / len(per_voice))
        per_seed.append(math.fsum(per_two) / len(per_two))
    return math.fsum(per_seed) / len(per_seed)


def test_a_two_is_one_trial_and_single_pairs_stand_beside():
    rng = np.random.default_rng(5)
    rows = scores("phone-raw", "topic", (0, 1), 30, voices=3, layers=2, twos=True)
    for row in rows:
        row["nll"], row["tokens"] = float(rng.integers(1, 5)) / 10, int(rng.integers(1, 4))
        row["layer_nll"] = [float(rng.integers(1, 4)) for _ in range(2)]
    rng.shuffle(rows)
    pairs = match_halves(table_of(rows), "x")
    ways = {
        ("sum", None): lambda r: -r["nll"],
        ("mean", None): lambda r: -r["nll"] / r["tokens"],
        ("sum", 1): lambda r: -r["layer_nll"][1],
    }
    for (norm, layer), score in ways.items():
        found = pairs.outcomes(norm, layer), pairs.outcomes(norm, layer, crossed=False)
        assert all(set(own.ids) == {row["two"] for row in rows} and own.values.shape == (2, 15) for own in found)
        expected = crossed(rows, score), plain(rows, score)
        assert [own.values.mean() for own in found] == pytest.approx(expected, abs=1e-12)
        assert (found[0].values != found[1].values).any()


def test_margins_that_cancel_are_a_tie():
    rows = scores("phone-raw", "topic", ids=2, voices=1, layers=0, twos=True)
    for row, nll in zip(rows, (0.1, 0.3, 0.7, 0.5)):  # 0.2 - 0.2, but for the last bit
        row["nll"] = nll
    assert (0.3 - 0.1) + (0.5 - 0.7) != 0
    assert match_halves(table_of(rows), "x").outcomes("sum").values.tolist() == [[0.5]]


def test_pairs_that_stand_alone_stay_trials_of_their_own():
    rows = scores("phone-raw", "topic", ids=6, voices=1, layers=0, twos=True)
    for row in rows:
        row["nll"] = 1.0 if row["correct"] else 2.0
        if int(row["id"]) > 3:
            row["two"] = None if int(row["id"]) == 4 else ""
            row["type"] = "alone"
    pairs = match_halves(table_of(rows), "x")
    assert pairs.outcomes("sum").ids == ("two0000", "two0001", "0004", "0005")
    types = {"two0000": "type0/type1", "two0001": "type2/type3", "0004": "alone", "0005": "alone"}
    assert pairs.type_of_trial() == types


def test_a_two_without_its_second_pair_is_named():
    for lost in (lambda r: r["id"] == "0001", lambda r: r["id"] == "0001" and r["voice"] == "v1"):
        rows = [row for row in scores("phone-raw", "topic", ids=4, voices=2, twos=True) if not lost(row)]
        with pytest.raises(UserError, match=r"x: two 'two0000', voice 'v\d', seed 0: 1 pairs \(0000\), not two; make"):
            match_halves(table_of(rows), "x")


@pytest.mark.parametrize("name", ["two", "span_nll"])
def test_scores_without_a_column_are_of_another_version(tmp_path, name):
    path = tmp_path / "topic.parquet"
    write_table(path, [], pa.schema([field for field in SCORES if field.name != name]))
    with pytest.raises(UserError, match=rf"topic.parquet: column '{name}' is missing.*delete it and run again"):
        read_scored_pairs(path)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda rows: rows.pop(0), "id '0000'.*the correct item is missing"),
        (lambda rows: rows.pop(1), "id '0000'.*the incorrect item is missing"),
        (lambda rows: rows.append(rows[0]), "id '0000'.*two correct items"),
        (lambda rows: rows[4].update(nll=math.nan), "id '0001'.*not a finite number"),
        (lambda rows: rows[4].update(tokens=0), "id '0001'.*without tokens"),
        (lambda rows: rows[4].update(span_nll=math.nan), "id '0001'.*not a finite number"),
        (lambda rows: rows[4].update(span_tokens=0), "id '0001'.*without tokens"),
        (lambda rows: rows[4].update(layer_nll=[1.0]), "id '0001'.*1 layers"),
        (lambda rows: rows[4].update(layer_span_nll=[]), "id '0001'.*0 layers in layer_span_nll"),
        (lambda rows: [rows.pop() for _ in range(4)], "id '0003'.*not by seed 1"),
        (lambda rows: rows.clear(), "no rows"),
    ],
)
def test_broken_scores_are_named(tmp_path, break_it, message):
    rows = scores("text-raw", "topic", seeds=(0, 1), ids=4)
    break_it(rows)
    write_table(tmp_path / "topic.parquet", rows, SCORES)
    with pytest.raises(UserError, match=message) as caught:
        read_scored_pairs(tmp_path / "topic.parquet")
    assert str(tmp_path / "topic.parquet") in str(caught.value)


def test_one_split_is_read(tmp_path):
    rows = scores("text-raw", "topic", ids=6, voices=2)
    for row in rows:
        row["split"] = "dev" if int(row["id"]) < 4 else "test"
    path = tmp_path / "topic.parquet"
    write_table(path, rows, SCORES)
    assert len(read_scored_pairs(path).ids) == 6
    assert [read_scored_pairs(path, split).ids for split in ("dev", "test")] == [
        ("0000", "0001", "0002", "0003"),
        ("0004", "0005"),
    ]
    with pytest.raises(UserError, match=r"topic.parquet: no pair of split 'train' \(found: dev, test\)"):
        read_scored_pairs(path, "train")
    for row in rows:
        row["split"] = "" if int(row["id"]) < 5 else None  # a benchmark without splits is read as a whole
    write_table(path, rows, SCORES)
    assert len(read_scored_pairs(path, "dev").ids) == 6


def test_scores_without_the_split_column_are_refused(tmp_path):
    path = tmp_path / "topic.parquet"
    old = pa.schema([field for field in SCORES if field.name != "split"])
    write_table(path, [], old)
    with pytest.raises(UserError, match=r"topic.parquet: column 'split' is missing"):
        read_scored_pairs(path)


def simulate(rng, spread, seeds, ids, mean):
    """Outcomes of ids that differ in ease, and of seeds that differ in strength; two voices."""
    logit = mean + rng.normal(0, 1.5, (1, ids)) + rng.normal(0, spread, (seeds, 1))
    values = (rng.random((2, seeds, ids)) < 1 / (1 + np.exp(-logit))).mean(axis=0)
    return Outcomes(tuple(range(seeds)), tuple(map(str, range(ids))), values)


@pytest.mark.parametrize(
    ("mean", "spread", "seeds", "least", "most"),
    [(0.8, 0, 1, 0.91, 0.985), (4.5, 0, 1, 0.91, 1), (0.5, 0.3, 4, 0.86, 1)],
)
def test_interval_covers(mean, spread, seeds, least, most):
    rng = np.random.default_rng(11)
    logit = mean + rng.normal(0, math.hypot(1.5, spread), 500_000)
    truth = (1 / (1 + np.exp(-logit))).mean()
    found = [accuracy(simulate(rng, spread, seeds, 150, mean), 0.95, 300, generator(trial)) for trial in range(200)]
    assert least <= np.mean([f.low <= truth <= f.high for f in found]) <= most


def test_the_interval_of_single_pairs_resamples_twos():
    """Where one ending of a two is likelier by itself, one pair is right and the other wrong."""
    rng = np.random.default_rng(3)
    covered = {"twos": [], "pairs": []}
    width = {"twos": 0.0, "pairs": 0.0}
    for trial in range(200):
        bias, margin = rng.normal(0, 3, (60, 1)) * [1, -1], rng.normal(0.4, 1, (60, 2))
        right = (bias + margin > 0).astype(float)
        for name, values in (("twos", right.mean(axis=1)), ("pairs", right.ravel())):
            own = Outcomes((0,), tuple(map(str, range(len(values)))), values[None])
            found = accuracy(own, 0.95, 300, generator(trial))
            covered[name].append(found.low <= 0.5502 <= found.high)
            width[name] += (found.high - found.low) / 200
    assert 0.91 <= np.mean(covered["twos"]) <= 0.985  # the truth is P(N(0.4, sqrt(10)) > 0)
    assert np.mean(covered["pairs"]) > 0.99 and width["pairs"] > 1.3 * width["twos"]


def test_interval_includes_the_seeds():
    rng = np.random.default_rng(0)
    same = rng.random((1, 400)) < 0.7
    apart = np.stack([rng.random(400) < 0.5, rng.random(400) < 0.9])
    width = {}
    for name, values in (("same", np.repeat(same, 2, axis=0)), ("apart", apart)):
        found = accuracy(Outcomes((0, 1), tuple(map(str, range(400))), values.astype(float)), 0.95, 500, generator(0))
        width[name] = found.high - found.low
    assert width["same"] < 0.12
    assert width["apart"] > 0.35


@pytest.mark.parametrize("ids", [1, 2, 300])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_still_has_an_interval(ids, value):
    found = accuracy(Outcomes((0,), tuple(map(str, range(ids))), np.full((1, ids), value)), 0.95, 200, generator(0))
    edge = 0.025 ** (1 / ids)  # the exact bound of ids successes in ids trials
    expected = (edge, 1.0) if value else (0.0, 1 - edge)
    assert found == pytest.approx((value, *expected))
    assert clopper_pearson(ids * value, ids, 0.95) == pytest.approx(expected)


def test_the_same_seed_gives_the_same_interval():
    outcomes = match_halves(table_of(coarse()), "x").outcomes("sum")
    first, again, other = (accuracy(outcomes, 0.9, 200, generator(*what)) for what in ((3, "a"), (3, "a"), (3, "b")))
    assert first == again
    assert first != other
