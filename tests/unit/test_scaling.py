"""scaling.csv, its fits and its figure from the artefacts of a run, and errors that name a wrong setting."""

import csv
import json
import warnings

import numpy as np
import pytest
from ladder_results import scores
from toy_rung import write_rung

from speechladder.analysis.csv_tables import write_csv
from speechladder.analysis.scaling import FITS, Point, fit_law, scaling_columns, token_flops, write_fits, write_scaling
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import SCORES, write_table
from speechladder.report.scaling import draw_scaling
from speechladder.rungs.data import TokenData
from speechladder.rungs.fraction import write_fraction
from speechladder.settings import LM, Analysis, load

FEW = Analysis(resamples=100)


def read(path):
    with path.open() as handle:
        return list(csv.DictReader(handle))


def model(folder, seed, hidden=16, layers=2, vocabulary=20, rung="toy"):
    """Write the files of a trained model that the table reads."""
    about = {"rung": rung, "seed": seed, "vocab_size": vocabulary, "parameters": 5000, "train_tokens": 2048}
    about |= {"passes": 2.5, "stopped": "limit", "valid_bits_per_token": 3.0, "valid_bits_per_second": 30.0 + seed}
    write_json(folder / "train.json", about)
    config = {"vocab_size": vocabulary, "hidden_size": hidden, "num_hidden_layers": layers, "train_window": 64}
    write_json(folder / "config.json", config)
    return folder


@pytest.fixture
def points(tmp_path):
    """One size on half of the data and on all of it, with two seeds each."""
    whole = write_rung(tmp_path / "toy")
    write_fraction(whole, 0.5, tmp_path / "half")
    found = []
    for fraction, tokens in ((0.5, tmp_path / "half"), (1.0, whole)):
        models = [model(tmp_path / f"s-{fraction}" / f"seed{seed}", seed) for seed in (0, 1)]
        files = [tmp_path / f"s-{fraction}" / "scores" / f"{task}.parquet" for task in TASKS]
        for task, file in zip(TASKS, files):
            write_table(file, scores("toy", task, seeds=(0, 1), ids=10, layers=0), SCORES)
        found.append(Point("toy", "s", fraction, tokens, models, files))
    return found


def test_the_table_has_a_row_per_model_and_the_columns_of_the_contract(points, tmp_path):
    write_scaling(points, tmp_path / "scaling.csv", 0, FEW)
    rows = read(tmp_path / "scaling.csv")
    assert list(rows[0]) == [
        *("rung", "size", "fraction", "seed", "parameters", "active_parameters", "hours", "data_tokens"),
        *("train_tokens", "passes", "flops", "stopped", "valid_bits_per_token", "valid_bits_per_second"),
        *(f"{task}_{norm}{end}" for task in TASKS for norm in NORMS for end in ("", "_low", "_high")),
    ]
    assert [(row["fraction"], row["seed"]) for row in rows] == [("0.5", "0"), ("0.5", "1"), ("1", "0"), ("1", "1")]
    half, whole = (TokenData(points[n].tokens, "train") for n in (0, 1))
    assert int(rows[0]["data_tokens"]) == half.lengths.sum() < int(rows[2]["data_tokens"]) == whole.lengths.sum()
    assert float(rows[2]["hours"]) == pytest.approx(whole.seconds.sum() / 3600, abs=1e-4)
    assert rows[0]["active_parameters"] == str(5000 - 20 * 16)
    assert (rows[0]["valid_bits_per_second"], rows[1]["valid_bits_per_second"]) == ("30.0000", "31.0000")
    for row in rows:
        for task in TASKS:
            assert float(row[f"{task}_sum_low"]) <= float(row[f"{task}_sum"]) <= float(row[f"{task}_sum_high"])


def test_a_model_of_another_rung_is_refused(points, tmp_path):
    model(points[0].models[0], 0, rung="other")
    with pytest.raises(UserError, match=r"seed0: a model of other, not of toy"):
        write_scaling(points, tmp_path / "scaling.csv", 0, FEW)
    assert not (tmp_path / "scaling.csv").exists()


def test_the_operations_of_a_token():
    config = {"num_hidden_layers": 2, "hidden_size": 16, "train_window": 10}
    # two documents of 4 and 20 tokens: the second is seen through the window
    context = (4 * 4 + 20 * 10) / 24 / 2
    assert token_flops(config, 1000, np.array([4.0, 20.0])) == pytest.approx(6 * 1000 + 12 * 2 * 16 * context)


def table(path, sizes, hours, noise=0.002, rungs=("text-bpe", "speech-hubert")):
    """A scaling.csv in which L = 10 + 200 N^-0.4 + 6 D^-0.3."""
    rng, rows = np.random.default_rng(0), []
    for rung in rungs:
        for N in sizes:
            for D in hours:
                loss = (10 + 200 * N**-0.4 + 6 * D**-0.3) * (1 + rng.normal(0, noise))
                facts = {"rung": rung, "active_parameters": N, "hours": D, "valid_bits_per_second": f"{loss:.5f}"}
                rows.append(dict.fromkeys(scaling_columns(), "1") | facts)
    write_csv(path, scaling_columns(), rows)
    return path


def test_the_fits_hold_the_planted_law(tmp_path):
    write_fits(table(tmp_path / "t.csv", np.geomspace(1e5, 1e8, 4), (1, 4, 16, 64)), tmp_path / "fits.csv", 0.999)
    rows = read(tmp_path / "fits.csv")
    assert [row["rung"] for row in rows] == ["text-bpe", "speech-hubert"]
    assert tuple(rows[0]) == FITS
    for row in rows:
        assert (row["points"], row["note"]) == ("16", "")
        for name, value in (("E", 10), ("alpha", 0.4), ("beta", 0.3)):
            assert float(row[f"{name}_low"]) < value < float(row[f"{name}_high"])


@pytest.mark.parametrize(
    ("sizes", "hours", "filled", "note"),
    [
        ((1e5, 1e6), (1, 4), (), "parameters: fewer than three values; hours: fewer than three values; no fit"),
        ((1e5, 1e6), (1, 4, 16, 64), ("beta",), "parameters: fewer than three values"),
        (
            (1e5, 1e6, 1e7),
            (4,),
            ("alpha",),
            "hours: fewer than three values; as many parameters as points: no intervals",
        ),
    ],
)
def test_parameters_that_the_points_do_not_determine_are_empty_and_noted(tmp_path, sizes, hours, filled, note):
    write_fits(table(tmp_path / "t.csv", sizes, hours), tmp_path / "fits.csv", 0.95)
    for row in read(tmp_path / "fits.csv"):
        assert row["note"] == note
        assert {name for name in ("alpha", "beta") if row[name]} == set(filled)
        assert bool(row["E"]) == bool(filled)
        if "no intervals" in note:
            assert row["E_low"] == row["alpha_high"] == ""


def test_an_exponent_that_no_point_determines_is_noted(tmp_path):
    """The losses hardly change with the hours, as with a budget that reads the data once."""
    rows = read(table(tmp_path / "t.csv", (1e5, 1e6, 1e7), (1, 2, 4), rungs=("speech-hubert",)))
    noise = np.random.default_rng(3).normal(0, 0.005, len(rows))
    for row, part in zip(rows, noise):
        loss = (90 + 3000 * float(row["active_parameters"]) ** -0.5) * (1 + part) + 0.1 / float(row["hours"])
        row["valid_bits_per_second"] = f"{loss:.4f}"
    found = fit_law(rows, 0.95)
    term = found.fit.terms[1]
    assert term.exponent is None or term.exponent.low is None
    assert found.note.startswith("hours: ")


def test_a_single_axis_is_fitted_at_the_largest_value_of_the_other(tmp_path):
    rows = read(table(tmp_path / "t.csv", (1e5, 1e6), (1, 4, 16, 64), noise=0, rungs=("text-bpe",)))
    found = fit_law(rows, 0.95)
    assert (found.points, found.axes) == (4, ("hours",))
    assert found.fit.floor.value == pytest.approx(10 + 200 * 1e6**-0.4, rel=1e-3)


@pytest.mark.parametrize(
    ("sizes", "hours"), [((1e5, 1e6), (1, 4)), ((1e5, 1e6, 1e7), (1, 4, 16)), ((1e5, 1e6, 1e7), (4,)), ((1e5,), (4,))]
)
def test_the_figure_is_drawn_without_warnings_to_the_same_bytes(tmp_path, sizes, hours):
    path = table(tmp_path / "t.csv", sizes, hours)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for folder in ("a", "b"):
            draw_scaling(path, 0.95, tmp_path / folder)
    assert (tmp_path / "a" / "scaling.svg").read_bytes() == (tmp_path / "b" / "scaling.svg").read_bytes()
    assert (tmp_path / "a" / "scaling.png").read_bytes()[:4] == b"\x89PNG"


def test_the_figure_shows_the_points_and_the_fitted_exponents(tmp_path):
    sizes, hours = (1e5, 1e6, 1e7), (1, 4, 16)
    path = table(tmp_path / "t.csv", sizes, hours)
    rows, figure = read(path), draw_scaling(path, 0.95, tmp_path)
    by_size, by_hours, exponents = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["loss against size", "loss against data", "exponents"]
    for axis, column in ((by_size, "active_parameters"), (by_hours, "hours")):
        drawn = {point for line in axis.lines if line.get_marker() != "None" for point in zip(*line.get_data())}
        assert drawn == {(float(row[column]), float(row["valid_bits_per_second"])) for row in rows}
        assert axis.get_xscale() == axis.get_yscale() == "log"
    assert [label.get_text() for label in exponents.get_yticklabels()] == ["text-bpe", "speech-hubert"]
    write_fits(path, tmp_path / "fits.csv", 0.95)
    values = [float(row[name]) for row in read(tmp_path / "fits.csv") for name in ("alpha", "beta")]
    drawn = [line.get_xdata()[0] for line in exponents.lines if line.get_marker() not in ("None", ">")]
    assert drawn == pytest.approx(values, abs=1e-4)
    assert "fitted law" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"sizes": [{"name": "s", "hiden_size": 64}]}, "sizes.s.hiden_size: unknown key; did you mean 'hidden_size'?"),
        ({"sizes": [{"name": "s", "seeds": [1]}]}, "scaling.sizes.s.seeds: unknown key"),
        ({"sizes": [{"name": "s", "layers": 0}]}, "scaling.sizes.s.layers: 0 is not allowed; allowed: a whole number"),
        ({"sizes": [{"name": "s", "heads": 3}]}, "scaling.sizes.s.heads: 3 must divide hidden_size: "),
        ({"sizes": [{"layers": 2}]}, "each needs a name"),
        ({"sizes": [{"name": "a-b"}]}, "this is none: 'a-b'"),
        ({"sizes": [{"name": "s"}, {"name": "s", "layers": 2}]}, "two have one name"),
        ({"fractions": [0.5, 1.5]}, "scaling.fractions: 1.5 is no share"),
        ({"fractions": [0.5, 0.5]}, "scaling.fractions: 0.5 is named twice"),
        ({"seeds": [-1]}, "scaling.seeds: -1 is not allowed; a seed is 0 or more"),
        ({"fraction": [1]}, "did you mean 'scaling.fractions'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_before_any_job(scaling, message):
    with pytest.raises(UserError) as caught:
        load({"scaling": scaling})
    assert message in str(caught.value)


def test_a_size_overrides_settings_of_the_runs_own_model():
    settings = load({"lm": {"lr": 0.01}, "scaling": {"sizes": [{"name": "s", "layers": 2}, {"name": "own"}]}})
    assert settings.scaled_lm("own") == settings.lm
    assert settings.scaled_lm("s") == LM(lr=0.01, layers=2)
    with pytest.raises(ValueError, match="no size 'm'; there are s, own"):
        settings.scaled_lm("m")
    assert json.loads(settings.model_dump_json())["scaling"]["sizes"][0] == {"name": "s", "layers": 2}
