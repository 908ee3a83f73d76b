"""The looks that all figures share: intervals, legends, files. Each rung has one colour and marker (report.looks)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, NullFormatter

from speechladder.constants import Norm
from speechladder.io.files import atomic
from speechladder.report.looks import NORM_LABELS, look

STYLE = {
    "svg.hashsalt": "speechladder",  # without a salt the ids in the SVG are random
    "font.family": "DejaVu Sans",  # it comes with matplotlib, so the glyphs are the same everywhere
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 100,
}
# Of the three norms: their places in a row, how much of its colour fills a marker, their lines.
NORM_OFFSETS = {"sum": -0.24, "mean": 0.0, "span": 0.24}
_FILLS = {"sum": 1.0, "mean": 0.0, "span": 0.4}
NORM_LINES = {"sum": "-", "mean": ":", "span": "-."}  # dashed is chance
REFERENCE = {"color": "0.45", "linestyle": "--", "linewidth": 1, "zorder": 1}


@contextmanager
def open_figure(
    folder: Path, name: str, width: float, height: float, panels: int, rows: int = 1, **options: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure of this size (inches) with rows of panels, and write {folder}/{name}.svg and .png at the end."""
    with matplotlib.rc_context(STYLE):
        # a Figure without pyplot needs no window system and has no global state
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # inches
        axes = figure.subplots(rows, panels, squeeze=False, **options).flat
        yield figure, list(axes)
        for suffix, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            with atomic(folder / f"{name}.{suffix}") as temporary:
                figure.savefig(temporary, format=suffix, metadata=metadata, dpi=150)


def add_legend(figure: Figure, reference: str, rungs: Sequence[str] = (), more: Sequence[Line2D] = ()) -> None:
    """A legend below the panels for the dashed line, and for colours or, without rungs, the markers of the norms.

    `more` are further entries.
    """
    if rungs:
        handles = [Line2D([], [], **look(rung), label=rung) for rung in rungs]
    else:
        handles = norm_handles("0.2")
        handles[0].set_label(f"log-likelihood, {handles[0].get_label()}")
    handles += [*more, Line2D([], [], label=reference, **REFERENCE)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))


def norm_face(norm: Norm, colour: str) -> tuple[float, ...]:
    """What fills a marker of this colour: the colour, white, or a tint."""
    return tuple(1 - _FILLS[norm] * (1 - part) for part in to_rgb(colour))


def norm_handles(colour: str, **line: Any) -> list[Line2D]:
    """The entries of a legend that tell the norms apart."""
    return [
        Line2D([], [], color=colour, marker="o", markerfacecolor=norm_face(norm, colour), label=label, **line)
        for norm, label in NORM_LABELS.items()
    ]


def draw_interval(
    axis: Axes,
    at: float,
    value: float,
    low: float,
    high: float,
    norm: Norm,
    style: dict[str, str],
    alpha: float = 1.0,
) -> None:
    """A value with its interval on the row `at`, as a marker of its norm on a bar; `alpha` is its opacity."""
    axis.plot([low, high], [at, at], color=style["color"], linewidth=2, solid_capstyle="butt", zorder=2, alpha=alpha)
    face = norm_face(norm, style["color"])
    axis.plot([value], [at], **style, linestyle="none", markerfacecolor=face, markersize=6.5, zorder=3, alpha=alpha)


def note_no_rows(axis: Axes, text: str) -> None:
    """Write in an empty panel why it is empty."""
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, color="0.4")
    axis.set_axis_off()
    axis.title.set_visible(True)


def plain_ticks(axis: Axis, formatter: Formatter | None = None, subs: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """Plain numbers at these multiples of each decade of a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(formatter or FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def floats(row: dict[str, str], *columns: str) -> list[float]:
    """The cells of these columns as numbers."""
    return [float(row[column]) for column in columns]
