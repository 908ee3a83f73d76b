"""The steps of the ladder (the factors A, B and C of arXiv 2412.17048): what each costs, pair by pair."""

from pathlib import Path
from typing import Any

from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.factors import COLUMNS
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.report.findings import ALPHA
from speechladder.report.looks import NORM_LABELS
from speechladder.report.notes import Row
from speechladder.report.page.charts import Scale, intervals, rung_marks
from speechladder.report.page.numbers import cell, signed
from speechladder.report.page.section import Chart, Section, Table
from speechladder.report.page.sections.finding import MEANING

FAINT = 0.35  # opacity of a step that starts at the floor
HOVER = (("step", "step"), ("shown", "change"), ("tested", "p (Holm)"), ("paper", "the paper"))


def section(results: Path) -> Section | None:
    """A panel for each task, what the steps are, and a table; None if no two neighbouring rungs are in the run."""
    rows = read_csv(results / "factors.csv", COLUMNS)
    if not rows:
        return None
    steps = {row["factor"]: (row["from_rung"], row["to_rung"], MEANING.get(row["factor"], "")) for row in rows}
    context = {
        "charts": charts(rows),
        "steps": steps,
        "numbers": numbers(rows),
        "floor": any(row["floor"] == "true" for row in rows),
        "alpha": ALPHA,
        "paper": any(paper_change(row) is not None for row in rows),
    }
    return Section("What each step costs", "steps", "steps.html.j2", context)


def paper_change(row: Row) -> float | None:
    """The change in points between the accuracies that the paper reports for the two rungs of a step."""
    paper = TASKS[row["task"]].paper
    ends = paper.get(row["from_rung"]), paper.get(row["to_rung"])
    return None if None in ends else round(ends[1] - ends[0], 1)


def charts(rows: list[Row]) -> list[Chart]:
    """A chart of the changes on each task."""
    factors = list(dict.fromkeys(row["factor"] for row in rows))
    marks = rung_marks(list(dict.fromkeys(row["to_rung"] for row in rows)))
    found = []
    for name, task in TASKS.items():
        records = [record(row) for row in rows if row["task"] == name]
        label = (
            f"Change of accuracy in points on {task.title} at each step with its interval; the figures are in a table."
        )
        chart = (f"steps-{name}", task.title, label)
        found.append(intervals(chart, records, rows=factors, marks=marks, scale=change_scale(rows), hover=HOVER))
    return found


def change_scale(rows: list[Row]) -> Scale:
    """An axis of changes that is the same for all tasks."""
    ends = [float(row[name]) for row in rows for name in ("difference_low", "difference_high")]
    ends += [change for row in rows if (change := paper_change(row)) is not None]
    references = [(0, "no change")]
    return Scale("change, percentage points", min([*ends, -5]) - 2, max([*ends, 5]) + 2, references=references)


def record(row: Row) -> dict[str, Any]:
    """A row of factors.csv as a record of a chart."""
    value, low, high = (float(row[column]) for column in interval_columns("difference"))
    return {
        "label": row["factor"],
        "series": row["to_rung"],
        "norm": row["norm"],
        "value": value,
        "low": low,
        "high": high,
        "text": signed(value),
        "step": f"{row['factor']}: {row['from_rung']} → {row['to_rung']}",
        "shown": f"{cell(row, 'difference')} points, {NORM_LABELS[row['norm']]}",
        "tested": row["p_holm"],
        "paper": paper_change(row),
        "opacity": FAINT if row["floor"] == "true" else 1,
    }


def numbers(rows: list[Row], name: str = "") -> Table:
    """The steps with all scores of each task, a line for each."""
    of = {(row["factor"], row["task"], row["norm"]): row for row in rows}
    cells = [(task, norm) for task in TASKS for norm in NORMS]
    head = ["step", "from", "to", *(f"{TASKS[task].short_title}, {norm}" for task, norm in cells)]
    lines = []
    for factor in dict.fromkeys(row["factor"] for row in rows):
        row = of[factor, *cells[0]]
        shown = [_cell(of[factor, *name]) for name in cells]
        lines.append([factor, row["from_rung"], row["to_rung"], *shown])
    return Table(
        f"{name}change of accuracy in points, with its interval and p after Holm", head, lines, frozenset({1, 2})
    )


def _cell(row: Row) -> str:
    return f"{cell(row, 'difference')}, p {row['p_holm']}" + ", from chance" * (row["floor"] == "true")
