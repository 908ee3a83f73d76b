"""Reading published rows, and the prediction from them, on tables whose answers are known."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from speechladder.analysis import published
from speechladder.analysis.published import (
    ABX,
    COLUMNS,
    PNMI,
    cross_validated,
    nearest,
    predict_swuggy,
    read_published,
    systems,
)
from speechladder.io.errors import UserError

FAMILIES = ("a", "a", "b", "b", "c", "c", "d", "d")


def write(folder: Path, rows: list[dict[str, object]], name: str = "spidr", columns=COLUMNS) -> Path:
    with (folder / f"{name}.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def line(pnmi: float) -> float:
    return 60 + 5 * math.log(pnmi / (1 - pnmi))


def exact(noise: float = 0.0) -> list[dict[str, object]]:
    """Systems on a line in the logit of PNMI; their ABX errors say nothing."""
    shares = np.linspace(0.3, 0.8, len(FAMILIES))
    abx = (5, 20, 9, 14, 6, 25, 8, 11)
    return [
        {
            "system": f"s{at}",
            "family": family,
            "pnmi": share,
            "abx_across": error,
            "swuggy": line(share) + (noise if at % 2 else -noise),
        }
        for at, (family, share, error) in enumerate(zip(FAMILIES, shares, abx, strict=True))
    ]


def test_a_line_is_found_and_has_no_error(tmp_path):
    found = predict_swuggy(write(tmp_path, exact()), 0.5, 10.0)
    assert found.inputs == ("pnmi",)
    assert found.value == pytest.approx(60) and found.error == pytest.approx(0, abs=1e-9)
    assert (found.low, found.high) == (pytest.approx(60), pytest.approx(60))
    assert (found.systems, found.families, found.extrapolated) == (8, 4, False)


def test_the_input_is_chosen_by_the_error_on_families_left_out(tmp_path):
    rows = [row | {"swuggy": 90 - 10 * math.log(row["abx_across"])} for row in exact()]
    assert predict_swuggy(write(tmp_path, rows), 0.5, 10.0).inputs == ("abx_across",)
    assert predict_swuggy(tmp_path, 0.5).inputs == ("pnmi",)  # ABX is not known
    rows = [row | {"swuggy": line(row["pnmi"]) - 5 * math.log(row["abx_across"])} for row in exact()]
    assert predict_swuggy(write(tmp_path, rows), 0.5, 10.0).inputs == ("pnmi", "abx_across")


def test_a_family_is_predicted_by_the_others_alone(tmp_path):
    rows = [row | ({"swuggy": row["swuggy"] + 7} if row["family"] == "b" else {}) for row in exact()]
    left = cross_validated(systems(write(tmp_path, rows)), (PNMI,))
    assert left[2:4] == pytest.approx([7, 7])  # the shift of the family is its whole error: the fit has not seen it
    assert not np.allclose(left[:2], 0)  # and it spoils the fits that see it


def test_the_interval_holds_nine_tenths_of_the_errors(tmp_path):
    found = predict_swuggy(write(tmp_path, exact(noise=2.0)), 0.5)
    sizes = np.abs(cross_validated(systems(tmp_path), (PNMI,)))
    assert found.high - found.value == pytest.approx(found.value - found.low) == pytest.approx(sizes.max())
    assert found.error == pytest.approx(np.sqrt((sizes**2).mean())) and found.error_abs == pytest.approx(sizes.mean())
    assert published._half_width(np.arange(-20, 20) / 1.0) == 18.0  # rank ceil(0.9 x 41) = 37 of 40 sizes


def test_what_is_below_chance_is_at_chance(tmp_path):
    assert predict_swuggy(write(tmp_path, exact()), 0.01).value == 50.0


@pytest.mark.parametrize(
    ("pnmi", "abx", "outside"),
    [(0.3, 5.0, False), (0.8, 25.0, False), (0.29, 10.0, True), (0.81, 10.0, True), (0.5, 4.9, True), (0.5, 26, True)],
)
def test_outside_of_the_published_rows_is_said(tmp_path, pnmi, abx, outside):
    assert predict_swuggy(write(tmp_path, exact()), pnmi, abx).extrapolated is outside


def test_neighbours_are_near_on_both_scales(tmp_path):
    rows = systems(write(tmp_path, exact()))
    given = {"pnmi": rows[3].pnmi, "abx_across": rows[3].abx_across}
    assert nearest(rows, given)[0] == rows[3]
    by_pnmi = [row.system for row in nearest(rows, {"pnmi": rows[3].pnmi, "abx_across": None}, count=3)]
    assert by_pnmi[0] == "s3" and set(by_pnmi[1:]) == {"s2", "s4"}
    assert {PNMI.name, ABX.name} <= set(COLUMNS)


@pytest.mark.parametrize(
    ("pnmi", "abx", "message"),
    [
        (1.2, 9.0, "pnmi is 1.2; it must lie between 0 and 1"),
        (0.0, 9.0, "pnmi is 0.0"),
        (math.nan, 9.0, "pnmi is nan"),
        (0.5, 0.0, "abx_across is 0"),
        (0.5, 200.0, "between 0 and 100"),
    ],
)
def test_figures_out_of_bounds_are_refused(tmp_path, pnmi, abx, message):
    with pytest.raises(UserError, match=message):
        predict_swuggy(write(tmp_path, exact()), pnmi, abx)


def test_tables_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no \*.csv; the published tables are in data/published"):
        read_published(tmp_path, "spidr")
    write(tmp_path, [{"family": "a", "swuggy": "6O"}])
    with pytest.raises(UserError, match=r"spidr.csv, line 2, column 'swuggy': '6O' is no number"):
        read_published(tmp_path, "spidr")
    with pytest.raises(UserError, match=r"did you mean 'spidr'\? there are spidr"):
        read_published(tmp_path, "spider")
    write(tmp_path, [], columns=COLUMNS[1:])
    with pytest.raises(UserError, match=r"see \['source'\]"):
        read_published(tmp_path, "spidr")
    (tmp_path / "spidr.csv").write_text(",".join(COLUMNS) + "\n" + "x,y\n")
    with pytest.raises(UserError, match="line 2: needs 25 cells"):
        read_published(tmp_path, "spidr")
    (tmp_path / "spidr.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not readable as CSV in UTF-8"):
        read_published(tmp_path, "spidr")


def test_too_few_families_are_refused(tmp_path):
    rows = exact()
    with pytest.raises(UserError, match="fewer than three families"):
        predict_swuggy(write(tmp_path, rows[:4]), 0.5)
    with pytest.raises(UserError, match="'s0' has a family and so needs pnmi"):
        predict_swuggy(write(tmp_path, [rows[0] | {"pnmi": ""}, *rows[1:]]), 0.5)
