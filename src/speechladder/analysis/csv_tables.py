"""The report's tables as CSV: fixed columns, fixed decimals, the same bytes for the same values."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import atomic


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows atomically, as UTF-8 with '\\n'; raise ValueError if the keys of a row are not the columns."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if set(row) != set(columns):
                raise ValueError(f"{path}: a row's keys are not the columns: {sorted(set(row) ^ set(columns))}")
            writer.writerow(row)


# Tables that another target makes beside its own.
_MADE_WITH = {
    "causes_share.csv": "causes.csv",
    "bit_budget.csv": "causes.csv",
    "variability_change.csv": "variability.csv",
}
_TARGETS = ("causes.csv", "questions.csv", "variability.csv", "units_sweep.csv", "scaling.csv")


def _target(path: str | Path) -> str:
    """The target of the workflow that makes a table."""
    name = _MADE_WITH.get(Path(path).name, Path(path).name)
    return f"results/{name if name in _TARGETS else 'table.csv'}"


def read_csv(path: str | Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV as strings; raises UserError that names the file and the first of `columns` that it lacks."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            rows, found = list(reader), reader.fieldnames or []
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run snakemake --cores all {_target(path)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as CSV ({error}); delete it and run again") from None
    for name in columns:
        if name not in found:
            raise UserError(f"{path}: column '{name}' is missing; delete the file and run again")
    return rows


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as percent: 0.853 is '85.3'; '' for None.

    One decimal is what some hundred items and 2,000 resamples support: the ends of an interval move by 0.1 to 0.2
    points with the random numbers.
    """
    return fixed(None if share is None else 100 * share, decimals)


def fixed(value: float | None, decimals: int) -> str:
    """`value` with this many decimals, without a minus sign before zero; '' for None and what is not finite."""
    if value is None or not math.isfinite(value):
        return ""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if not float(text) else text


def interval_columns(name: str) -> tuple[str, str, str]:
    """The columns of a value and of the ends of its interval.

    >>> interval_columns("ppl")
    ('ppl', 'ppl_low', 'ppl_high')
    """
    return name, f"{name}_low", f"{name}_high"


def accuracy_columns(prefix: str = "", kind: str = "") -> tuple[str, ...]:
    """A value with its interval for every registered task and norm, such as swuggy_sum, swuggy_sum_low, ..."""
    return tuple(c for task in TASKS for norm in NORMS for c in interval_columns(f"{prefix}{task}_{kind}{norm}"))


def percent_cells(name: str, interval: Sequence[float] | None) -> dict[str, str]:
    """A share and the ends of its interval in percent, under `interval_columns`; empty cells for None."""
    return dict(zip(interval_columns(name), map(percent, interval) if interval else ("", "", "")))
