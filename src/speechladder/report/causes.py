"""results/causes.csv and its figure: from phones to the units of speech in steps, and what single causes of C cost."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from speechladder.analysis.bit_budget import write_bit_budget
from speechladder.analysis.causes import COLUMNS, RUN, list_rows, read_rows, write_causes, write_share
from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import CHANCE, NORMS
from speechladder.report.style import (
    REFERENCE,
    draw_interval,
    floats,
    norm_handles,
    note_no_rows,
    open_figure,
)
from speechladder.settings import Analysis
from speechladder.settings.causes import CAUSES, FLAT

# The rows of the waterfall from the phones of an utterance to its units, and how the figure calls them.
STAGES = {
    "phone-raw": "phones",
    "phone-repeat-even": "phones, each equally long",
    "phone-repeat": "phones in their true duration",
    "unit-vote": "the majority unit of each phone",
    "speech-hubert": "units of the run's speech",
}
# The other rows, which are drawn by the difference to their base.
LABELS = {name: f"one flat voice + {what}" for name, what in CAUSES.items()} | {
    "phone-confused": "phones with confusions, to true phones",
    "unit-phone": "majority units once, to phones",
    "speech-hubert-dedup": "runs of units, each once, to units",
    "unit-bpe": "BPE over runs of units, to these runs",
    FLAT: "units in one flat voice, to its phones",
    "all": "one flat voice + every cause",
    RUN: "the run's speech, to one flat voice",
}
LOSS, GAIN, CAUSE = "#D55E00", "#009E73", "#CC79A7"
SHIFTS = {"sum": -0.16, "mean": 0.14, "span": 0.34}  # of the marker of a norm in its row

Row = dict[str, str]


def make_causes(
    results: Path,
    rungs: Sequence[str],
    out: Path,
    share: Path,
    budget: Path,
    figures: Path,
    analysis: Analysis,
    corpora: dict[str, Path] | None = None,
    links: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    split: str | None = None,
    seed: int = 0,
) -> None:
    """Compare the rungs and the corpora that take factor C apart, split their losses, and draw them.

    Args:
        results: the run's own results
        rungs: rungs of the run, in the order of the rows
        out: causes.csv to write
        share: causes_share.csv to write
        budget: bit_budget.csv to write
        figures: folder for causes.svg and .png
        corpora: CORPUS=FOLDER, the results folder of each corpus
        links: rungs of text and of phones of the run, for the bit budget
        seeds: seeds of the models of these rungs
        split: split of an official benchmark (default: all)
        seed: the seed of the run, for the resampling
    """
    rows = list_rows(results, rungs, corpora or {})
    scores = read_rows(rows, split)
    write_causes(rows, scores, out, seed, analysis)
    write_share(rows, scores, share, seed, analysis)
    write_bit_budget(results, links or (), rows, scores, seeds, budget)
    draw_causes(out, figures)


def draw_causes(path: Path, folder: Path) -> Figure:
    """Above: the accuracy of each stage from phones to units, with the steps between them. Below: all other rows.

    These are drawn by the difference to their base, in points; that of a single cause is one flat voice.
    """
    rows = read_csv(path, COLUMNS)
    names, single = {row["name"] for row in rows}, {row["name"] for row in rows if row["one_seed"] == "true"}
    stages = [name for name in STAGES if name in names]
    once = [row for row in rows if row["base"] and (row["task"], row["norm"]) == _first()]
    causes = [row["name"] for row in once if row["name"] in LABELS]
    heights = [0.5 * len(stages) + 0.5, 0.5 * max(len(causes), 2) + 0.5]
    options = {"sharex": "row", "sharey": "row", "gridspec_kw": {"height_ratios": heights}}
    count = len(TASKS)
    with open_figure(folder, "causes", 4.1 * count, sum(heights) + 1.6, count, rows=2, **options) as (figure, axes):
        for above, below, task in zip(axes[:count], axes[count:], TASKS):
            cells = {(row["name"], row["norm"]): row for row in rows if row["task"] == task}
            _waterfall(above, cells, stages)
            above.set(title=TASKS[task].title, xlabel="accuracy, %")
            if causes:
                _causes(below, cells, causes)
            else:
                note_no_rows(below, "no other row\n(causes.rungs, causes.corpora)")
        for axis in axes:
            axis.grid(axis="x", color="0.92")
            axis.xaxis.set_major_locator(MaxNLocator(6))
            axis.tick_params(axis="y", length=0)
        axes[0].autoscale_view()
        axes[0].set_xlim(right=105)  # a step from 100 has room for its size
        axes[0].set_ylim(len(stages) - 0.5, -0.5)
        axes[0].set_yticks(range(len(stages)), [_label(name, single, STAGES) for name in stages])
        if causes:
            axes[count].set_ylim(len(causes) - 0.5, -0.5)
            axes[count].set_yticks(range(len(causes)), [_label(name, single) for name in causes])
        _add_key(figure)
    return figure


def _label(name: str, single: Collection[str], labels: Mapping[str, str] = LABELS) -> str:
    return labels.get(name, name) + " (one seed)" * (name in single)


def _first() -> tuple[str, str]:
    return next(iter(TASKS)), NORMS[0]


def _waterfall(axis: Axes, cells: dict[tuple[str, str], Row], stages: Sequence[str]) -> None:
    """A bar from each stage's accuracy (sum) to the next one's, with its size, and all norms with intervals."""
    axis.axvline(100 * CHANCE, **REFERENCE)
    for at, (before, name) in enumerate(zip(["", *stages], stages)):
        row = cells[name, "sum"]
        if before:
            start, end = (float(cells[stage, "sum"]["accuracy"]) for stage in (before, name))
            step = float(row["difference"]) if row["base"] == before else end - start  # a stage may be left out
            colour = LOSS if end < start else GAIN
            axis.plot(
                [start, start], [at - 1 + SHIFTS["sum"], at + SHIFTS["sum"]], color="0.6", linewidth=0.8, zorder=1
            )
            axis.barh(at + SHIFTS["sum"], end - start, left=start, height=0.34, color=colour, alpha=0.3, zorder=1)
            ends = floats(row, *interval_columns("accuracy"))
            axis.annotate(
                f"{step:+.1f}".replace("-", "\N{MINUS SIGN}"),
                (max(start, ends[2]), at + SHIFTS["sum"]),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                color=colour,
            )
        _all_norms(axis, at, cells, name, "accuracy", "0.15")


def _causes(axis: Axes, cells: dict[tuple[str, str], Row], causes: Sequence[str]) -> None:
    axis.axvline(0, **REFERENCE)
    for at, name in enumerate(causes):
        _all_norms(axis, at, cells, name, "difference", CAUSE)
    axis.set_xlabel("difference to its base, points")


def _all_norms(axis: Axes, at: int, cells: dict[tuple[str, str], Row], name: str, column: str, colour: str) -> None:
    for norm, shift in SHIFTS.items():
        found = floats(cells[name, norm], *interval_columns(column))
        draw_interval(axis, at + shift, *found, norm, {"color": colour, "marker": "o"})


def _add_key(figure: Figure) -> None:
    bar = {"linewidth": 8, "alpha": 0.3, "solid_capstyle": "butt"}
    handles = [
        *norm_handles("0.15", linestyle="none"),
        Line2D([], [], color=LOSS, **bar, label="lost in this step, points"),
        Line2D([], [], color=GAIN, **bar, label="gained"),
        Line2D([], [], **REFERENCE, label="chance, or no difference"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
