"""The published rows: columns, ranges, one row per fact, and the facts that the project rests on."""

import csv
import re
from dataclasses import fields
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from speechladder.analysis.published import COLUMNS, NUMBERS, Row, names, read_published, systems
from speechladder.report.published import prediction_block

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "published"
TABLES = names(DATA)
ACCURACIES = ("swuggy", "swuggy_invocab", "sblimp", "ssc", "tsc")
RANGES = dict.fromkeys(ACCURACIES, (35, 100)) | {
    **dict.fromkeys(("abx_within", "abx_across"), (1, 50)),
    "pnmi": (0, 1),
    "hours": (1, 1e6),
    "units": (2, 1e5),
    "layer": (1, 48),
    "rate": (1, 100),
}


def test_the_tables_are_those_of_the_readme():
    text = (DATA / "README.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)\.csv`", text, flags=re.M)) == TABLES
    assert {field.name for field in fields(Row)} >= NUMBERS == set(RANGES)


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_a_fact_with_its_source(name):
    rows = read_published(DATA, name)
    assert rows
    for row in rows:
        assert row.source and row.system and row.place and re.fullmatch(r"\d{4}\.\d{5}", row.arxiv)
        assert row.url.startswith("https://")
        assert row.score_norm in ("", "sum", "mean") and row.split in ("", "dev", "test")
        assert row.headline in ("", "yes")
        assert any(getattr(row, each) is not None for each in ACCURACIES)
        for column, (least, most) in RANGES.items():
            figure = getattr(row, column)
            assert figure is None or least <= figure <= most, (row.system, column)
        if row.abx_within is not None:
            assert row.abx_within < row.abx_across  # another speaker is never easier, in these systems
        if row.swuggy_invocab is not None:  # known words are easier, in systems that know words at all
            assert row.swuggy_invocab > row.swuggy - 1


@pytest.mark.parametrize("name", TABLES)
def test_figures_are_rounded_as_in_their_sources(name):
    with (DATA / f"{name}.csv").open() as handle:
        for cells in csv.DictReader(handle):
            assert all(re.fullmatch(r"(\d+(\.\d{1,4})?)?", cells[column]) for column in NUMBERS), cells


def test_no_system_is_there_twice_under_the_same_conditions():
    keys = [(r.source, r.system, r.hours, r.split, r.place) for name in TABLES for r in read_published(DATA, name)]
    assert len(keys) == len(set(keys))


def test_the_38_systems_and_what_they_say():
    rows = systems(DATA)
    assert len(rows) == 38
    assert {row.family for row in rows} == {
        *("dinosr", "hubert", "spidr-codebooks", "spidr-kmeans", "wav2vec2", "wavlm"),
    }
    assert {(row.units, row.hours, row.rate, row.lm) for row in rows} == {(256, 6000, 50, "OPT-125M")}
    swuggy = [row.swuggy for row in rows]
    assert round(spearmanr([row.pnmi for row in rows], swuggy).statistic, 2) == 0.90
    assert round(spearmanr([row.abx_across for row in rows], swuggy).statistic, 2) == -0.87


def test_the_licence_of_what_is_not_free_is_said():
    assert {row.licence for row in read_published(DATA, "spidr")} == {"CC BY-NC 4.0"}


def test_the_page_has_the_figures_of_the_rows():
    page = (ROOT / "docs" / "published.md").read_text()
    _, _, rest = page.partition("<!-- PREDICTION -->\n")
    block, closed, after = rest.partition("<!-- /PREDICTION -->")
    assert closed and block == prediction_block(DATA), "run scripts/published_page.py"
    assert not re.search(r"\d\.\d", after)  # no figure that nothing computes


def test_the_columns_are_those_of_the_class():
    assert (DATA / "paper.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
