"""Accuracy by layer and against the tokens that were seen in training (the paper's figures 1 to 3)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.curves import LAYERS_COLUMNS, LEARNING_COLUMNS
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.report.notes import Row
from speechladder.report.page import charts
from speechladder.report.page.section import Chart, Section, Table


def layers(results: Path) -> Section | None:
    """The accuracy of each layer through the final norm and the head; None if layers were not scored."""
    rows = read_csv(results / "layers.csv", LAYERS_COLUMNS)
    text = (
        "Each layer's output goes through the final norm and the output head and is scored like that of the whole "
        "model. Layer 0 is the embedding."
    )
    return _section(rows, "layer", "Layers", "layers", text, "layer")


def learning(results: Path) -> Section | None:
    """The accuracy against training tokens; None if the curve was not scored."""
    rows = [row for row in read_csv(results / "learning.csv", LEARNING_COLUMNS) if float(row["train_tokens"]) > 0]
    text = (
        "Snapshots of the training, scored on a part of the pairs. The last point of a curve is the kept model on "
        "that part, so that it may differ from the ladder above."
    )
    return _section(rows, "train_tokens", "Learning curves", "learning", text, "training tokens")


def _section(rows: Sequence[Row], column: str, title: str, anchor: str, text: str, x: str) -> Section | None:
    if not rows:
        return None
    marks = charts.rung_marks(list(dict.fromkeys(row["rung"] for row in rows)))
    context = {
        "text": text,
        "marks": marks,
        "charts": [_chart(rows, task, marks, column, anchor, x) for task in TASKS],
        "numbers": _numbers(rows, column, x, title),
    }
    return Section(title, anchor, "curves.html.j2", context)


def _chart(rows: Sequence[Row], task: str, marks: list[charts.Mark], column: str, anchor: str, x: str) -> Chart:
    records = [_record(row, column) for row in rows if row["task"] == task]
    title = TASKS[task].title
    label = f"Accuracy in percent on {title} against {x}, a line for each rung; the figures are in the table."
    chart = (f"{anchor}-{task}", title, label)
    return charts.curves(chart, records, marks=marks, x=x, log=column == "train_tokens")


def _record(row: Row, column: str) -> dict[str, Any]:
    value, low, high = (float(row[name]) for name in ("accuracy", "low", "high"))
    return {
        "series": row["rung"],
        "norm": row["norm"],
        "x": float(row[column]),
        "at": _shown(row[column], column),
        "value": value,
        "low": low,
        "high": high,
        "text": f"{_cell(row)} %",
    }


def _shown(text: str, column: str) -> str:
    return f"{int(text):,}" if column == "train_tokens" else text


def _numbers(rows: Sequence[Row], column: str, x: str, title: str) -> Table:
    of = {(row["rung"], row[column], row["task"]): row for row in rows if row["norm"] == "sum"}
    places = dict.fromkeys((row["rung"], row[column]) for row in rows)
    lines = [[rung, _shown(at, column), *(_cell(of.get((rung, at, task))) for task in TASKS)] for rung, at in places]
    return Table(
        f"{title}: accuracy in percent by the sum", ["rung", x, *(t.short_title for t in TASKS.values())], lines
    )


def _cell(row: Row | None) -> str:
    return f"{row['accuracy']} [{row['low']}, {row['high']}]" if row else "–"
