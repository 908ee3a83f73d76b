"""The ladder: the accuracy of each rung on each task with its interval, and the perplexity of its continuations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechladder.analysis import baselines
from speechladder.analysis.continuation import COLUMNS as CONTINUATION
from speechladder.analysis.continuation import PAPER
from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.table import table_columns
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.report.looks import NORM_LABELS
from speechladder.report.notes import Row, floor_notes, seeds_note, twos_note, types_notes
from speechladder.report.page.charts import Record, Scale, intervals, rung_marks
from speechladder.report.page.numbers import cell, number, short
from speechladder.report.page.section import Chart, Section, Table

PPL_HOVER = (
    ("label", "rung"),
    ("shown", "perplexity"),
    ("ceiling", "ceiling of its path"),
    ("babble", "babble"),
    ("paper", "the paper"),
)
HOVER = (("label", "rung"), ("shown", "accuracy"), ("paper", "the paper"), ("passes", "passes over the data"))


def section(results: Path) -> Section:
    """A panel for each task and one for continuation, and a table of the figures."""
    rows = read_csv(results / "table.csv", table_columns())
    continuation = continuation_charts(results / "continuation.csv", rows)
    context = {
        "charts": [*task_charts(rows), *continuation],
        "continuation": bool(continuation),
        "numbers": numbers(rows),
        "baselines": baselines_table(results / "baselines.csv"),
        "paper": any(row["rung"] in task.paper for row in rows for task in TASKS.values()),
        "notes": [seeds_note(rows), *twos_note(rows), *floor_notes(results)],
        "types": types_notes(results),
    }
    return Section("The ladder", "ladder", "ladder.html.j2", context)


def task_charts(rows: Sequence[Row]) -> list[Chart]:
    """A chart of the accuracies on each task, with the paper's."""
    rungs = [row["rung"] for row in rows]
    found = []
    for name, task in TASKS.items():
        records = [record(row, name, norm) for row in rows for norm in NORMS]
        label = f"Accuracy in percent on {task.title} of each rung with its interval; the figures are in the table."
        chart = (f"ladder-{name}", task.title, label)
        found.append(
            intervals(chart, records, rows=rungs, marks=rung_marks(rungs), scale=accuracy_scale(records), hover=HOVER)
        )
    return found


def accuracy_scale(records: Sequence[Record]) -> Scale:
    """Accuracies from a round number below all of them to 100, with chance."""
    papers = [r["paper"] for r in records if r.get("paper") is not None]
    least = min([50.0, *(r["low"] for r in records), *papers])
    return Scale("accuracy, %", 10 * (least // 10) - (2 if least % 10 < 2 else 0), 100, references=[(50, "chance")])


def record(row: Row, task: str, norm: str) -> dict[str, Any]:
    """A cell of table.csv as a record of a chart."""
    name = f"{task}_{norm}"
    value, low, high = (float(row[column]) for column in interval_columns(name))
    return {
        "label": row["rung"],
        "series": row["rung"],
        "norm": norm,
        "value": value,
        "low": low,
        "high": high,
        "text": f"{value:.1f}",
        "shown": f"{cell(row, name)} %, {NORM_LABELS[norm]}",
        "paper": TASKS[task].paper.get(row["rung"]),
        "passes": row["passes"],
    }


def continuation_charts(path: Path, table: Sequence[Row]) -> list[Chart]:
    """A chart of the perplexities between ceiling and floor; none if no rung has continuations."""
    known = {row["rung"]: row for row in read_csv(path, CONTINUATION)} if path.is_file() else {}
    rows = [known[row["rung"]] for row in table if known.get(row["rung"], {}).get("ppl")]
    if not rows:
        return []
    records, rungs = [perplexity_record(row) for row in rows], [row["rung"] for row in rows]
    marks = [(float(rows[0]["text_ceiling"]), "true text"), (float(rows[0]["floor"]), "shuffled")]
    title = "Continuation (perplexity, better to the left)"
    label = "Perplexity per word of each rung's continuations with its interval; the figures are in the table."
    chart = ("ladder-continuation", title, label)
    scale = perplexity_scale(records, marks)
    return [intervals(chart, records, rows=rungs, marks=rung_marks(rungs), scale=scale, hover=PPL_HOVER)]


def perplexity_scale(records: Sequence[Record], marks: Sequence[tuple[float, str]]) -> Scale:
    """Perplexities on a logarithmic axis that holds all of them."""
    ends = [r[name] for r in records for name in ("low", "high", "paper", "ceiling") if r.get(name) is not None]
    ends += [at for at, _ in marks]
    return Scale("perplexity per word", min(ends) / 1.3, max(ends) * 1.3, log=True, references=marks)


def perplexity_record(row: Row) -> dict[str, Any]:
    """A row of continuation.csv as a record of a chart."""
    value, low, high = (number(row[column]) for column in interval_columns("ppl"))
    return {
        "label": row["rung"],
        "series": row["rung"],
        "value": value,
        "low": low or value,
        "high": high or value,
        "text": short(value),
        "shown": f"{short(value)} [{short(low)}, {short(high)}]",
        "paper": PAPER.get(row["rung"]),
        "ceiling": number(row["ceiling"]),
        "babble": short(number(row["babble"])),
    }


def numbers(rows: Sequence[Row], name: str = "") -> Table:
    """The whole of table.csv but for single pairs, a line for each rung."""
    head = ["rung", "models", "vocabulary", "tokens/s", "passes", "valid. bits/s"]
    head += [f"{task.short_title}, {norm}" for task in TASKS.values() for norm in NORMS] + ["continuation PPL"]
    facts = ("rung", "seeds", "vocab_size", "tokens_per_second", "passes", "valid_bits_per_second")
    lines = [
        [
            *(row[name] for name in facts),
            *(cell(row, f"{task}_{norm}") for task in TASKS for norm in NORMS),
            cell(row, "ppl"),
        ]
        for row in rows
    ]
    return Table(f"{name}accuracies in percent with their intervals", head, lines)


def baselines_table(path: Path) -> Table | None:
    """What each rung's tokens tell without a language model; None without the table."""
    if not path.is_file():
        return None
    rows = read_csv(path, baselines.COLUMNS)
    of = {(row["rung"], row["task"], row["baseline"]): row["sum"] for row in rows}
    names = [(task, name) for task in TASKS for name in baselines.BASELINES]
    head = ["rung", *(f"{TASKS[task].short_title}, {name}" for task, name in names)]
    lines = [
        [rung, *(of.get((rung, *name), "") or "–" for name in names)] for rung in dict.fromkeys(r["rung"] for r in rows)
    ]
    return Table("What a rung's tokens tell without a language model: accuracy in percent, summed", head, lines)
