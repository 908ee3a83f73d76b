"""results/scaling.csv, scaling_fits.csv: loss and accuracies over sizes and shares of the data, and power laws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from speechladder.analysis.accuracy import NORMS, accuracy, generator, match_halves, of_split
from speechladder.analysis.csv_tables import fixed, percent, read_csv, write_csv
from speechladder.analysis.power_law import HIGHEST, LOWEST, Fit, Interval, fit
from speechladder.analysis.table import ACCURACIES
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import SCORES, TOKEN_INDEX, read_table
from speechladder.settings import TASKS, Analysis

FACTS = (
    *("rung", "size", "fraction", "seed", "parameters", "active_parameters", "hours", "data_tokens", "train_tokens"),
    *("passes", "flops", "stopped", "valid_bits_per_token", "valid_bits_per_second"),
)
COLUMNS = (*FACTS, *ACCURACIES)
AXES = {"parameters": ("active_parameters", "A", "alpha"), "hours": ("hours", "B", "beta")}
FITS = (
    *("rung", "points", "E", "E_low", "E_high", "A", "alpha", "alpha_low", "alpha_high"),
    *("B", "beta", "beta_low", "beta_high", "rmse_percent", "note"),
)


@dataclass(frozen=True)
class Point:
    """Where the files of a rung, size and fraction lie."""

    rung: str
    size: str
    fraction: float
    tokens: Path
    models: Sequence[Path]  # a seed each
    scores: Sequence[Path]  # a task of TASKS each


def write_scaling(points: Sequence[Point], out: Path, seed: int, analysis: Analysis, split: str | None = None) -> None:
    """Write `out` with a row for each model of each point, in their order; accuracies in percent.

    `hours` and `data_tokens` are of the training data, `train_tokens` what training read of it, passes included.
    Raises UserError naming a file that is missing, or of another rung or size than the rest of its point.
    """
    rows = []
    for point in points:
        meta, index = read_json(point.tokens / "meta.json"), read_table(point.tokens / "train.parquet", TOKEN_INDEX)
        lengths = index.column("length").to_numpy().astype(float)
        tables = [(task, path, read_table(path, SCORES)) for task, path in zip(TASKS, point.scores, strict=True)]
        for folder in point.models:
            about, config = read_json(folder / "train.json"), read_json(folder / "config.json")
            if (about["rung"], about["vocab_size"]) != (point.rung, meta["vocab_size"]):
                raise UserError(
                    f"{folder}: a model of {about['rung']}, not of {point.rung}'s tokens; delete it and run again"
                )
            active = about["parameters"] - config["vocab_size"] * config["hidden_size"]
            row = {
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
            }
            for task, path, table in tables:
                here = of_split(table.filter(pc.equal(table["seed"], about["seed"])), split, str(path))
                pairs = match_halves(here, f"{path}, seed {about['seed']}")
                for norm in NORMS:
                    # the run's own model has the interval of the table
                    rng = generator(seed, "table", point.rung, task, norm)
                    found = accuracy(pairs.outcomes(norm), analysis.confidence, analysis.resamples, rng)
                    row |= zip((f"{task}_{norm}{end}" for end in ("", "_low", "_high")), map(percent, found))
            rows.append(row)
    write_csv(out, COLUMNS, rows)


def token_flops(config: dict[str, Any], active: int, lengths: np.ndarray) -> float:
    """FLOP of training on one token, forward and backward: 6 P + 12 L d c.

    P parameters that a token is multiplied with (all but the embeddings), L layers of width d, c tokens that a token
    attends to on average in documents of these lengths, half of the document or of the window where that is shorter.
    """
    seen = np.minimum(lengths, config["train_window"])
    context = float((lengths * seen).sum() / lengths.sum()) / 2
    return 6 * active + 12 * config["num_hidden_layers"] * config["hidden_size"] * context


@dataclass(frozen=True)
class Law:
    """What was fitted to a rung, over which of AXES and how many points, and what is to be said of it."""

    fit: Fit | None
    axes: tuple[str, ...]
    points: int
    note: str

    def predict(self, parameters: np.ndarray, hours: np.ndarray) -> np.ndarray:
        """Bits per second at active parameters and hours; an axis that was not fitted is left out."""
        given = {"parameters": parameters, "hours": hours}
        return self.fit.predict(*(given[axis] for axis in self.axes))


def law(rows: Sequence[dict[str, str]], confidence: float) -> Law:
    """The law of one rung's rows of scaling.csv.

    An axis with fewer than three values is left out, and of the other axis only the points at its largest value are
    fitted; where both have fewer, nothing is.
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
            notes.append(f"{axis}: no power law, its exponent is at the end of what is looked at")
        elif found.dof and term.exponent.low is term.exponent.high is None:
            notes.append(f"{axis}: any exponent fits these points")
    return Law(found, tuple(varied), count, "; ".join(notes))


def write_fits(table: Path, out: Path, confidence: float) -> None:
    """Write `out` from scaling.csv: a row per rung, L = E + A N^-alpha + B D^-beta in bits per second of speech.

    N: active parameters; D: hours of training speech. Empty: not fitted, or an end that the points do not bound.
    """
    rows, lines = read_csv(table, COLUMNS), []
    for rung in dict.fromkeys(row["rung"] for row in rows):
        found = law([row for row in rows if row["rung"] == rung], confidence)
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
    ends = zip(("", "_low", "_high"), (interval.value, interval.low, interval.high))
    return {f"{name}{end}": "" if value is None else fixed(value, 4) for end, value in ends}
