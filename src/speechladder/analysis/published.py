"""Figures that others published (data/published/*.csv), and what they predict of units that have no language model.

Every file has the columns of `Row`. A cell is empty where the source does not say, and is never filled by a guess.
data/published/README.md says where each file is from. The prediction is a regression over one controlled comparison:
the systems of `SYSTEMS`, which differ in their units and in nothing else. It is no measurement.
"""

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from speechladder.io.errors import UserError, suggestion

SYSTEMS = "spidr"  # the file whose rows with a `family` are one controlled comparison
COVERAGE = 0.9  # of the interval
NEIGHBOURS = 5
CHANCE = 50.0  # percent
TIE = 0.1  # points of sWUGGY: a model that is better by less than this is not preferred to a simpler one


@dataclass(frozen=True)
class Row:
    """One published system with its conditions; None or "" where the source does not say.

    Accuracies are in percent, ABX errors in percent (LibriSpeech dev-clean), `rate` in Hz, `hours` of training speech
    of the language model. `family` groups systems for cross-validation. `headline` marks rows of docs/findings.md.
    """

    source: str
    arxiv: str
    url: str
    licence: str  # of the source
    place: str  # table or file of the source
    system: str
    family: str
    training_data: str
    hours: float | None
    lm: str
    units: float | None
    layer: float | None
    rate: float | None
    score_norm: str  # sum, mean
    split: str  # dev, test
    swuggy: float | None  # all items
    swuggy_invocab: float | None
    sblimp: float | None
    ssc: float | None
    tsc: float | None
    pnmi: float | None  # units repeated to 100 Hz
    abx_within: float | None
    abx_across: float | None
    headline: str  # yes
    note: str


COLUMNS = tuple(field.name for field in fields(Row))
NUMBERS = frozenset(field.name for field in fields(Row) if field.type is not str)


@dataclass(frozen=True)
class Prediction:
    """What the published systems predict of sWUGGY (all), in percent, for units with some PNMI and ABX error.

    `low` and `high` hold `coverage` of the cross-validated residuals about `value`. `error` is the root mean square of
    these residuals and `error_abs` the mean of their sizes, in points. `inputs` names what the regression uses.
    `extrapolated`: an input is outside the range of the published systems. `neighbours`: the nearest systems.
    """

    value: float
    low: float
    high: float
    coverage: float
    error: float
    error_abs: float
    inputs: tuple[str, ...]
    systems: int
    families: int
    extrapolated: bool
    neighbours: tuple[Row, ...]


def names(folder: Path) -> list[str]:
    """The names of the tables in a folder such as data/published. Raise UserError if there is none."""
    found = sorted(path.stem for path in folder.glob("*.csv"))
    if not found:
        raise UserError(f"{folder}: no *.csv; the published tables are in data/published of the repository")
    return found


def read_published(folder: Path, name: str) -> list[Row]:
    """The rows of `folder`/`name`.csv.

    Raise UserError that names the file, the line and the column if it is missing or not as `Row` says.
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; {suggestion(name, names(folder))}there are {', '.join(names(folder))}")
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                differ = sorted(set(reader.fieldnames or ()) ^ set(COLUMNS)) or "their order"
                raise UserError(f"{path}: the columns must be {','.join(COLUMNS)}; see {differ}")
            return [_row(cells, f"{path}, line {reader.line_num}") for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as CSV in UTF-8 ({error}); mend the file") from None


def headlines(folder: Path) -> list[Row]:
    """The rows of all tables of a folder that docs/findings.md shows."""
    return [row for name in names(folder) for row in read_published(folder, name) if row.headline]


def _row(cells: dict[str, str], place: str) -> Row:
    if None in cells or None in cells.values():
        raise UserError(f"{place}: needs {len(COLUMNS)} cells; put cells with commas in quotes")
    found: dict[str, str | float | None] = dict(cells)
    for name in NUMBERS:
        if cells[name] and not re.fullmatch(r"\d+(\.\d+)?", cells[name]):
            raise UserError(f"{place}, column '{name}': '{cells[name]}' is no number; leave unknowns empty")
        found[name] = float(cells[name]) if cells[name] else None
    return Row(**found)  # type: ignore[arg-type]


# --- the prediction ---


@dataclass(frozen=True)
class _Input:
    """An input of the regression, on the scale on which sWUGGY is nearly linear in it."""

    name: str
    scale: Callable[[float], float]
    least: float
    most: float


PNMI = _Input("pnmi", lambda share: math.log(share / (1 - share)), 0.0, 1.0)  # logit of a share
ABX = _Input("abx_across", math.log, 0.0, 100.0)
MODELS = ((PNMI,), (ABX,), (PNMI, ABX))  # in the order of preference


def predict_swuggy(folder: Path, pnmi: float, abx_across: float | None = None) -> Prediction:
    """Predict sWUGGY (all, percent) of units from their PNMI and their ABX error across speakers.

    The model is the first of `MODELS` whose cross-validated error is within `TIE` points of the least. Each family of
    systems is left out once. `value` is never below chance, and nothing is outside 0 to 100.

    Args:
        folder: data/published
        pnmi: `pnmi_100hz` of units/quality.json, between 0 and 1
        abx_across: ABX error across speakers, in percent; None if it is not known, and then no model uses it

    Raises:
        UserError: if a figure is not between its bounds or the published rows are too few.
    """
    given = {"pnmi": pnmi, "abx_across": abx_across}
    for each in (PNMI, ABX):
        figure = given[each.name]
        if figure is not None and not each.least < figure < each.most:
            raise UserError(f"{each.name} is {figure}; it must lie between {each.least:g} and {each.most:g}")
    rows = systems(folder)
    models = [model for model in MODELS if all(given[each.name] is not None for each in model)]
    residuals = [cross_validated(rows, model) for model in models]
    errors = [rms(found) for found in residuals]
    best = next(at for at, error in enumerate(errors) if error <= min(errors) + TIE)
    model, left = models[best], residuals[best]
    value = _predicted(given, _fit(rows, model), model)
    half = _half_width(left)
    low, value, high = (min(max(end, 0.0), 100.0) for end in (value - half, value, value + half))
    ranges = {e.name: [getattr(r, e.name) for r in rows] for e in (PNMI, ABX) if given[e.name] is not None}
    return Prediction(
        value=value,
        low=low,
        high=high,
        coverage=COVERAGE,
        error=errors[best],
        error_abs=float(np.abs(left).mean()),
        inputs=tuple(each.name for each in model),
        systems=len(rows),
        families=len({row.family for row in rows}),
        extrapolated=any(not min(r) <= given[name] <= max(r) for name, r in ranges.items()),
        neighbours=nearest(rows, given),
    )


def systems(folder: Path) -> list[Row]:
    """The systems of the controlled comparison. Raise UserError if they are fewer than three families."""
    rows = [row for row in read_published(folder, SYSTEMS) if row.family]
    for row in rows:
        if None in (row.pnmi, row.abx_across, row.swuggy):
            raise UserError(
                f"{folder / SYSTEMS}.csv: '{row.system}' has a family and so needs pnmi, abx_across, swuggy"
            )
    if len({row.family for row in rows}) < 3:
        raise UserError(f"{folder / SYSTEMS}.csv: fewer than three families of systems; the prediction needs three")
    return rows


def _features(figures: Sequence[dict[str, float | None]], model: Sequence[_Input]) -> np.ndarray:
    """(rows, 1 + inputs): a one, and each input on its scale."""
    return np.array([[1.0, *(each.scale(row[each.name]) for each in model)] for row in figures])  # type: ignore[arg-type]


def _fit(rows: Sequence[Row], model: Sequence[_Input]) -> np.ndarray:
    """Least squares: the intercept and a slope per input."""
    return np.linalg.lstsq(_features([vars(row) for row in rows], model), [row.swuggy for row in rows], rcond=None)[0]


def _predicted(figures: dict[str, float | None], weights: np.ndarray, model: Sequence[_Input]) -> float:
    """sWUGGY in percent; what the line puts below chance is at chance."""
    return max(CHANCE, float(_features([figures], model)[0] @ weights))


def cross_validated(rows: Sequence[Row], model: Sequence[_Input]) -> np.ndarray:
    """(rows,): published less predicted sWUGGY of each system, by a fit without the systems of its family."""
    left = []
    for row in rows:
        weights = _fit([other for other in rows if other.family != row.family], model)
        left.append(row.swuggy - _predicted(vars(row), weights, model))
    return np.array(left)


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def _half_width(residuals: np.ndarray) -> float:
    """Half the interval: the size that COVERAGE of the residuals do not exceed.

    The rank is that of split conformal prediction (Lei et al. 2018, arXiv 1604.04173): ceil(coverage (n + 1)).
    """
    rank = min(math.ceil(COVERAGE * (len(residuals) + 1)), len(residuals))
    return float(np.sort(np.abs(residuals))[rank - 1])


def nearest(rows: Sequence[Row], given: dict[str, float | None], count: int = NEIGHBOURS) -> tuple[Row, ...]:
    """The systems nearest to the given figures; each input counts in its standard deviations over the systems."""
    known = [each for each in (PNMI, ABX) if given[each.name] is not None]
    table = _features([vars(row) for row in rows], known)
    distance = np.linalg.norm((table - _features([given], known))[:, 1:] / table[:, 1:].std(axis=0), axis=1)
    return tuple(rows[at] for at in np.argsort(distance, kind="stable")[:count])
