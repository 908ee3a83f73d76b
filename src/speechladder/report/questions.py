"""results/questions.csv and its figure: what each arm of the paper's open questions gives back."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.questions import COLUMNS, OWN, RUN, find_arms, write_questions
from speechladder.analysis.quoted import quoted_rows
from speechladder.analysis.variability import AFTER, BEFORE
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import CHANCE
from speechladder.io.errors import UserError
from speechladder.report.style import (
    NORM_LINES,
    NORM_OFFSETS,
    REFERENCE,
    draw_interval,
    floats,
    look,
    norm_handles,
    open_figure,
)
from speechladder.settings import Analysis, Point

# The colours of the questions, from the palette of the rungs; the run's own rungs keep their own.
COLOURS = {"OQ1": "#0072B2", "OQ2": "#009E73", "OQ3": "#E69F00", "check": "#7F7F7F"}
TITLES = {
    "OQ1": "1. units of variable length",
    "OQ2": "2. semantic supervision",
    "OQ3": "3. nothing paralinguistic",
    "check": "checks",
}


def make_questions(
    results: Path,
    own: str,
    out: Path,
    figures: Path,
    analysis: Analysis,
    arms: dict[str, Path] | None = None,
    rungs: Sequence[str] = (),
    corpora: dict[str, Path] | None = None,
    split: str | None = None,
    seed: int = 0,
) -> None:
    """Gather the arms of the open questions into one table, and draw it.

    Args:
        results: the run's own results, with phone-repeat and speech-hubert scored
        own: the run's own choice of units, as a point of the units sweep is named
        out: questions.csv to write
        figures: folder for questions.svg and .png
        arms: ARM=FOLDER, the folder with tokens/, lm/ and scores/ of each arm
        rungs: rungs of the run that are arms
        corpora: NAME=FOLDER, the results of a run on the same texts spoken otherwise (flat, synthesized)
        split: split of sLM21 that table.csv shows
        seed: the seed of the run, for the resampling
    """
    try:
        point = Point.parse(own)
    except ValueError as error:
        raise UserError(f"--own: {error}") from None
    found = list(find_arms(results, arms or {}, rungs, corpora or {}))
    write_questions(found, out, seed, analysis, split, list(quoted_rows(results, point)))
    draw_questions(out, figures)


def draw_questions(path: Path, folder: Path) -> Figure:
    """A panel per task: each arm's accuracy with its interval, between speech-hubert and phone-repeat of the run.

    An arm that is compared with its own phone-repeat has no point: its accuracy is that of the arm before it.
    """
    rows = [row for row in read_csv(path, COLUMNS) if row["accuracy"] and not row["arm"].endswith(OWN)]
    names = {row["arm"]: row for row in rows if row["question"] != RUN}
    places, at, question = {}, 0.0, ""
    for name, row in names.items():
        at += 1.0 if row["question"] == question or not places else 1.6
        places[name], question = at, row["question"]
    height = 1.8 + 0.5 * max(at, 2)
    with open_figure(folder, "questions", 3.6 * len(TASKS) + 1.6, height, len(TASKS), sharey=True) as (figure, axes):
        for axis, task in zip(axes, TASKS):
            _panel(axis, [row for row in rows if row["task"] == task], places)
            axis.set(title=TASKS[task].title, xlabel="accuracy, %")
        axes[0].set_ylim(at + 0.8, 0.2)
        axes[0].set_yticks(list(places.values()), [_label(row) for row in names.values()])
        for axis in axes:
            axis.tick_params(axis="y", length=0)
        _add_key(figure, [name for name in TITLES if any(row["question"] == name for row in rows)])
    return figure


def _label(row: dict[str, str]) -> str:
    return row["arm"] + " (one seed)" * (row["one_seed"] == "true")


def _panel(axis: Axes, rows: Sequence[dict[str, str]], places: dict[str, float]) -> None:
    axis.axvline(100 * CHANCE, **REFERENCE)
    for row in rows:
        if row["question"] == RUN:
            line = {"color": look(row["arm"])["color"], "linestyle": NORM_LINES[row["norm"]], "linewidth": 1.2}
            axis.axvline(float(row["accuracy"]), **line, zorder=1)
        else:
            style = {"color": COLOURS[row["question"]], "marker": "o"}
            found = floats(row, *interval_columns("accuracy"))
            draw_interval(axis, places[row["arm"]] + NORM_OFFSETS[row["norm"]], *found, row["norm"], style)
    axis.grid(axis="x", color="0.92")
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.margins(x=0.06)


def _add_key(figure: Figure, questions: Sequence[str]) -> None:
    handles = [Line2D([], [], color=COLOURS[name], marker="o", linewidth=2, label=TITLES[name]) for name in questions]
    handles += [Line2D([], [], color=look(r)["color"], linewidth=1.2, label=f"{r} of the run") for r in (AFTER, BEFORE)]
    for handle, line in zip(norm_handles("0.2"), NORM_LINES.values()):
        handle.set_linestyle(line)
        handles.append(handle)
    handles.append(Line2D([], [], **REFERENCE, label="chance"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
