"""Rows of results/questions.csv that quote other tables of the run: the dial of variability, and seeds of k-means.

These tables are no inputs of the rule. They are quoted if they are there, as they are. Their rows have no p-value, so
that whether they are there changes no other row.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.questions import COLUMNS
from speechladder.analysis.units_sweep import sweep_columns
from speechladder.analysis.variability import AFTER, BEFORE, CHANGE_COLUMNS, DIFFERENCE, variability_columns
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.settings import Point


def quoted_rows(results: Path, own: Point) -> Iterator[dict[str, str]]:
    """Yield the rows of the dial and of the seeds of k-means; `own` is the run's own choice of units."""
    if (results / "variability_change.csv").is_file():
        yield from _dial(results)
    if (results / "units_sweep.csv").is_file():
        yield from _kmeans(results, own)


def _row(folder: Path, **cells: str) -> dict[str, str]:
    """A row with these cells; `folder` has the models of speech-hubert, which are counted."""
    models = len(list((folder / "lm" / AFTER).glob("seed*/train.json")))
    counted = {"seeds": str(models), "one_seed": str(models == 1).lower()} if models else {}
    return dict.fromkeys(COLUMNS, "") | counted | cells


def _interval(name: str, row: dict[str, str], source: str) -> dict[str, str]:
    return dict(zip(interval_columns(name), (row[column] for column in interval_columns(source)), strict=True))


def _dial(results: Path) -> Iterator[dict[str, str]]:
    """Factor C at the lowest and at the highest level of variability, and how they differ."""
    changes = read_csv(results / "variability_change.csv", CHANGE_COLUMNS)
    rows = [r for r in read_csv(results / "variability.csv", variability_columns()) if r["rung"] == AFTER]
    levels = {row["variability"]: row for row in rows}
    for change in changes:
        task, norm = change["task"], change["norm"]
        of = {"question": "OQ3", "task": task, "norm": norm}
        for level in (change["from_level"], change["to_level"]):
            row = levels[level]
            yield _row(
                results / "variability" / level / "results",
                **of,
                arm=f"variability-{level}",
                answers=f"C at variability {level} (quoted)",
                base=f"{BEFORE} of variability-{level}",
                valid_bits_per_second=row["valid_bits_per_second"],
                **_interval("accuracy", row, f"{task}_{norm}"),
                **_interval("difference", row, f"{DIFFERENCE}{task}_{norm}"),
            )
        low, high = change["from_level"], change["to_level"]
        yield _row(
            results / "variability" / high / "results",
            **of,
            arm=f"variability-{low}-{high}",
            answers=f"C at variability {high} less C at variability {low} (quoted)",
            base=f"C at variability {low}",
            ids=change["ids"],
            floor=change["floor"],
            **_interval("difference", change, "change"),
        )


def _kmeans(results: Path, own: Point) -> Iterator[dict[str, str]]:
    """The accuracies of the run's own choice of units under other seeds of k-means."""
    for row in read_csv(results / "units_sweep.csv", sweep_columns()):
        point = Point.parse(row["point"])
        if point == own or point._replace(seed=own.seed) != own or not row["valid_bits_per_second"]:
            continue
        for task, norm in product(TASKS, NORMS):
            yield _row(
                results / "units_sweep" / point.codebook,
                question="check",
                arm=f"kmeans-seed{point.seed}",
                answers="another seed of k-means (quoted)",
                task=task,
                norm=norm,
                **{name: row[name] for name in ("units_per_second", "pnmi", "valid_bits_per_second")},
                **_interval("accuracy", row, f"{task}_{norm}"),
            )
