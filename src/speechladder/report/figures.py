"""The report's figures, drawn from its tables: SVG and PNG, the same bytes for the same tables.

One colour and one marker per rung throughout (Okabe and Ito's palette, which colour-blind readers tell apart). Each
`draw_*` writes {folder}/{name}.svg and .png, and says in the figure when its table has no rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from speechladder.analysis import continuation, factors, layers, learning, table, variability
from speechladder.analysis.csv_tables import read_csv
from speechladder.io.files import atomic
from speechladder.io.hashing import stable_hash
from speechladder.io.tables import TOKEN_INDEX, read_table
from speechladder.settings import TASKS

TITLES = {"swuggy": "sWUGGY (words)", "sblimp": "sBLIMP (syntax)", "topic": "Topic-SC (meaning)"}
LOOKS = {
    "text-bpe": ("#0072B2", "o"),
    "text-raw": ("#56B4E9", "s"),
    "phone-bpe": ("#009E73", "D"),
    "phone-raw": ("#E69F00", "^"),
    "phone-repeat": ("#D55E00", "v"),
    "speech-hubert": ("#CC79A7", "P"),
    "speech-hubert-dedup": ("#000000", "X"),
}
OTHER_LOOKS = [(colour, marker) for colour in ("#7F7F7F", "#8C6D31", "#5254A3", "#843C39") for marker in "*hp<>"]
NORMS = {"sum": "sum over tokens", "mean": "mean per token"}
STYLE = {
    "svg.hashsalt": "speechladder",  # else random ids in the SVG
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same glyphs everywhere
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 100,
}
REFERENCE = {"color": "0.45", "linestyle": "--", "linewidth": 1, "zorder": 1}


def draw_all(results: Path, folder: Path) -> None:
    """Draw every figure of a run; raises UserError when a table is missing or lacks a column."""
    draw_ladder(results / "table.csv", folder)
    draw_factors(results / "factors.csv", folder)
    draw_layers(results / "layers.csv", folder)
    draw_learning(results / "learning.csv", folder)
    draw_lengths(results / "table.csv", results / "tokens", folder)
    draw_continuation(results / "continuation.csv", folder)


@contextmanager
def _figure(folder: Path, name: str, width: float, height: float, panels: int, **options: Any) -> Iterator[Any]:
    """Yield (figure, list of axes) under the house style; save both formats afterwards."""
    with matplotlib.rc_context(STYLE):
        # a Figure without pyplot: no window system, no global state
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # inches
        axes = figure.subplots(1, panels, squeeze=False, **options)[0]
        yield figure, list(axes)
        for suffix, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            with atomic(folder / f"{name}.{suffix}") as temporary:
                figure.savefig(temporary, format=suffix, metadata=metadata, dpi=150)


def look(rung: str) -> dict[str, str]:
    """Colour and marker of a rung; one that is not built in gets one of the others, always the same."""
    colour, marker = LOOKS.get(rung) or OTHER_LOOKS[stable_hash(rung) % len(OTHER_LOOKS)]
    return {"color": colour, "marker": marker}


def _legend(figure: Figure, reference: str, rungs: Sequence[str] = ()) -> None:
    """Below the panels: what colours (or, without rungs, filled and open markers) and the dashed line mean."""
    if rungs:
        handles = [Line2D([], [], **look(rung), label=rung) for rung in rungs]
    else:
        fills = (("0.2", f"log-likelihood, {NORMS['sum']}"), ("white", NORMS["mean"]))
        handles = [Line2D([], [], color="0.2", marker="o", markerfacecolor=fill, label=text) for fill, text in fills]
    handles.append(Line2D([], [], label=reference, **REFERENCE))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))


def _interval(
    axis: Axes, at: float, value: float, low: float, high: float, filled: bool, style: dict[str, str]
) -> None:
    axis.plot([low, high], [at, at], color=style["color"], linewidth=2, solid_capstyle="butt", zorder=2)
    face = style["color"] if filled else "white"
    axis.plot([value], [at], **style, linestyle="none", markerfacecolor=face, markersize=6.5, zorder=3)


def _values(row: dict[str, str], *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def _no_rows(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, color="0.4")
    axis.set_axis_off()
    axis.title.set_visible(True)


def draw_ladder(path: Path, folder: Path) -> None:
    """Accuracy of each rung on each task with its interval, top rung first, and the chance line."""
    rows = read_csv(path, table.COLUMNS)
    height = 1.7 + 0.42 * len(rows)
    with _figure(folder, "ladder", 10, height, len(TASKS), sharey=True, sharex=True) as (figure, axes):
        lowest = 50.0
        for axis, task in zip(axes, TASKS):
            for at, row in enumerate(rows):
                for norm, offset in (("sum", -0.16), ("mean", 0.16)):
                    ends = _values(row, *(f"{task}_{norm}{end}" for end in ("", "_low", "_high")))
                    _interval(axis, at + offset, *ends, norm == "sum", look(row["rung"]))
                    lowest = min(lowest, ends[1])
            axis.axvline(50, **REFERENCE)
            axis.set(title=TITLES[task], xlabel="accuracy, %")
            axis.grid(axis="x", color="0.92")
        axes[0].set(xlim=(10 * (lowest // 10) - 2, 102), ylim=(len(rows) - 0.5, -0.5))
        axes[0].xaxis.set_major_locator(MultipleLocator(10 if lowest > 20 else 20))
        axes[0].set_yticks(range(len(rows)), [row["rung"] for row in rows])
        _legend(figure, "chance")


def draw_factors(path: Path, folder: Path) -> None:
    """The change of accuracy at each step of the ladder, with its paired interval."""
    rows = read_csv(path, factors.COLUMNS)
    steps = list(dict.fromkeys((r["factor"], r["from_rung"], r["to_rung"]) for r in rows))
    height = 1.9 + 0.55 * max(len(steps), 1)
    with _figure(folder, "factors", 10, height, len(TASKS), sharex=True, sharey=True) as (figure, axes):
        for axis, task in zip(axes, TASKS):
            axis.set_title(TITLES[task])
            if not steps:
                _no_rows(axis, "no step has both rungs")
                continue
            axis.axvline(0, **REFERENCE)
            axis.set_xlabel("change, percentage points")
            for row in (r for r in rows if r["task"] == task):
                at = steps.index((row["factor"], row["from_rung"], row["to_rung"]))
                ends = _values(row, "difference", "difference_low", "difference_high")
                offset = -0.14 if row["norm"] == "sum" else 0.14
                _interval(axis, at + offset, *ends, row["norm"] == "sum", look(row["to_rung"]))
            axis.grid(axis="x", color="0.92")
            axis.set_ylim(len(steps) - 0.5, -0.5)
        if steps:
            labels = [f"{factor}\n{start} \N{RIGHTWARDS ARROW}\n{end}" for factor, start, end in steps]
            axes[0].set_yticks(range(len(steps)), labels, fontsize=8)
            axes[0].margins(x=0.08)
            _legend(figure, "no change")


def _curves(axes: Sequence[Axes], rows: list[dict[str, str]], x: str) -> list[str]:
    """Draw accuracy over column `x` under the sum, a line and a band per rung, a panel per task; returns the rungs."""
    rungs = list(dict.fromkeys(row["rung"] for row in rows))
    for axis, task in zip(axes, TASKS):
        axis.axhline(50, **REFERENCE)
        for rung in rungs:
            points = sorted(
                _values(row, x, "accuracy", "low", "high")
                for row in rows
                if (row["rung"], row["task"], row["norm"]) == (rung, task, "sum")
                and (x == "layer" or float(row[x]) > 0)
            )
            if points:
                at, value, low, high = np.array(points).T
                style = look(rung)
                axis.fill_between(at, low, high, color=style["color"], alpha=0.12, linewidth=0)
                if len(at) == 1:  # a band needs two
                    axis.vlines(at, low, high, color=style["color"], linewidth=2)
                axis.plot(at, value, **style, markersize=4.5, linewidth=1.5)
        axis.set_title(TITLES[task])
        axis.grid(axis="y", color="0.92")
    axes[0].set_ylabel("accuracy, %")
    return rungs


def draw_layers(path: Path, folder: Path) -> None:
    """Accuracy of every layer's output through the final norm and the head, under the sum; 0 is the embedding."""
    rows = read_csv(path, layers.COLUMNS)
    with _figure(folder, "layers", 10, 4.2, len(TASKS), sharey=True) as (figure, axes):
        if not rows:
            for axis, task in zip(axes, TASKS):
                axis.set_title(TITLES[task])
                _no_rows(axis, "layers were not scored\n(scores.layers: false)")
            return
        rungs = _curves(axes, rows, "layer")
        for axis in axes:
            axis.set_xlabel("layer")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(figure, "chance", rungs)


def draw_learning(path: Path, folder: Path) -> None:
    """Accuracy against the tokens seen in training, under the sum; the last point are the weights kept."""
    rows = read_csv(path, learning.COLUMNS)
    with _figure(folder, "learning", 10, 4.2, len(TASKS), sharey=True, sharex=True) as (figure, axes):
        if not rows:
            for axis, task in zip(axes, TASKS):
                axis.set_title(TITLES[task])
                _no_rows(axis, "the curve was not scored\n(scores.learning: false)")
            return
        rungs = _curves(axes, rows, "train_tokens")
        for axis in axes:
            axis.set_xlabel("training tokens")
            axis.set_xscale("log")
            first, last = axis.get_xlim()
            axis.xaxis.set_major_locator(LogLocator(subs=(1.0,) if last > 300 * first else (1.0, 3.0)))
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))  # 300k, 1M
            axis.xaxis.set_minor_formatter(NullFormatter())
        _legend(figure, "chance", rungs)


def draw_lengths(path: Path, tokens: Path, folder: Path) -> None:
    """Tokens per second of speech, and the tokens of a training utterance (5, 25, 50, 75, 95 % quantiles)."""
    rows = read_csv(path, table.COLUMNS)
    with _figure(folder, "lengths", 10, 1.5 + 0.4 * len(rows), 2, sharey=True) as (_, (rate, length)):
        for at, row in enumerate(rows):
            style, value = look(row["rung"])["color"], float(row["tokens_per_second"])
            rate.barh(at, value, color=style, height=0.6)
            rate.annotate(f"{value:.1f}", (value, at), xytext=(4, 0), textcoords="offset points", va="center")
            index = tokens / row["rung"] / "train.parquet"
            counts = read_table(index, TOKEN_INDEX, ["length"])["length"].to_numpy()
            if not len(counts):
                continue
            low, first, middle, third, high = np.quantile(counts, [0.05, 0.25, 0.5, 0.75, 0.95])
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


def draw_continuation(path: Path, folder: Path) -> None:
    """Perplexity of what each rung said with its interval, its own ceiling (open), the text's ceiling and the floor."""
    rows = read_csv(path, continuation.COLUMNS)
    rungs = [row for row in rows if row["floor"]]  # the rows of the reference have no bounds of their own
    with _figure(folder, "continuation", 10, 1.9 + 0.42 * max(len(rungs), 2), 1) as (figure, (axis,)):
        axis.set_title("continuations, judged given their prompt")
        if not rungs:
            _no_rows(axis, "no rung went on speaking\n(continuation.enabled: false)")
            return
        text, floor = _values(rungs[0], "text_ceiling", "floor")
        axis.axvline(text, **REFERENCE)
        axis.axvline(floor, **REFERENCE | {"linestyle": ":"})
        for at, row in enumerate(rungs):
            style = look(row["rung"])
            if row["ceiling"]:
                axis.plot(float(row["ceiling"]), at, **style, markerfacecolor="white", linestyle="none", markersize=6.5)
            if row["ppl_low"]:
                _interval(axis, at, *_values(row, "ppl", "ppl_low", "ppl_high"), True, style)
            elif row["ppl"]:
                axis.plot(float(row["ppl"]), at, **style, linestyle="none", markersize=6.5)
        axis.set(xscale="log", ylim=(len(rungs) - 0.5, -0.5), xlabel="perplexity per word (better to the left)")
        first, last = axis.get_xlim()
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0,) if last > 300 * first else (1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(axis="x", color="0.92")
        axis.set_yticks(range(len(rungs)), [row["rung"] for row in rungs])
        plain = {"color": "0.2", "marker": "o", "linestyle": "none"}
        handles = [
            Line2D([], [], **plain | {"linestyle": "-", "linewidth": 2}, label="what the rung said"),
            Line2D([], [], **plain, markerfacecolor="white", label="true continuations, the rung's own path (ceiling)"),
            Line2D([], [], **REFERENCE, label="true continuations as text"),
            Line2D([], [], **REFERENCE | {"linestyle": ":"}, label="their words shuffled (floor)"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)


def draw_variability(path: Path, folder: Path) -> None:
    """Accuracy of each rung in variability.csv, under both norms, and its validation loss, against the dial."""
    rows = read_csv(path, variability.COLUMNS)
    rungs = list(dict.fromkeys(row["rung"] for row in rows))
    with _figure(folder, "variability", 12, 4.2, len(TASKS) + 1) as (figure, axes):
        for axis, task in zip(axes, TASKS):
            axis.sharey(axes[0])
            axis.axhline(50, **REFERENCE)
            for rung in rungs:
                for norm, offset in (("sum", -0.04), ("mean", 0.04)):
                    names = [f"{task}_{norm}{end}" for end in ("", "_low", "_high")]
                    here = [_values(row, "variability", *names) for row in rows if row["rung"] == rung]
                    at, value, low, high = np.array(sorted(here)).T
                    style = look(rung)
                    axis.vlines(at + offset, low, high, color=style["color"], linewidth=2, zorder=2)
                    face = style["color"] if norm == "sum" else "white"
                    line = "-" if norm == "sum" else ":"
                    label = f"{rung}, {NORMS[norm]}"
                    axis.plot(at + offset, value, **style, linestyle=line, markerfacecolor=face, label=label, zorder=3)
            axis.set_title(TITLES[task])
        for rung in rungs:
            here = [_values(row, "variability", "valid_bits_per_second") for row in rows if row["rung"] == rung]
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
