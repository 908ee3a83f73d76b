"""The figure of the units sweep: factor C over the choices that lie behind the units, and the paper's."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from speechladder.analysis import units_sweep
from speechladder.analysis.csv_tables import read_csv
from speechladder.report.figures import NORMS, REFERENCE, TITLES, _figure, _interval, _no_rows
from speechladder.settings import TASKS

# Relative change of accuracy from phone-repeat to speech, in percent: HuBERT-Large, 2048 clusters, no de-duplication;
# the layer and whether scores are sums or means, it does not say (arXiv 2412.17048).
PAPER = {"swuggy": -40.6, "sblimp": -13.4, "topic": -9.3}
FRAMES, RUNS = "#CC79A7", "#000000"  # the colours of speech-hubert and speech-hubert-dedup
STAR = {"color": "#0072B2", "marker": "*", "linestyle": "none", "markersize": 13, "zorder": 4}


def _style(row: dict[str, str]) -> dict[str, str]:
    dedup = row["dedup"] == "true"
    return {"color": RUNS if dedup else FRAMES, "marker": "X" if dedup else "P"}


def _label(row: dict[str, str]) -> str:
    words = [f"layer {row['layer']}", f"{row['clusters']} clusters"]
    words += [f"per {row['normalisation']}"] if row["normalisation"] != "none" else []
    words += ["de-duplicated"] if row["dedup"] == "true" else []
    return ", ".join([*words, f"seed {row['kmeans_seed']}"])


def _factor(axis: Axes, rows: list[dict[str, str]], task: str) -> None:
    """A task's panel: the paper, the span of all points, and each point with its interval."""
    axis.axvline(0, **REFERENCE)
    axis.axvline(PAPER[task], color=STAR["color"], linestyle=":", linewidth=1, zorder=1)
    axis.plot(PAPER[task], 0, **STAR)
    for norm, offset in (("sum", -0.15), ("mean", 0.15)):
        values = [float(row[f"C_{task}_{norm}"]) for row in rows if row[f"C_{task}_{norm}"]]
        if not values:
            continue
        ends = min(values), max(values)
        axis.plot(
            ends, [1 + offset] * 2, color="0.35", linewidth=5, solid_capstyle="butt", alpha=1 if norm == "sum" else 0.45
        )
        for at, row in enumerate(rows, 2):
            if row[f"C_{task}_{norm}"]:
                found = [float(row[f"C_{task}_{norm}{end}"]) for end in ("", "_low", "_high")]
                _interval(axis, at + offset, *found, norm == "sum", _style(row))
    axis.set(title=TITLES[task], xlabel="factor C, %")


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


def _key(figure: object, rows: list[dict[str, str]]) -> None:
    plain = {"color": "0.2", "linestyle": "none", "marker": "o"}
    handles = [
        Line2D([], [], **STAR, label="the paper"),
        Line2D([], [], **REFERENCE, label="no change"),
        Line2D([], [], **plain, label=f"{NORMS['sum']}; ABX within speakers"),
        Line2D([], [], **plain, markerfacecolor="white", label=f"{NORMS['mean']}; ABX across"),
        Line2D([], [], **_style({"dedup": "false"}), linestyle="none", label="a unit per frame"),
    ]
    if any(row["dedup"] == "true" for row in rows):
        handles.append(Line2D([], [], **_style({"dedup": "true"}), linestyle="none", label="each run once"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)


def draw_units_sweep(path: Path, folder: Path) -> None:
    """Relative change of each task's accuracy from phone-repeat to each trained point, beside the points' ABX."""
    rows = [row for row in read_csv(path, units_sweep.COLUMNS) if row["valid_bits_per_second"]]
    height = 2.0 + 0.36 * (len(rows) + 2)
    with _figure(folder, "units_sweep", 13, height, len(TASKS) + 1, sharey=True) as (figure, axes):
        if not rows:
            for axis, title in zip(axes, [*TITLES.values(), "ABX of the units"]):
                axis.set_title(title)
                _no_rows(axis, "no point was trained\n(sweep.train)")
            return
        for axis, task in zip(axes, TASKS):
            _factor(axis, rows, task)
        _abx(axes[-1], rows)
        for axis in axes:
            axis.grid(axis="x", color="0.92")
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.margins(x=0.08)
        axes[0].set_ylim(len(rows) + 1.5, -0.5)
        axes[0].set_yticks(range(len(rows) + 2), ["the paper", f"spread of the {len(rows)} below", *map(_label, rows)])
        _key(figure, rows)
