"""The report's figures, drawn from its tables: SVG and PNG, the same bytes for the same tables.

Each `draw_*` writes {folder}/{name}.svg and .png and returns the figure. If its table has no rows, the figure says so.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, MultipleLocator

from speechladder.analysis import baselines, continuation, curves, factors
from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.lengths import token_quantiles
from speechladder.analysis.table import table_columns
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.report.style import (
    NORM_OFFSETS,
    REFERENCE,
    add_legend,
    draw_interval,
    floats,
    look,
    note_no_rows,
    open_figure,
    plain_ticks,
)

BASELINE_MARKS = dict(zip(baselines.BASELINES, "|1+x"))
BABBLE = {"color": "0.6", "marker": "x", "linestyle": "none", "markersize": 6.5, "zorder": 1, "clip_on": False}
FAINT = 0.35  # opacity of a step that starts at the floor


def draw_all(results: Path, folder: Path | None = None) -> None:
    """Draw the report's figures (SVG and PNG) from the tables of a run.

    Raises UserError if a table is missing or lacks a column.

    Args:
        results: folder with table.csv and the other tables
        folder: folder of the figures; without it, the folder figures beside the tables
    """
    folder = folder or results / "figures"
    draw_ladder(results / "table.csv", folder, results / "baselines.csv")
    draw_factors(results / "factors.csv", folder)
    draw_layers(results / "layers.csv", folder)
    draw_learning(results / "learning.csv", folder)
    draw_lengths(results / "table.csv", results / "tokens", folder)
    draw_continuation(results / "continuation.csv", folder)


def _width() -> float:
    """Inches for a panel per task."""
    return 10 * max(1, len(TASKS) / 3)


def draw_ladder(path: Path, folder: Path, baselines_path: Path | None = None) -> Figure:
    """The accuracy of each rung on each task with its interval, in the order of the table, and the chance line.

    Below the name of a rung stands how often its models have read the training data (mean over seeds).
    """
    rows = read_csv(path, table_columns())
    height = 1.7 + 0.55 * len(rows)
    with open_figure(folder, "ladder", _width(), height, len(TASKS), sharey=True, sharex=True) as (figure, axes):
        lowest = 50.0
        for axis, task in zip(axes, TASKS):
            for at, row in enumerate(rows):
                for norm, offset in NORM_OFFSETS.items():
                    ends = floats(row, *interval_columns(f"{task}_{norm}"))
                    draw_interval(axis, at + offset, *ends, norm, look(row["rung"]))
                    lowest = min(lowest, ends[1])
            axis.axvline(50, **REFERENCE)
            axis.set(title=TASKS[task].title, xlabel="accuracy, %")
            axis.grid(axis="x", color="0.92")
        marks, least = _draw_baselines(dict(zip(TASKS, axes)), [row["rung"] for row in rows], baselines_path)
        lowest = min(lowest, least)
        axes[0].set(xlim=(10 * (lowest // 10) - 2, 102), ylim=(len(rows) - 0.5, -0.5))
        axes[0].xaxis.set_major_locator(MultipleLocator(10 if lowest > 20 else 20))
        axes[0].set_yticks(range(len(rows)), [f"{row['rung']}\n{row['passes']} passes" for row in rows], fontsize=9)
        add_legend(figure, "chance", more=marks)
    return figure


def _draw_baselines(axes: dict[str, Axes], rungs: Sequence[str], path: Path | None) -> tuple[list[Line2D], float]:
    """Draw faint marks of what the baselines get (norm sum), and return their legend and the lowest of them."""
    if path is None:
        return [], 50.0
    found = [row for row in read_csv(path, baselines.COLUMNS) if row["rung"] in rungs and row["task"] in axes]
    for row in found:
        mark, at = BASELINE_MARKS[row["baseline"]], rungs.index(row["rung"])
        axes[row["task"]].scatter(float(row["sum"]), at, s=30, color="0.6", marker=mark, linewidths=1, zorder=1.5)
    faint = {"color": "0.6", "linestyle": "none", "markersize": 5.5}
    labels = [Line2D([], [], marker=mark, label=name, **faint) for name, mark in BASELINE_MARKS.items()]
    return labels, min((float(row["sum"]) for row in found), default=50.0)


def draw_factors(path: Path, folder: Path) -> Figure:
    """The change of accuracy at each step of the ladder, with its paired interval; faint if it starts at the floor."""
    rows = read_csv(path, factors.COLUMNS)
    steps = list(dict.fromkeys((r["factor"], r["from_rung"], r["to_rung"]) for r in rows))
    height = 1.9 + 0.55 * max(len(steps), 1)
    with open_figure(folder, "factors", _width(), height, len(TASKS), sharex=True, sharey=True) as (figure, axes):
        for axis, task in zip(axes, TASKS):
            axis.set_title(TASKS[task].title)
            if not steps:
                note_no_rows(axis, "no step has both rungs")
                continue
            axis.axvline(0, **REFERENCE)
            axis.set_xlabel("change, percentage points")
            for row in (r for r in rows if r["task"] == task):
                at = steps.index((row["factor"], row["from_rung"], row["to_rung"]))
                ends = floats(row, "difference", "difference_low", "difference_high")
                opacity = FAINT if row["floor"] == "true" else 1.0
                draw_interval(axis, at + NORM_OFFSETS[row["norm"]], *ends, row["norm"], look(row["to_rung"]), opacity)
            axis.grid(axis="x", color="0.92")
            axis.set_ylim(len(steps) - 0.5, -0.5)
        if steps:
            labels = [f"{factor}\n{start} \N{RIGHTWARDS ARROW}\n{end}" for factor, start, end in steps]
            axes[0].set_yticks(range(len(steps)), labels, fontsize=8)
            axes[0].margins(x=0.08)
            faint = Line2D([], [], color="0.2", marker="o", alpha=FAINT, label="starts at the floor")
            add_legend(figure, "no change", more=[faint] if any(row["floor"] == "true" for row in rows) else [])
    return figure


def _curves(figure: Figure, axes: Sequence[Axes], rows: list[dict[str, str]], x: str, empty: str) -> Sequence[Axes]:
    """Draw accuracy (norm sum) over column `x`, a line and a band per rung, a panel per task, and the legend.

    Returns the panels with curves; without rows there are none, and `empty` says why.
    """
    rungs = list(dict.fromkeys(row["rung"] for row in rows))
    for axis, task in zip(axes, TASKS):
        axis.set_title(TASKS[task].title)
        if not rows:
            note_no_rows(axis, empty)
            continue
        axis.axhline(50, **REFERENCE)
        for rung in rungs:
            points = sorted(
                floats(row, x, "accuracy", "low", "high")
                for row in rows
                if (row["rung"], row["task"], row["norm"]) == (rung, task, "sum")
                and (x == "layer" or float(row[x]) > 0)
            )
            if points:
                at, value, low, high = np.array(points).T
                style = look(rung)
                axis.fill_between(at, low, high, color=style["color"], alpha=0.12, linewidth=0)
                if len(at) == 1:  # a band needs two points
                    axis.vlines(at, low, high, color=style["color"], linewidth=2)
                axis.plot(at, value, **style, markersize=4.5, linewidth=1.5)
        axis.grid(axis="y", color="0.92")
    if not rows:
        return []
    axes[0].set_ylabel("accuracy, %")
    add_legend(figure, "chance", rungs)
    return axes


def draw_layers(path: Path, folder: Path) -> Figure:
    """The accuracy (norm sum) of each layer through the final norm and the head; layer 0 is the embedding."""
    rows = read_csv(path, curves.LAYERS_COLUMNS)
    with open_figure(folder, "layers", _width(), 4.2, len(TASKS), sharey=True) as (figure, axes):
        for axis in _curves(figure, axes, rows, "layer", "layers were not scored\n(scores.layers: false)"):
            axis.set_xlabel("layer")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def draw_learning(path: Path, folder: Path) -> Figure:
    """The accuracy (norm sum) against the tokens seen in training; the last point is that of the kept weights."""
    rows = read_csv(path, curves.LEARNING_COLUMNS)
    with open_figure(folder, "learning", _width(), 4.2, len(TASKS), sharey=True, sharex=True) as (figure, axes):
        for axis in _curves(figure, axes, rows, "train_tokens", "the curve was not scored\n(scores.learning: false)"):
            axis.set(xlabel="training tokens", xscale="log")
            first, last = axis.get_xlim()
            plain_ticks(axis.xaxis, EngFormatter(sep=""), (1.0,) if last > 300 * first else (1.0, 3.0))  # 300k, 1M
    return figure


def draw_lengths(path: Path, tokens: Path, folder: Path) -> Figure:
    """Tokens per second of speech, and tokens per training utterance (5, 25, 50, 75, 95 % quantiles)."""
    rows = read_csv(path, table_columns())
    with open_figure(folder, "lengths", 10, 1.5 + 0.4 * len(rows), 2, sharey=True) as (figure, (rate, length)):
        for at, row in enumerate(rows):
            style, value = look(row["rung"])["color"], float(row["tokens_per_second"])
            rate.barh(at, value, color=style, height=0.6)
            rate.annotate(f"{value:.1f}", (value, at), xytext=(4, 0), textcoords="offset points", va="center")
            quantiles = token_quantiles(tokens, row["rung"])
            if not quantiles:
                continue
            low, first, middle, third, high = quantiles
            length.plot([low, high], [at, at], color=style, linewidth=1.5, zorder=2)
            length.barh(at, third - first, left=first, color=style, height=0.5, zorder=3)
            length.plot([middle, middle], [at - 0.25, at + 0.25], color="white", linewidth=2, zorder=4)
        rate.set(title="tokens per second of speech", xlabel="tokens/s", ylim=(len(rows) - 0.5, -0.5))
        rate.set_yticks(range(len(rows)), [row["rung"] for row in rows])
        rate.margins(x=0.12)
        length.set(title="tokens per training utterance", xlabel="tokens (box: middle half; line: 5 to 95 %)")
        length.set_xlim(left=0)
        for axis in (rate, length):
            axis.grid(axis="x", color="0.92")
    return figure


def draw_continuation(path: Path, folder: Path) -> Figure:
    """The perplexity of each rung's continuations with its interval and ceilings, the floor, and babble."""
    rows = read_csv(path, continuation.COLUMNS)
    rungs = [row for row in rows if row["floor"]]  # the rows of the reference have no floor
    with open_figure(folder, "continuation", 10, 1.9 + 0.42 * max(len(rungs), 2), 1) as (figure, (axis,)):
        axis.set_title("continuations, judged given their prompt")
        if not rungs:
            note_no_rows(axis, "no rung has continuations\n(continuation.enabled: false)")
            return figure
        text, floor = floats(rungs[0], "text_ceiling", "floor")
        axis.axvline(text, **REFERENCE)
        axis.axvline(floor, **REFERENCE | {"linestyle": ":"})
        for at, row in enumerate(rungs):
            style = look(row["rung"])
            if row["ceiling"]:
                axis.plot(float(row["ceiling"]), at, **style, markerfacecolor="white", linestyle="none", markersize=6.5)
            if row["ppl_low"]:
                draw_interval(axis, at, *floats(row, "ppl", "ppl_low", "ppl_high"), "sum", style)
            elif row["ppl"]:
                axis.plot(float(row["ppl"]), at, **style, linestyle="none", markersize=6.5)
        axis.set(xscale="log", ylim=(len(rungs) - 0.5, -0.5), xlabel="perplexity per word (better to the left)")
        first, last = axis.get_xlim()
        for at, row in enumerate(rungs):
            if row["babble"]:  # that of letters would stretch the axis by many decades, so it is an arrow at its edge
                value = float(row["babble"])
                axis.plot(min(value, last), at, **BABBLE | {"marker": "x" if value <= last else ">"})
        axis.set_xlim(first, last)
        plain_ticks(axis.xaxis, EngFormatter(sep=""), (1.0,) if last > 300 * first else (1.0, 2.0, 5.0))
        axis.grid(axis="x", color="0.92")
        axis.set_yticks(range(len(rungs)), [row["rung"] for row in rungs])
        plain = {"color": "0.2", "marker": "o", "linestyle": "none"}
        handles = [
            Line2D([], [], **plain | {"linestyle": "-", "linewidth": 2}, label="the rung's continuations"),
            Line2D([], [], **plain, markerfacecolor="white", label="true continuations, the rung's own path (ceiling)"),
            Line2D([], [], **REFERENCE, label="true continuations as text"),
            Line2D([], [], **REFERENCE | {"linestyle": ":"}, label="their words shuffled (floor)"),
            Line2D([], [], **BABBLE, label="a bigram model of the rung's tokens, the same path (babble)"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
