"""results/units_sweep.csv and its figure: factor C over the choices behind the units, beside the paper's figure."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from speechladder.analysis.csv_tables import interval_columns, read_csv
from speechladder.analysis.units_sweep import sweep_columns, write_units_sweep
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.report.style import (
    NORM_OFFSETS,
    REFERENCE,
    draw_interval,
    floats,
    norm_handles,
    note_no_rows,
    open_figure,
)
from speechladder.settings import Analysis, Point

FRAMES, RUNS = "#CC79A7", "#000000"  # the colours of speech-hubert and speech-hubert-dedup
# The paper's point: HuBERT-Large, 2048 clusters, no de-duplication. The paper does not say which layer it uses, nor
# whether its scores are sums or means (arXiv 2412.17048).
STAR = {"color": "#0072B2", "marker": "*", "linestyle": "none", "markersize": 13, "zorder": 4}


def make_units_sweep(
    results: Path,
    points: Sequence[str],
    quality: Sequence[Path],
    out: Path,
    figures: Path,
    analysis: Analysis,
    trained: dict[str, Path] | None = None,
    split: str | None = None,
    seed: int = 0,
) -> None:
    """Gather the units sweep into one table, and draw factor C over its points.

    Args:
        results: the run's own results, with phone-repeat scored
        points: names of all points, in the order of the rows
        quality: quality.json of each layer
        out: units_sweep.csv to write
        figures: folder for units_sweep.svg and .png
        trained: POINT=FOLDER, the folder with lm/ and scores/ of each trained point
        split: split of sLM21 that table.csv shows
        seed: the seed of the run, for the resampling
    """
    parsed = [_parse(name) for name in points]
    write_units_sweep(results, parsed, quality, trained or {}, out, seed, analysis, split)
    draw_units_sweep(out, figures)


def _parse(name: str) -> Point:
    try:
        return Point.parse(name)
    except ValueError as error:
        raise UserError(f"--points: {error}") from None


def _style(row: dict[str, str]) -> dict[str, str]:
    dedup = row["dedup"] == "true"
    return {"color": RUNS if dedup else FRAMES, "marker": "X" if dedup else "P"}


def _label(row: dict[str, str]) -> str:
    words = [f"layer {row['layer']}", f"{row['clusters']} clusters"]
    words += [f"per {row['normalisation']}"] if row["normalisation"] != "none" else []
    words += ["de-duplicated"] if row["dedup"] == "true" else []
    return ", ".join([*words, f"seed {row['kmeans_seed']}"])


def _factor(axis: Axes, rows: list[dict[str, str]], task: str) -> None:
    """The panel of a task: the paper, the range of all points, and each point with its interval."""
    axis.axvline(0, **REFERENCE)
    paper = TASKS[task].paper_factors.get("C")
    if paper is not None:
        axis.axvline(paper, color=STAR["color"], linestyle=":", linewidth=1, zorder=1)
        axis.plot(paper, 0, **STAR)
    for norm, offset in NORM_OFFSETS.items():
        values = [float(row[f"C_{task}_{norm}"]) for row in rows if row[f"C_{task}_{norm}"]]
        if not values:
            continue
        ends = min(values), max(values)
        wide = {"linewidth": 5, "solid_capstyle": "butt", "alpha": 1 if norm == "sum" else 0.45}
        axis.plot(ends, [1 + offset] * 2, color="0.35", **wide)
        for at, row in enumerate(rows, 2):
            if row[f"C_{task}_{norm}"]:
                found = floats(row, *interval_columns(f"C_{task}_{norm}"))
                draw_interval(axis, at + offset, *found, norm, _style(row))
    if not any(row[f"C_{task}_{norm}"] for row in rows for norm in NORM_OFFSETS):
        axis.text(0.5, 0.5, "C starts at the floor", ha="center", transform=axis.transAxes, color="0.4")
    axis.set(title=TASKS[task].title, xlabel="factor C, %")


def _abx(axis: Axes, rows: list[dict[str, str]]) -> None:
    axis.set(title="ABX of the units", xlabel="error, %")
    for at, row in enumerate(rows, 2):
        for kind, filled in (("within", True), ("across", False)):
            if value := row[f"abx_units_{kind}"]:
                style = _style(row)
                axis.plot(
                    float(value), at, **style, linestyle="none", markerfacecolor=style["color"] if filled else "white"
                )
    axis.set_xlim(left=0)


def _add_key(figure: Figure, rows: list[dict[str, str]]) -> None:
    norms = norm_handles("0.2", linestyle="none")
    for handle, kind in zip(norms, ("within speakers", "across")):
        handle.set_label(f"{handle.get_label()}; ABX {kind}")
    handles = [
        Line2D([], [], **STAR, label="the paper"),
        Line2D([], [], **REFERENCE, label="no change"),
        *norms,
        Line2D([], [], **_style({"dedup": "false"}), linestyle="none", label="a unit per frame"),
    ]
    if any(row["dedup"] == "true" for row in rows):
        handles.append(Line2D([], [], **_style({"dedup": "true"}), linestyle="none", label="each run once"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)


def draw_units_sweep(path: Path, folder: Path) -> Figure:
    """The relative change of accuracy from phone-repeat to each trained point, and the ABX of the points."""
    rows = [row for row in read_csv(path, sweep_columns()) if row["valid_bits_per_second"]]
    height = 2.0 + 0.5 * (len(rows) + 2)
    with open_figure(folder, "units_sweep", 13 * max(1, len(TASKS) / 3), height, len(TASKS) + 1, sharey=True) as (
        figure,
        axes,
    ):
        if not rows:
            for axis, title in zip(axes, [*(task.title for task in TASKS.values()), "ABX of the units"]):
                axis.set_title(title)
                note_no_rows(axis, "no point was trained\n(sweep.train)")
            return figure
        for axis, task in zip(axes, TASKS):
            _factor(axis, rows, task)
        _abx(axes[-1], rows)
        for axis in axes:
            axis.grid(axis="x", color="0.92")
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.margins(x=0.08)
        axes[0].set_ylim(len(rows) + 1.5, -0.5)
        axes[0].set_yticks(range(len(rows) + 2), ["the paper", f"spread of the {len(rows)} below", *map(_label, rows)])
        _add_key(figure, rows)
    return figure
