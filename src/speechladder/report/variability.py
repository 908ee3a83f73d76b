"""results/variability.csv and its figure: factor C against the variability of the world's speech."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.variability import (
    AFTER,
    BEFORE,
    DIFFERENCE,
    variability_columns,
    write_change,
    write_variability,
)
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.report.notes import variability_notes
from speechladder.report.style import NORM_LABELS, NORM_LINES, REFERENCE, floats, look, norm_face, open_figure
from speechladder.settings import Analysis


def make_variability(
    runs: Sequence[Path],
    levels: Sequence[int],
    out: Path,
    change: Path,
    figures: Path,
    analysis: Analysis,
    split: str | None = None,
    seed: int = 0,
) -> None:
    """Gather the runs at several variability levels into one table, compare the lowest with the highest, and draw both.

    Args:
        runs: results folder of each run
        levels: corpus.variability of each run, in the same order
        out: variability.csv to write
        change: variability_change.csv to write
        figures: folder for variability.svg and .png
        split: split of an official benchmark (default: all)
        seed: the seed of the run, for the resampling
    """
    if len(runs) != len(levels):
        raise UserError(f"--runs names {len(runs)} folders and --levels {len(levels)} levels; give one for each")
    of_levels = list(zip(levels, runs))
    write_variability(of_levels, out)
    write_change(of_levels, change, seed, analysis, split)
    draw_variability(out, change, figures)


def draw_variability(path: Path, change: Path, folder: Path) -> Figure:
    """Above: the accuracies of each rung and its validation loss against the level. Below: factor C in points.

    The last panel says, for each task, whether factor C differs between the lowest and the highest level.
    """
    rows = read_csv(path, variability_columns())
    rungs = list(dict.fromkeys(row["rung"] for row in rows))
    columns = len(TASKS) + 1
    with open_figure(folder, "variability", 3.2 * columns, 7.4, columns, rows=2) as (figure, axes):
        above, below = axes[:columns], axes[columns:]
        for axis, task in zip(above, TASKS):
            axis.sharey(above[0])
            axis.axhline(50, **REFERENCE)
            for number, rung in enumerate(rungs):
                shift = 0.42 * (number - (len(rungs) - 1) / 2)  # so that no marker hides another
                _levels(axis, [row for row in rows if row["rung"] == rung], f"{task}_", rung, shift)
            axis.set_title(TASKS[task].title)
        for rung in rungs:
            here = [floats(row, "variability", "valid_bits_per_second") for row in rows if row["rung"] == rung]
            above[-1].plot(*np.array(sorted(here)).T, **look(rung), zorder=3)
        above[-1].set(title="validation loss", ylabel="bits per second of speech")
        for axis, task in zip(below, TASKS):
            axis.sharey(below[0])
            axis.axhline(0, **REFERENCE)
            _levels(axis, [row for row in rows if row["rung"] == AFTER], f"{DIFFERENCE}{task}_", AFTER)
            axis.set_title(f"C: {TASKS[task].short_title}")
        for axis in axes[:-1]:
            axis.set_xlabel("variability of the speech")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(axis="y", color="0.92")
        above[0].set_ylabel("accuracy, %")
        below[0].set_ylabel(f"{BEFORE} \N{RIGHTWARDS ARROW} {AFTER}, points")
        _write_change(below[-1], variability_notes(change))
        above[0].lines[0].set_label("chance")
        handles, labels = above[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _levels(axis: Axes, rows: Sequence[dict[str, str]], name: str, rung: str, shift: float = 0.0) -> None:
    """Values with intervals at the level plus `shift`, under all norms; `name` begins the names of the columns."""
    style = look(rung)
    for norm, offset in zip(NORMS, (shift - 0.13, shift, shift + 0.13)):
        found = [floats(row, "variability", *interval_columns(f"{name}{norm}")) for row in rows]
        at, value, low, high = np.array(sorted(found)).T
        axis.vlines(at + offset, low, high, color=style["color"], linewidth=2, zorder=2)
        face, line = norm_face(norm, style["color"]), NORM_LINES[norm]
        label = f"{rung}, {NORM_LABELS[norm]}"
        axis.plot(at + offset, value, **style, linestyle=line, markerfacecolor=face, label=label, zorder=3)


def _write_change(axis: Axes, notes: Sequence[str]) -> None:
    """The sentences on the lowest and the highest level, wrapped to the width of the panel."""
    axis.set_axis_off()
    text = "\n\n".join(fill(note, 30, break_on_hyphens=False) for note in notes)
    axis.text(0, 1, text, transform=axis.transAxes, va="top", fontsize=9)
