"""results/variability.csv and variability_change.csv: the rungs of factor C at each level of the world's variability.

A level is a whole run on a world of this variability. Factor C is the step from phone-repeat to speech-hubert of that
run: units in place of phones, paired over its ids. phone-repeat is trained again at each level, since the durations
that it spells out are those of the level's voices.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from speechladder.analysis.accuracy import Estimate, generator
from speechladder.analysis.csv_tables import accuracy_columns, interval_columns, percent_cells, read_csv, write_csv
from speechladder.analysis.factors import COLUMNS as FACTORS
from speechladder.analysis.factors import STEPS, estimate_jointly
from speechladder.analysis.table import Scores, read_scores
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.settings import Analysis

FACTOR = "C"
DIFFERENCE = "C_points_"  # prefix of the columns of factor C in percentage points
_, BEFORE, AFTER = next(step for step in STEPS if step[0] == FACTOR)
SHOWN = ("rung", "valid_bits_per_second", *accuracy_columns())  # columns of table.csv
CHANGE_COLUMNS = ("task", "norm", "from_level", "to_level", "ids", *interval_columns("change"), "apart", "floor")


def variability_columns() -> tuple[str, ...]:
    """The columns of variability.csv, with those of every registered task."""
    return ("variability", *SHOWN, *accuracy_columns(DIFFERENCE))


def write_variability(runs: Iterable[tuple[int, Path]], out: Path) -> None:
    """Write `out` from (variability level, results folder): rows by level, then in the order of the level's table.

    Factor C, in percentage points, stands in the rows of the second rung of its step. Raises UserError that names a
    table that is missing or lacks a column.
    """
    rows = []
    for level, results in sorted(runs):
        steps = {
            f"{DIFFERENCE}{row['task']}_{row['norm']}": [row[name] for name in interval_columns("difference")]
            for row in read_csv(results / "factors.csv", FACTORS)
            if row["factor"] == FACTOR
        }
        cells = {c: v for name, values in steps.items() for c, v in zip(interval_columns(name), values)}
        blank = dict.fromkeys(accuracy_columns(DIFFERENCE), "")
        for row in read_csv(results / "table.csv", SHOWN):
            own = {"variability": str(level)} | {name: row[name] for name in SHOWN}
            rows.append(own | (blank | cells if row["rung"] == AFTER else blank))
    write_csv(out, variability_columns(), rows)


def write_change(
    runs: Iterable[tuple[int, Path]], out: Path, seed: int, analysis: Analysis, split: str | None = None
) -> None:
    """Write `out`: by how many points factor C at the highest level differs from factor C at the lowest level.

    `apart` is true if the interval, as printed, does not hold 0. `floor` is true if the step starts at the floor at one
    of the two levels, where a change cannot show in full. Raises UserError if the levels share no id.
    """
    found = sorted(runs)
    (low, first), (high, last) = found[0], found[-1]
    starts, ends = (read_scores(results, [BEFORE, AFTER], split) for results in (first, last))
    floors = {
        (row["task"], row["norm"])
        for results in (first, last)
        for row in read_csv(results / "factors.csv", FACTORS)
        if row["factor"] == FACTOR and row["floor"] == "true"
    }
    rows = []
    for task in TASKS:
        for norm in NORMS:
            random = generator(seed, "variability", task, norm)
            try:
                ids, change = change_of_factor(starts, ends, task, norm, analysis, random)
            except ValueError:
                raise UserError(f"{first} and {last}: the scores of {task} share no id; make both runs again") from None
            cells = percent_cells("change", change)
            apart = float(cells["change_low"]) > 0 or float(cells["change_high"]) < 0
            facts = {"task": task, "norm": norm, "from_level": low, "to_level": high, "ids": ids}
            flags = {"apart": str(apart).lower(), "floor": str((task, norm) in floors).lower()}
            rows.append(facts | cells | flags)
    write_csv(out, CHANGE_COLUMNS, rows)


def change_of_factor(
    starts: Scores, ends: Scores, task: str, norm: str, analysis: Analysis, random: np.random.Generator
) -> tuple[int, Estimate]:
    """The number of ids that all four rungs scored, and C of `ends` less C of `starts`, a share in [-2, 2].

    Each resample draws the ids once for all four, and seeds for each of them. Raises ValueError without a shared id.
    """
    four = [scores[rung, task].outcomes(norm) for scores in (starts, ends) for rung in (BEFORE, AFTER)]
    signs = np.array([[1, -1, -1, 1]])
    ids, (change,) = estimate_jointly(four, lambda means: signs @ means, analysis, random)
    return ids, Estimate(change.value, max(change.low, -2.0), min(change.high, 2.0))
