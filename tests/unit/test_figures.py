"""Every figure is drawn without a warning, to the same bytes, whatever rungs there are."""

import warnings
from xml.etree import ElementTree

import pytest
from ladder_results import SHAPE, make

from speechladder.analysis import continuation, factors, layers, learning, table, variability
from speechladder.io.errors import UserError
from speechladder.report import figures, style
from speechladder.report.variability import draw_variability
from speechladder.settings import Analysis

NAMES = ("ladder", "factors", "layers", "learning", "lengths", "continuation")


def tables(results, rungs, **options):
    make(results, rungs, ids=15, **options)
    scores = table.read_scores(results, rungs)
    for write in (table.write_table, factors.write_factors, layers.write_layers, learning.write_learning):
        write(results, rungs, scores, 0, Analysis(resamples=100))
    continuation.write_continuation(results, [], 0, Analysis(resamples=100))
    return results


@pytest.mark.parametrize(
    ("rungs", "options"),
    [
        (list(SHAPE), {"layers": 3, "learning": 2}),
        (["speech-hubert"], {"layers": 0, "learning": 0}),
        (["my-own-rung", "phone-raw"], {"layers": 2, "learning": 1}),
    ],
)
def test_figures_are_made_without_warnings(tmp_path, rungs, options):
    results = tables(tmp_path, rungs, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.draw_all(results, tmp_path / "figures")
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    assert made == {f"{name}.{suffix}" for name in NAMES for suffix in ("svg", "png")}
    for name in NAMES:
        assert ElementTree.parse(tmp_path / "figures" / f"{name}.svg").getroot().tag.endswith("svg")
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_same_tables_same_bytes(tmp_path):
    results = tables(tmp_path, ["phone-raw", "phone-repeat"], layers=2, learning=1)
    for folder in ("a", "b"):
        figures.draw_ladder(results / "table.csv", tmp_path / folder)
        figures.draw_learning(results / "learning.csv", tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert b"dc:date" not in (tmp_path / "a" / "ladder.svg").read_bytes()


def test_variability(tmp_path):
    results = tables(tmp_path, ["speech-hubert"], layers=0, learning=0)
    variability.combine_levels([(dial, results / "table.csv") for dial in range(4)], tmp_path / "variability.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_variability(tmp_path / "variability.csv", tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"variability.svg", "variability.png"}


def test_each_rung_has_its_own_look_and_an_unknown_one_keeps_its():
    looks = [tuple(style.look(rung).values()) for rung in SHAPE]
    assert len(set(looks)) == len({colour for colour, _ in looks}) == len(SHAPE)
    assert style.look("mine") == style.look("mine") and tuple(style.look("mine").values()) not in looks


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"table.csv: no such file"):
        figures.draw_all(tmp_path, tmp_path / "figures")
