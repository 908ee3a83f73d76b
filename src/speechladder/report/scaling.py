"""The figure of results/scaling.csv: loss against size and against data, and the exponents of the fitted laws."""

from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter, NullLocator

from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.scaling import AXES, COLUMNS, Law, law
from speechladder.report.figures import REFERENCE, _figure, _no_rows, look

TITLES = {"parameters": "loss against size", "hours": "loss against data", "exponents": "exponents"}
LABELS = {"parameters": "parameters, without embeddings", "hours": "training speech, hours"}
OTHER = {"parameters": "hours", "hours": "parameters"}
FAINTEST = 0.3
SPREAD = 0.1  # rows between the exponents of a rung


def draw_scaling(path: Path, confidence: float, folder: Path) -> None:
    """Draw {folder}/scaling.svg and .png from scaling.csv. Means over seeds; laws as in scaling_fits.csv."""
    rows = read_csv(path, COLUMNS)
    rungs = list(dict.fromkeys(row["rung"] for row in rows))
    by_rung = {rung: [row for row in rows if row["rung"] == rung] for rung in rungs}
    laws = {rung: law(by_rung[rung], confidence) for rung in rungs}
    with _figure(folder, "scaling", 12, 4.6, 3) as (figure, axes):
        for axis, name in zip(axes, AXES):
            for rung in rungs:
                _slices(axis, name, by_rung[rung], laws[rung], look(rung))
            axis.set(title=TITLES[name], xlabel=LABELS[name], xscale="log", yscale="log")
            axis.grid(axis="y", color="0.92")
            _plain_ticks(axis.yaxis)
        _plain_ticks(axes[0].xaxis, EngFormatter(sep=""))
        hours = np.unique([float(row["hours"]) for row in rows])
        if len(hours) <= 6:
            axes[1].set_xticks(hours, [f"{value:.3g}" for value in hours])
            axes[1].xaxis.set_minor_locator(NullLocator())
        else:
            _plain_ticks(axes[1].xaxis)
        axes[1].sharey(axes[0])
        axes[0].set_ylabel("validation, bits per second of speech")
        _exponents(axes[2], rungs, laws)
        handles = [Line2D([], [], **look(rung), label=rung) for rung in rungs]
        handles += [
            Line2D([], [], color="0.2", linestyle="none", marker="o", label="a model (fainter: less data or smaller)"),
            Line2D([], [], color="0.2", linestyle="-", linewidth=1.2, label="fitted law"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))


def _slices(axis, name: str, rows: list[dict[str, str]], found: Law, style: dict[str, str]) -> None:
    """The points along one axis, a colour's strength for each value of the other, and the law through them."""
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


def _exponents(axis, rungs: list[str], laws: dict[str, Law]) -> None:
    """alpha and beta of each rung with their intervals; an arrow where it has no bound, nothing where it has none."""
    axis.set_title(TITLES["exponents"])
    terms = [
        (at, rung, list(AXES).index(laws[rung].axes[k]), term.exponent)
        for at, rung in enumerate(rungs)
        if laws[rung].fit
        for k, term in enumerate(laws[rung].fit.terms)
        if term.exponent and not (laws[rung].fit.dof and term.exponent.low is term.exponent.high is None)
    ]
    if not terms:
        _no_rows(axis, "no law was fitted\n(three values on an axis are needed)")
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


def _plain_ticks(axis, formatter=None) -> None:
    """Numbers as they are, at 1, 2 and 5 of each decade."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(formatter or FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
