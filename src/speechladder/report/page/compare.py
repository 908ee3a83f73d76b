"""Several runs on one page: the page of a run laid over others, with differences to the first of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from speechladder.analysis.compare import compare_run, run_settings
from speechladder.analysis.continuation import COLUMNS as CONTINUATION
from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.factors import COLUMNS as FACTORS
from speechladder.analysis.table import table_columns
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.report.findings import claimed, size
from speechladder.report.looks import NORM_LABELS
from speechladder.report.notes import Row
from speechladder.report.page.build import write
from speechladder.report.page.charts import Scale, intervals, run_colours, run_marks
from speechladder.report.page.numbers import cell, listed, signed
from speechladder.report.page.section import Chart, Section, Table
from speechladder.report.page.sections import ladder, steps, units
from speechladder.report.page.sections.finding import subject
from speechladder.report.page.sections.run import flat, shown, trained_at
from speechladder.settings import Analysis, Settings, tracked

TEMPLATE = "overlay.html.j2"
HOVER = (("series", "run"), ("label", "row"), ("shown", "value"))


class Run(NamedTuple):
    """A run: its name on the page, and its folder."""

    name: str
    results: Path


def write_comparison(runs: list[Path], /, analysis: Analysis, out: Path = Path("compare.html"), seed: int = 0) -> None:
    """Write a page that lays runs over one another, with the differences of each to the first.

    Raises UserError if there are fewer than two runs, or if one of them has no table.

    Args:
        runs: folders of runs, each with a table.csv
        out: the page
        seed: seed of the resampling
    """
    if len(runs) < 2:
        raise UserError("give the folders of two runs or more, such as A/results B/results")
    named = name_runs(runs)
    found = [compare_run(named[0].results, run.results, analysis, seed) for run in named[1:]]
    parts = [intro(named, [rows for rows, _ in found]), settings(named), overlay(named)]
    parts += [differences(named, found), step_overlay(named, [rows for _, rows in found]), *beside(named)]
    title = f"speechladder: {len(named)} runs"
    write(out, [part for part in parts if part], run_colours([run.name for run in named]), title)


def name_runs(runs: Sequence[Path]) -> list[Run]:
    """A letter and the folder's name for each run; the name of the folder above where it is called results."""
    names = [(path.resolve().parent if path.resolve().name == "results" else path.resolve()).name for path in runs]
    letters = [ascii_uppercase[at] if at < 26 else str(at + 1) for at in range(len(runs))]
    return [Run(f"{letter} {name}", path) for letter, name, path in zip(letters, names, runs)]


def intro(runs: Sequence[Run], found: Sequence[Sequence[Row]]) -> Section:
    """Which runs these are, and what can be claimed of their differences."""
    sentences = [against(runs[0].name, run.name, rows) for run, rows in zip(runs[1:], found)]
    note = (
        "A difference is claimed if its interval lacks 0 and its p-value, adjusted over the rungs of a task, is below "
        "0.05. The intervals hold the items, and the seeds of runs that have several models of a rung."
    )
    return Section("The comparison", "comparison", "finding.html.j2", {"sentences": sentences, "note": note})


def against(base: str, name: str, rows: Sequence[Row]) -> str:
    """What a run loses and gains against the first, as a sentence on the sum of the log-likelihoods."""
    paired = [row for row in rows if row["norm"] == "sum" and row["difference"]]
    if not paired:
        return f"{name} has other items than {base}, so that nothing is paired and no difference is claimed."
    seen = [(claimed(row | {"one_seed": "false"}), row) for row in paired]
    said = [
        f"{'gains' if sign > 0 else 'loses'} {size(row, sign)} points on {subject(row['task'])} ({row['rung']})"
        for sign, row in seen
        if sign
    ]
    ids = sorted({int(row["ids"]) for row in paired})
    over = f"{ids[0]:,} to {ids[-1]:,}" if len(ids) > 1 else f"{ids[0]:,}"
    count = f"{len(paired)} comparisons of a rung on a task, each over the {over} pairs that both have"
    if not said:
        return f"No difference between {name} and {base} can be claimed in any of {count}."
    rest = len(paired) - len(said)
    more = f"; for the other {rest} of {count} no difference is claimed" if rest else ""
    return f"Against {base}, {name} {listed(said)}{more}."


def settings(runs: Sequence[Run]) -> Section:
    """The settings that are not the same in all runs, and where the runs lie.

    A field that a record lacks, because an older version wrote it, counts as its default.
    """
    usual = flat(tracked(Settings()))
    records = [run_settings(run.results) for run in runs]
    every = [usual | flat(record) if record else {} for record in records]
    names = sorted(set().union(*every))
    rows = []
    for name in names:
        values = [shown(one[name]) if name in one else "–" for one in every]
        if len(set(values)) > 1:
            rows.append([name, *values])
    head = ["setting", *(run.name for run in runs)]
    table = Table("Settings that differ", head, rows, frozenset(range(1, len(head)))) if rows else None
    lines = [[run.name, str(run.results), trained_at(run.results) or "–"] for run in runs]
    folders = Table("The runs", ["run", "folder", "models trained at commit"], lines, frozenset({1, 2}))
    text = "" if rows else "The recorded settings of these runs are the same."
    return _section("What differs", "settings", text, tables=[folders, *([table] if table else [])])


def _section(title: str, anchor: str, text: str, **more: Any) -> Section:
    """A section of the overlay: a text, and as it applies switches, a legend, charts, open tables and closed ones."""
    context = {"text": text, "where": anchor, "norm": False, "marks": (), "charts": (), "kind": "two"}
    return Section(title, anchor, TEMPLATE, context | {"tables": (), "numbers": ()} | more)


def overlay(runs: Sequence[Run]) -> Section:
    """The accuracy of each rung on each task in every run, and the perplexities."""
    rows = {run.name: read_csv(run.results / "table.csv", table_columns()) for run in runs}
    rungs = list(dict.fromkeys(row["rung"] for found in rows.values() for row in found))
    charts = []
    for name, task in TASKS.items():
        records = [
            ladder.record(row, name, norm) | {"series": run, "paper": None}
            for run, found in rows.items()
            for row in found
            for norm in NORMS
        ]
        label = f"Accuracy in percent on {task.title} of each rung in every run; the figures are in the table."
        charts.append(_chart(f"ladder-{name}", task.title, label, records, rungs, runs, ladder.accuracy_scale(records)))
    charts += _perplexities(runs, rungs)
    tables = [ladder.numbers(found, f"{run}: ") for run, found in rows.items()]
    text = "Every rung in every run, each with its own interval."
    return _section("The ladder", "ladder", text, norm=True, marks=_marks(runs), charts=charts, numbers=tables)


def _perplexities(runs: Sequence[Run], rungs: Sequence[str]) -> list[Chart]:
    records = []
    for run in runs:
        path = run.results / "continuation.csv"
        rows = read_csv(path, CONTINUATION) if path.is_file() else []
        records += [
            ladder.perplexity_record(row) | {"series": run.name, "paper": None, "ceiling": None}
            for row in rows
            if row["ppl"] and row["rung"] in rungs
        ]
    if not records:
        return []
    there = [rung for rung in rungs if any(record["label"] == rung for record in records)]
    label = "Perplexity per word of each rung's continuations in every run; the figures are in the table."
    scale = ladder.perplexity_scale(records, [])
    return [_chart("ladder-continuation", "Continuation (perplexity)", label, records, there, runs, scale)]


def _chart(
    name: str, title: str, label: str, records: list[dict[str, Any]], rows: list[str], runs: Sequence[Run], scale: Scale
) -> Chart:
    marks = _marks(runs)
    chart = (name, title, label)
    return intervals(chart, records, rows=rows, marks=marks, scale=scale, hover=HOVER, side_by_side=True)


def _marks(runs: Sequence[Run]) -> list[Any]:
    return run_marks([run.name for run in runs])


def differences(runs: Sequence[Run], found: Sequence[tuple[list[Row], list[Row]]]) -> Section | None:
    """The paired differences of each run to the first; None if no item is the same."""
    rows = [(run.name, row) for run, (own, _) in zip(runs[1:], found) for row in own if row["difference"]]
    if not rows:
        return None
    others, rungs = runs[1:], list(dict.fromkeys(row["rung"] for _, row in rows))
    ends = [float(row[column]) for _, row in rows for column in interval_columns("difference")]
    scale = Scale(
        "difference, percentage points", min([*ends, -5]) - 2, max([*ends, 5]) + 2, references=[(0, "no difference")]
    )
    charts = []
    marks = [mark for mark in _marks(runs) if mark.name != runs[0].name]
    for name, task in TASKS.items():
        records = [_difference(run, row, row["rung"]) for run, row in rows if row["task"] == name]
        label = f"Difference in points on {task.title} to {runs[0].name}; the figures are in the table."
        chart = (f"differences-{name}", task.title, label)
        charts.append(
            intervals(chart, records, rows=rungs, marks=marks, scale=scale, hover=HOVER, side_by_side=len(others) > 1)
        )
    text = f"Each rung against the same rung of {runs[0].name}, pair by pair, over the items that are the same."
    tables = [_table(run.name, [row for name, row in rows if name == run.name]) for run in others]
    tables = [table for table in tables if table.rows]
    return _section(
        "Differences", "differences", text, norm=True, marks=marks, charts=charts, kind="three", numbers=tables
    )


def _difference(run: str, row: Row, label: str) -> dict[str, Any]:
    value, low, high = (float(row[column]) for column in interval_columns("difference"))
    shown_value = f"{cell(row, 'difference')} points, {NORM_LABELS[row['norm']]}"
    return {
        "label": label,
        "series": run,
        "norm": row["norm"],
        "value": value,
        "low": low,
        "high": high,
        "text": signed(value),
        "shown": shown_value,
    }


def _table(name: str, rows: Sequence[Row]) -> Table:
    of = {(row["rung"], row["task"], row["norm"]): row for row in rows}
    columns = [(task, norm) for task in TASKS for norm in NORMS]
    head = ["rung", "ids", *(f"{TASKS[task].short_title}, {norm}" for task, norm in columns)]
    lines = []
    for rung in dict.fromkeys(row["rung"] for row in rows):
        known = [of.get((rung, *column)) for column in columns]
        ids = "/".join(dict.fromkeys(row["ids"] for row in known if row))
        lines.append([rung, ids, *(f"{cell(row, 'difference')}, p {row['p_holm']}" if row else "–" for row in known)])
    return Table(f"{name}: difference in points, with its interval and p after Holm", head, lines)


def step_overlay(runs: Sequence[Run], changes: Sequence[Sequence[Row]]) -> Section | None:
    """The steps of every run side by side, and how they differ; None if no run has a step."""
    rows = {run.name: read_csv(run.results / "factors.csv", FACTORS) for run in runs}
    every = [row for found in rows.values() for row in found]
    if not every:
        return None
    factors = list(dict.fromkeys(row["factor"] for row in every))
    charts = []
    for name, task in TASKS.items():
        records = [
            steps.record(row) | {"series": run, "paper": None}
            for run, found in rows.items()
            for row in found
            if row["task"] == name
        ]
        label = f"Change of accuracy in points on {task.title} at each step in every run; the figures are in the table."
        charts.append(_chart(f"steps-{name}", task.title, label, records, factors, runs, steps.change_scale(every)))
    tables = [steps.numbers(found, f"{run}: ") for run, found in rows.items() if found]
    tables += [_change_table(run.name, own) for run, own in zip(runs[1:], changes) if any(r["difference"] for r in own)]
    text = "What each step costs in every run. The last tables say how a step differs from that of the first run."
    return _section(
        "What each step costs",
        "steps",
        text,
        norm=True,
        marks=_marks(runs),
        charts=charts,
        kind="three",
        numbers=tables,
    )


def _change_table(name: str, rows: Sequence[Row]) -> Table:
    of = {(row["factor"], row["task"], row["norm"]): row for row in rows}
    columns = [(task, norm) for task in TASKS for norm in NORMS]
    head = ["step", *(f"{TASKS[task].short_title}, {norm}" for task, norm in columns)]
    lines = [
        [factor, *(cell(of[factor, *column], "difference") for column in columns)]
        for factor in dict.fromkeys(row["factor"] for row in rows)
    ]
    return Table(f"{name}: its steps less those of the first run, in points", head, lines)


def beside(runs: Sequence[Run]) -> list[Section]:
    """Lengths, units, costs and what was left out, as tables with a column for each run."""

    def table(caption: str, first: str, file: str, columns: Sequence[str], value: str) -> Table:
        rows = {run.name: read_csv(run.results / file, (*columns, value)) for run in runs}
        cells = {name: {": ".join(row[c] for c in columns): row[value] for row in own} for name, own in rows.items()}
        return _beside(caption, first, cells)

    parts = [
        ("Lengths", "lengths", table("Tokens per second of speech", "rung", "table.csv", ["rung"], "tokens_per_second"))
    ]
    quality = {run.name: units.figures(run.results) for run in runs}
    if any(quality.values()):
        parts.append(("Quality of the units", "units", _beside("Units and alignment", "figure", quality)))
    wall = table("Wall seconds of each stage, summed over its jobs", "stage", "costs.csv", ["stage"], "wall_seconds")
    left = table("Left out, by stage and reason", "stage and reason", "rejected.csv", ["stage", "reason"], "count")
    parts += [("Where the time went", "costs", wall), ("What was left out", "rejected", left)]
    return [_section(title, anchor, "", tables=[part]) for title, anchor, part in parts]


def _beside(caption: str, first: str, of: Mapping[str, Mapping[str, str]]) -> Table:
    names = list(dict.fromkeys(name for own in of.values() for name in own))
    return Table(caption, [first, *of], [[name, *(own.get(name, "–") for own in of.values())] for name in names])
