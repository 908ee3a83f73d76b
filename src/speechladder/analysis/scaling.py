"""results/scaling.csv and scaling_fits.csv: loss and accuracies over model sizes and data shares, and power laws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from speechladder.analysis.accuracy import match_halves, select_split
from speechladder.analysis.csv_tables import (
    accuracy_columns,
    fixed,
    interval_columns,
    percent_cells,
    read_csv,
    write_csv,
)
from speechladder.analysis.power_law import HIGHEST, LOWEST, Fit, Interval, fit
from speechladder.analysis.table import estimate_accuracy
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import SCORES, TOKEN_INDEX, read_table
from speechladder.settings import Analysis

FACTS = (
    *("rung", "size", "fraction", "seed", "parameters", "active_parameters", "hours", "data_tokens", "train_tokens"),
    *("passes", "flops", "stopped", "valid_bits_per_token", "valid_bits_per_second"),
)
AXES = {"parameters": ("active_parameters", "A", "alpha"), "hours": ("hours", "B", "beta")}
FITS = (
    *("rung", "points", *interval_columns("E"), "A", *interval_columns("alpha")),
    *("B", *interval_columns("beta"), "rmse_percent", "note"),
)


def scaling_columns() -> tuple[str, ...]:
    """The columns of scaling.csv, with those of every registered task."""
    return (*FACTS, *accuracy_columns())


@dataclass(frozen=True)
class Point:
    """The files of one rung, model size and share of the data."""

    rung: str
    size: str
    fraction: float
    tokens: Path
    models: Sequence[Path]  # one for each seed
    scores: Sequence[Path]  # one for each task, in the order of the registry


def write_scaling(points: Sequence[Point], out: Path, seed: int, analysis: Analysis, split: str | None = None) -> None:
    """Write `out` with a row for each model of each point, in their order, with accuracies in percent.

    `hours` and `data_tokens` describe the training data; `train_tokens` counts what training read, passes included.
    Raises UserError that names a file if it is missing or belongs to another rung or size than the rest of its point.
    """
    rows = []
    for point in points:
        meta, index = read_json(point.tokens / "meta.json"), read_table(point.tokens / "train.parquet", TOKEN_INDEX)
        lengths = index.column("length").to_numpy().astype(float)
        tables = [(task, path, read_table(path, SCORES)) for task, path in zip(TASKS, point.scores, strict=True)]
        for folder in point.models:
            row, model_seed = _facts(point, meta, lengths, folder)
            for task, path, table in tables:
                own = select_split(table.filter(pc.equal(table["seed"], model_seed)), split, str(path))
                pairs = match_halves(own, f"{path}, seed {model_seed}")
                for norm in NORMS:
                    found = estimate_accuracy(pairs, point.rung, task, norm, seed, analysis)
                    row |= percent_cells(f"{task}_{norm}", found)
            rows.append(row)
    write_csv(out, scaling_columns(), rows)


def _facts(point: Point, meta: dict[str, Any], lengths: np.ndarray, folder: Path) -> tuple[dict[str, object], int]:
    """The columns FACTS of the model in `folder`, and its seed."""
    about, config = read_json(folder / "train.json"), read_json(folder / "config.json")
    if (about["rung"], about["vocab_size"]) != (point.rung, meta["vocab_size"]):
        raise UserError(f"{folder}: a model of {about['rung']}, not of {point.rung}'s tokens; delete it and run again")
    active = about["parameters"] - config["vocab_size"] * config["hidden_size"]
    return {
        "rung": point.rung,
        "size": point.size,
        "fraction": f"{point.fraction:g}",
        "seed": about["seed"],
        "parameters": about["parameters"],
        "active_parameters": active,
        "hours": fixed(meta["seconds"]["train"] / 3600, 4),
        "data_tokens": meta["tokens"]["train"],
        "train_tokens": about["train_tokens"],
        "passes": fixed(about["passes"], 2),
        "flops": f"{about['train_tokens'] * token_flops(config, active, lengths):.4g}",
        "stopped": about["stopped"],
        "valid_bits_per_token": fixed(about["valid_bits_per_token"], 4),
        "valid_bits_per_second": fixed(about["valid_bits_per_second"], 4),
    }, about["seed"]


def token_flops(config: dict[str, Any], active: int, lengths: np.ndarray) -> float:
    """FLOP of training on one token, forward and backward: 6 P + 12 L d c.

    P is the number of parameters that multiply a token (all but the embeddings), L the number of layers, d their width,
    and c the mean number of tokens that a token attends to in documents of these lengths: half of the document, or half
    of the window if that is shorter.
    """
    seen = np.minimum(lengths, config["train_window"])
    context = float((lengths * seen).sum() / lengths.sum()) / 2
    return 6 * active + 12 * config["num_hidden_layers"] * config["hidden_size"] * context


@dataclass(frozen=True)
class Law:
    """The law of a rung: the fit or None, the AXES and number of points that it rests on, and a note for the reader."""

    fit: Fit | None
    axes: tuple[str, ...]
    points: int
    note: str

    def predict(self, parameters: np.ndarray, hours: np.ndarray) -> np.ndarray:
        """Bits per second at these active parameters and hours; an axis that was not fitted has no influence."""
        given = {"parameters": parameters, "hours": hours}
        return self.fit.predict(*(given[axis] for axis in self.axes))


def fit_law(rows: Sequence[dict[str, str]], confidence: float) -> Law:
    """Fit the law of one rung to its rows of scaling.csv.

    An axis with fewer than three values is left out, and only the points at its largest value are fitted. If both axes
    have fewer than three values, nothing is fitted.
    """
    values = {axis: np.array([float(row[column]) for row in rows]) for axis, (column, _, _) in AXES.items()}
    loss = np.array([float(row["valid_bits_per_second"]) for row in rows])
    varied = [axis for axis, x in values.items() if len(np.unique(x)) >= 3]
    kept = np.ones(len(loss), bool)
    notes = []
    for axis, x in values.items():
        if axis not in varied:
            kept &= x == x.max()
            notes.append(f"{axis}: fewer than three values")
    count = int(kept.sum())
    if not varied:
        return Law(None, (), count, "; ".join([*notes, "no fit"]))
    try:
        found = fit(loss[kept], [values[axis][kept] for axis in varied], confidence)
    except ValueError as error:
        return Law(None, (), count, "; ".join([*notes, f"no fit: {error}"]))
    if not found.dof:
        notes.append("as many parameters as points: no intervals")
    for axis, term in zip(varied, found.terms):
        if term.exponent is None:
            notes.append(f"{axis}: the loss does not fall with them")
        elif not LOWEST * 1.01 < term.exponent.value < HIGHEST / 1.01:
            notes.append(f"{axis}: no power law, its exponent is at the end of the searched range")
        elif found.dof and term.exponent.low is term.exponent.high is None:
            notes.append(f"{axis}: any exponent fits these points")
    return Law(found, tuple(varied), count, "; ".join(notes))


def write_fits(table: Path, out: Path, confidence: float) -> None:
    """Write `out` from scaling.csv: a row per rung, L = E + A N^-alpha + B D^-beta in bits per second of speech.

    N is the number of active parameters, D the hours of training speech. A cell is empty if the parameter was not
    fitted, or if the points do not bound this end of its interval.
    """
    rows, lines = read_csv(table, scaling_columns()), []
    for rung in dict.fromkeys(row["rung"] for row in rows):
        found = fit_law([row for row in rows if row["rung"] == rung], confidence)
        line = dict.fromkeys(FITS, "") | {"rung": rung, "points": found.points, "note": found.note}
        if found.fit:
            line |= _cells("E", found.fit.floor) | {"rmse_percent": fixed(100 * found.fit.rmse, 2)}
            for axis, term in zip(found.axes, found.fit.terms):
                _, coefficient, exponent = AXES[axis]
                if term.exponent:
                    line |= {coefficient: f"{term.coefficient:.4g}"} | _cells(exponent, term.exponent)
        lines.append(line)
    write_csv(out, FITS, lines)


def _cells(name: str, interval: Interval) -> dict[str, str]:
    cells = zip(interval_columns(name), (interval.value, interval.low, interval.high))
    return {column: fixed(value, 4) for column, value in cells}
