"""What the reader of the tables must know, as sentences computed from them. Imports no numpy."""

from collections.abc import Sequence
from pathlib import Path

from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS

Row = dict[str, str]
TYPES = ("rung", "task", "type", "norm", "n", "accuracy", "low", "high", "below_chance")
FACTORS = ("factor", "task", "norm", "from_rung", "floor")
CHANGE = ("task", "norm", "from_level", "to_level", *interval_columns("change"), "apart", "floor")
SHARE = (
    "of",
    "task",
    "norm",
    *(c for name in ("c", "given_back", "recovered") for c in interval_columns(name)),
    "floor",
)


def seeds_note(rows: Sequence[Row]) -> str:
    """What the intervals of table.csv hold, by the number of models of each rung."""
    fewest = min((int(row["seeds"]) for row in rows), default=0)
    if fewest > 1:
        return (
            f"The intervals hold items and seeds: {fewest} models per rung, all of one machine. Another kind "
            "of CPU rounds bf16 differently, which acts like another seed."
        )
    return (
        "The intervals hold the items only: one model per rung cannot tell what another seed gives, nor another kind "
        "of CPU, which rounds bf16 differently. make table SEEDS=3 gives intervals over items and seeds."
    )


def twos_note(rows: Sequence[Row]) -> list[str]:
    """The accuracy over single pairs of each task that is scored over crossed twos (by the sum)."""
    found = []
    for name, task in TASKS.items():
        if any(row[f"{name}_{norm}"] != row[f"{name}_pairwise_{norm}"] for row in rows for norm in NORMS):
            single = ", ".join(f"{row['rung']} {row[f'{name}_pairwise_sum']}" for row in rows)
            found.append(f"{task.short_title} counts crossed twos; by single pairs, the field's figure: {single}.")
    return found


def types_notes(results: Path) -> list[str]:
    """A line for each type of a task that a rung has below chance, with its interval, and how to read them."""
    rows = read_csv(results / "types.csv", TYPES)
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["below_chance"] == "true":
            cell = f"{row['norm']} {row['accuracy']} [{row['low']}, {row['high']}]"
            found.setdefault((row["rung"], row["task"], row["type"]), []).append(f"{cell}, n {row['n']}")
    if not found:
        return []
    lines = [f"  {rung}, {TASKS[task].short_title}, {kind}: {'; '.join(c)}" for (rung, task, kind), c in found.items()]
    return [
        f"Below chance by type ({len(rows)} cells of types.csv; at 95 %, 1 in 40 of those at chance is so by luck):",
        *lines,
    ]


def floor_notes(results: Path) -> list[str]:
    """Which steps start at the floor (by the sum), a line per task."""
    starts: dict[str, list[str]] = {}
    for row in read_csv(results / "factors.csv", FACTORS):
        if row["floor"] == "true" and row["norm"] == "sum":
            starts.setdefault(row["task"], []).append(f"{row['factor']} (from {row['from_rung']})")
    return [
        f"{TASKS[task].short_title}: {', '.join(steps)} {'start' if len(steps) > 1 else 'starts'} at the floor."
        for task, steps in starts.items()
    ]


def variability_notes(change: Path) -> list[str]:
    """Whether factor C differs between the lowest and the highest level of variability, a sentence per task (sum)."""
    found = []
    for row in read_csv(change, CHANGE):
        if row["norm"] == "sum":
            value, low, high = (row[name] for name in interval_columns("change"))
            apart = "are apart" if row["apart"] == "true" else "are not apart"
            floor = "; phone-repeat is at the floor" if row["floor"] == "true" else ""
            found.append(
                f"{TASKS[row['task']].short_title}: levels {row['from_level']} and {row['to_level']} {apart}: "
                f"C changes by {value} points [{low}, {high}]{floor}."
            )
    return found


def causes_notes(share: Path) -> list[str]:
    """How much of factor C one flat voice gives back, a sentence per task and kind of speech (sum)."""
    found = []
    for row in read_csv(share, SHARE):
        if row["norm"] == "sum":
            speech = "the run's speech" if row["of"] == "run" else "speech with every cause"
            whole, points, percent = (_interval(row, name) for name in ("c", "given_back", "recovered"))
            part = f", {percent} % of it" if percent else ""
            why = "; phone-repeat is at the floor" if row["floor"] == "true" else ""
            found.append(
                f"{TASKS[row['task']].short_title}, {speech}: C is {whole} points, and one flat voice gives back "
                f"{points}{part}{why}."
            )
    return found


def _interval(row: Row, name: str) -> str:
    """'3.0 [1.2, 4.9]', or nothing for an empty cell."""
    value, low, high = (row[column] for column in interval_columns(name))
    return f"{value} [{low}, {high}]" if value else ""
