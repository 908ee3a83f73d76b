"""results/scaling.csv and its figure: loss against size and against data, and the exponents of the fitted laws."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullLocator

from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.scaling import AXES, Law, Point, fit_law, scaling_columns, write_fits, write_scaling
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.report.style import REFERENCE, look, note_no_rows, open_figure, plain_ticks
from speechladder.settings import Analysis

TITLES = {"parameters": "loss against size", "hours": "loss against data", "exponents": "exponents"}
LABELS = {"parameters": "parameters, without embeddings", "hours": "training speech, hours"}
OTHER = {"parameters": "hours", "hours": "parameters"}
FAINTEST = 0.3  # opacity of the points with the smallest value of the other axis
SPREAD = 0.1  # distance of alpha and beta from the middle of a rung's row


def make_scaling(
    rungs: Sequence[str],
    sizes: Sequence[str],
    fractions: Sequence[float],
    seeds: Sequence[int],
    tokens: Sequence[Path],
    models: Sequence[Path],
    scores: Sequence[Path],
    out: Path,
    fits: Path,
    figures: Path,
    analysis: Analysis,
    split: str | None = None,
    seed: int = 0,
) -> None:
    """Gather the models of several sizes and shares of the data into one table, fit power laws, and draw them.

    A point is a rung, a size and a fraction; the order of the points is for each rung, each size, each fraction.

    Args:
        rungs: rungs of the points
        sizes: names of scaling.sizes
        fractions: shares of the training data
        seeds: seeds of the models of each point
        tokens: token folder of each point
        models: model folders of each point, all seeds of a point together
        scores: scores of each point, all tasks of a point together
        out: scaling.csv to write
        fits: scaling_fits.csv to write
        figures: folder for scaling.svg and .png
        split: split of an official benchmark (default: all)
        seed: the seed of the run, for the resampling
    """
    names = list(product(rungs, sizes, fractions))
    count, of_tasks = len(seeds), len(TASKS)
    for option, paths, each in (("tokens", tokens, 1), ("models", models, count), ("scores", scores, of_tasks)):
        if len(paths) != each * len(names):
            raise UserError(f"--{option} names {len(paths)} paths; give {each} for each of {len(names)} points")
    points = [
        Point(*name, tokens[n], models[n * count :][:count], scores[n * of_tasks :][:of_tasks])
        for n, name in enumerate(names)
    ]
    write_scaling(points, out, seed, analysis, split)
    write_fits(out, fits, analysis.confidence)
    draw_scaling(out, analysis.confidence, figures)


def draw_scaling(path: Path, confidence: float, folder: Path) -> Figure:
    """Draw {folder}/scaling.svg and .png from scaling.csv: means over seeds, and the laws of scaling_fits.csv."""
    rows = read_csv(path, scaling_columns())
    rungs = list(dict.fromkeys(row["rung"] for row in rows))
    by_rung = {rung: [row for row in rows if row["rung"] == rung] for rung in rungs}
    laws = {rung: fit_law(by_rung[rung], confidence) for rung in rungs}
    with open_figure(folder, "scaling", 12, 4.6, 3) as (figure, axes):
        for axis, name in zip(axes, AXES):
            for rung in rungs:
                _slices(axis, name, by_rung[rung], laws[rung], look(rung))
            axis.set(title=TITLES[name], xlabel=LABELS[name], xscale="log", yscale="log")
            axis.grid(axis="y", color="0.92")
            plain_ticks(axis.yaxis)
        plain_ticks(axes[0].xaxis, EngFormatter(sep=""))
        hours = np.unique([float(row["hours"]) for row in rows])
        if len(hours) <= 6:
            axes[1].set_xticks(hours, [f"{value:.3g}" for value in hours])
            axes[1].xaxis.set_minor_locator(NullLocator())
        else:
            plain_ticks(axes[1].xaxis)
        axes[1].sharey(axes[0])
        axes[0].set_ylabel("validation, bits per second of speech")
        _exponents(axes[2], rungs, laws)
        handles = [Line2D([], [], **look(rung), label=rung) for rung in rungs]
        handles += [
            Line2D([], [], color="0.2", linestyle="none", marker="o", label="a model (fainter: less data or smaller)"),
            Line2D([], [], color="0.2", linestyle="-", linewidth=1.2, label="fitted law"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure


def _slices(axis: Axes, name: str, rows: list[dict[str, str]], found: Law, style: dict[str, str]) -> None:
    """The points along one axis, fainter for smaller values of the other axis, and the fitted law."""
    x, other = (np.array([float(row[AXES[n][0]]) for row in rows]) for n in (name, OTHER[name]))
    loss = np.array([float(row["valid_bits_per_second"]) for row in rows])
    values = np.unique(other)
    for number, value in enumerate(values):
        alpha = 1.0 if len(values) == 1 else FAINTEST + (1 - FAINTEST) * number / (len(values) - 1)
        at = np.unique(x[other == value])
        means = [loss[(other == value) & (x == one)].mean() for one in at]
        axis.plot(at, means, **style, linestyle="none", markersize=6, alpha=alpha, zorder=3)
        fitted = name in found.axes and (OTHER[name] in found.axes or value == values[-1])
        if found.fit and fitted:
            line = np.geomspace(x.min(), x.max(), 60)
            given = {name: line, OTHER[name]: np.full(60, value)}
            axis.plot(line, found.predict(**given), color=style["color"], linewidth=1.2, alpha=alpha, zorder=2)
        else:
            axis.plot(at, means, color=style["color"], linewidth=1.2, linestyle=":", alpha=alpha, zorder=2)


def _exponents(axis: Axes, rungs: list[str], laws: dict[str, Law]) -> None:
    """alpha and beta of each rung with their intervals. An arrow marks an open end; a rung without a fit has no row."""
    axis.set_title(TITLES["exponents"])
    terms = [
        (at, rung, list(AXES).index(laws[rung].axes[k]), term.exponent)
        for at, rung in enumerate(rungs)
        if laws[rung].fit
        for k, term in enumerate(laws[rung].fit.terms)
        if term.exponent and not (laws[rung].fit.dof and term.exponent.low is term.exponent.high is None)
    ]
    if not terms:
        note_no_rows(axis, "no law was fitted\n(three values on an axis are needed)")
        return
    axis.axvline(0, **REFERENCE)
    top = max(value for *_, e in terms for value in (e.value, e.high) if value is not None)
    for at, rung, number, exponent in terms:
        style, place = look(rung), at + (SPREAD if number else -SPREAD)
        low, high = exponent.low, exponent.high
        if low is not None or high is not None:
            ends = (0 if low is None else low, 1.1 * top if high is None else high)
            axis.plot(ends, [place, place], color=style["color"], linewidth=2, solid_capstyle="butt", zorder=2)
            if high is None:
                axis.plot(ends[1], place, color=style["color"], marker=">", markersize=6, zorder=2)
        face = style["color"] if number == 0 else "white"
        axis.plot(exponent.value, place, **style, linestyle="none", markerfacecolor=face, markersize=6.5, zorder=3)
    axis.set_yticks(range(len(rungs)), rungs)
    axis.set(ylim=(len(rungs) - 0.5, -0.5), xlabel="alpha: filled; beta: open")
    axis.grid(axis="x", color="0.92")
    axis.margins(x=0.05)
