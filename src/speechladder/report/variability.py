"""results/variability.csv and its figure: factor C against the variability of the world's speech."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.variability import combine_levels, variability_columns
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.report.style import NORM_LABELS, REFERENCE, floats, look, open_figure


def make_variability(tables: Sequence[Path], levels: Sequence[int], out: Path, figures: Path) -> None:
    """Gather the runs at several variability levels into one table, and draw it.

    Args:
        tables: table.csv of each run
        levels: corpus.variability of each run, in the same order
        out: variability.csv to write
        figures: folder for variability.svg and .png
    """
    if len(tables) != len(levels):
        raise UserError(f"--tables names {len(tables)} files and --levels {len(levels)} levels; give one for each")
    combine_levels(zip(levels, tables), out)
    draw_variability(out, figures)


def draw_variability(path: Path, folder: Path) -> Figure:
    """The accuracy of each rung under both norms, and its validation loss, against the variability level."""
    rows = read_csv(path, variability_columns())
    rungs = list(dict.fromkeys(row["rung"] for row in rows))
    with open_figure(folder, "variability", 12, 4.2, len(TASKS) + 1) as (figure, axes):
        for axis, task in zip(axes, TASKS):
            axis.sharey(axes[0])
            axis.axhline(50, **REFERENCE)
            for rung in rungs:
                for norm, offset in (("sum", -0.04), ("mean", 0.04)):
                    names = interval_columns(f"{task}_{norm}")
                    here = [floats(row, "variability", *names) for row in rows if row["rung"] == rung]
                    at, value, low, high = np.array(sorted(here)).T
                    style = look(rung)
                    axis.vlines(at + offset, low, high, color=style["color"], linewidth=2, zorder=2)
                    face = style["color"] if norm == "sum" else "white"
                    line = "-" if norm == "sum" else ":"
                    label = f"{rung}, {NORM_LABELS[norm]}"
                    axis.plot(at + offset, value, **style, linestyle=line, markerfacecolor=face, label=label, zorder=3)
            axis.set_title(TASKS[task].title)
        for rung in rungs:
            here = [floats(row, "variability", "valid_bits_per_second") for row in rows if row["rung"] == rung]
            axes[-1].plot(*np.array(sorted(here)).T, **look(rung), zorder=3)
        axes[-1].set(title="validation loss", ylabel="bits per second of speech")
        for axis in axes:
            axis.set_xlabel("variability of the speech")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.grid(axis="y", color="0.92")
        axes[0].set_ylabel("accuracy, %")
        axes[0].lines[0].set_label("chance")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
