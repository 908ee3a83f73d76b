"""Every figure is drawn without a warning, to the same bytes, for any rungs, and shows what its table says."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from ladder_results import SHAPE, make
from matplotlib.colors import to_rgb

from speechladder.analysis import continuation, curves, factors, table
from speechladder.analysis.baselines import BASELINES, COLUMNS
from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.tables import TOKEN_INDEX, read_table
from speechladder.report import figures, style
from speechladder.report.looks import NORM_LABELS
from speechladder.settings import Analysis

NAMES = ("ladder", "factors", "layers", "learning", "lengths", "continuation")


def tables(results, rungs, **options):
    make(results, rungs, ids=15, **options)
    scores = table.read_scores(results, rungs)
    for write in (table.write_table, factors.write_factors, curves.write_layers, curves.write_learning):
        write(results, rungs, scores, 0, Analysis(resamples=100))
    continuation.write_continuation(results, [], 0, Analysis(resamples=100))
    cells = [{"rung": rung, "task": task, "baseline": name} for rung in rungs for task in TASKS for name in BASELINES]
    values = dict.fromkeys(COLUMNS[3:], "")
    rows = [cell | values | {"sum": f"{5 + 9 * n % 90}.25"} for n, cell in enumerate(cells)]
    write_csv(results / "baselines.csv", COLUMNS, rows)
    return results


@pytest.mark.parametrize(
    ("rungs", "options"),
    [
        (list(SHAPE), {"layers": 3, "learning": 2}),
        (["speech-hubert"], {"layers": 0, "learning": 0}),
        (["my-own-rung", "phone-raw"], {"layers": 2, "learning": 1}),
    ],
)
def test_figures_are_made_without_warnings(tmp_path, rungs, options):
    results = tables(tmp_path, rungs, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.draw_all(results, tmp_path / "figures")
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    assert made == {f"{name}.{suffix}" for name in NAMES for suffix in ("svg", "png")}
    for name in NAMES:
        assert ElementTree.parse(tmp_path / "figures" / f"{name}.svg").getroot().tag.endswith("svg")
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_same_tables_same_bytes(tmp_path):
    results = tables(tmp_path, ["phone-raw", "phone-repeat"], layers=2, learning=1)
    for folder in ("a", "b"):
        figures.draw_ladder(results / "table.csv", tmp_path / folder)
        figures.draw_learning(results / "learning.csv", tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert b"dc:date" not in (tmp_path / "a" / "ladder.svg").read_bytes()


def test_each_rung_has_its_own_look_and_an_unknown_one_keeps_its():
    looks = [tuple(style.look(rung).values()) for rung in SHAPE]
    assert len(set(looks)) == len({colour for colour, _ in looks}) == len(SHAPE)
    assert style.look("mine") == style.look("mine") and tuple(style.look("mine").values()) not in looks


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"table.csv: no such file"):
        figures.draw_all(tmp_path, tmp_path / "figures")


# --- what the figures show ---


def markers(axis, colour=None):
    """(x, y, filled) of each single marker of a panel, of one colour if given."""
    found = []
    for line in axis.lines:
        if len(line.get_xdata()) == 1 and line.get_marker() != "None" and colour in (None, line.get_color()):
            filled = to_rgb(line.get_markerfacecolor()) == to_rgb(line.get_color())
            found.append((line.get_xdata()[0], line.get_ydata()[0], filled))
    return found


def bars(axis):
    """(low, high, y) of each horizontal interval of a panel."""
    lines = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_marker() == "None"]
    return [(*line.get_xdata(), line.get_ydata()[0]) for line in lines if line.get_ydata()[0] == line.get_ydata()[1]]


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def ticks(axis):
    return [text.get_text() for text in axis.get_yticklabels()]


RUNGS = ["phone-raw", "phone-repeat", "speech-hubert"]


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    return tables(tmp_path_factory.mktemp("ladder"), RUNGS, layers=3, learning=2)


def test_the_ladder_shows_every_accuracy_with_its_interval(ladder, tmp_path):
    rows, figure = read_csv(ladder / "table.csv"), figures.draw_ladder(ladder / "table.csv", tmp_path)
    assert [axis.get_title() for axis in figure.axes] == [task.title for task in TASKS.values()]
    assert ticks(figure.axes[0]) == [f"{row['rung']}\n4.0 passes" for row in rows]
    assert figure.axes[0].get_ylim() == (2.5, -0.5)  # the first row on top
    assert labels(figure) == ["log-likelihood, sum over tokens", *list(NORM_LABELS.values())[1:], "chance"]
    for axis, task in zip(figure.axes, TASKS):
        values = [(float(r[f"{task}_{n}"]), n == "sum") for r in rows for n in NORMS]
        ends = [[float(r[f"{task}_{n}_{end}"]) for end in ("low", "high")] for r in rows for n in NORMS]
        assert [(x, filled) for x, _, filled in markers(axis)] == values
        assert [[low, high] for low, high, _ in bars(axis)] == ends
        assert [round(y) for _, y, _ in markers(axis)] == [0] * 3 + [1] * 3 + [2] * 3
        low, high = axis.get_xlim()
        assert low < min(map(min, ends)) and max(map(max, ends)) < high  # nothing is cut off
        assert any(list(line.get_xdata()) == [50, 50] for line in axis.lines)


def test_the_ladder_marks_what_the_baselines_get(ladder, tmp_path):
    rows = read_csv(ladder / "baselines.csv")
    figure = figures.draw_ladder(ladder / "table.csv", tmp_path, ladder / "baselines.csv")
    for axis, task in zip(figure.axes, TASKS):
        marks = [tuple(part.get_offsets()[0]) for part in axis.collections]
        assert marks == [(float(r["sum"]), RUNGS.index(r["rung"])) for r in rows if r["task"] == task]
        assert axis.get_xlim()[0] < min(float(row["sum"]) for row in rows)
    assert labels(figure)[3:] == [*BASELINES, "chance"]


def test_the_factors_show_every_difference(ladder, tmp_path):
    rows, figure = read_csv(ladder / "factors.csv"), figures.draw_factors(ladder / "factors.csv", tmp_path)
    for axis, task in zip(figure.axes, TASKS):
        own = [row for row in rows if row["task"] == task]
        assert [x for x, _, _ in markers(axis)] == [float(row["difference"]) for row in own]
        assert [ends[:2] for ends in bars(axis)] == [
            (float(row["difference_low"]), float(row["difference_high"])) for row in own
        ]
    arrow = "\N{RIGHTWARDS ARROW}"
    assert ticks(figure.axes[0]) == [
        f"B\nphone-raw {arrow}\nphone-repeat",
        f"C\nphone-repeat {arrow}\nspeech-hubert",
    ]
    assert markers(figure.axes[0], style.look("speech-hubert")["color"])  # the colour of the second rung
    assert labels(figure)[-2:] == ["starts at the floor", "no change"]
    faint = [line.get_alpha() for axis in figure.axes for line in axis.lines if line.get_marker() in "vP"]
    assert faint == [
        figures.FAINT if row["floor"] == "true" else 1.0 for task in TASKS for row in rows if row["task"] == task
    ]


@pytest.mark.parametrize(
    ("name", "draw", "x"),
    [("layers", figures.draw_layers, "layer"), ("learning", figures.draw_learning, "train_tokens")],
)
def test_curves_show_every_point_under_the_sum(ladder, tmp_path, name, draw, x):
    rows, figure = read_csv(ladder / f"{name}.csv"), draw(ladder / f"{name}.csv", tmp_path)
    assert labels(figure) == [*RUNGS, "chance"]
    for axis, task in zip(figure.axes, TASKS):
        for rung in RUNGS:
            points = [
                (float(r[x]), float(r["accuracy"]))
                for r in rows
                if (r["rung"], r["task"], r["norm"]) == (rung, task, "sum")
            ]
            (line,) = [line for line in axis.lines if line.get_color() == style.look(rung)["color"]]
            assert len(points) == 3 and list(zip(*line.get_data())) == points
        assert axis.get_title() == TASKS[task].title and axis.get_xlabel()


def test_lengths_show_the_rates(ladder, tmp_path):
    figure = figures.draw_lengths(ladder / "table.csv", ladder / "tokens", tmp_path)
    rate, length = figure.axes
    rows = read_csv(ladder / "table.csv")
    assert [bar.get_width() for bar in rate.patches] == [float(row["tokens_per_second"]) for row in rows]
    assert [text.get_text() for text in rate.texts] == [f"{float(row['tokens_per_second']):.1f}" for row in rows]
    for bar, rung in zip(length.patches, RUNGS):
        counts = read_table(ladder / "tokens" / rung / "train.parquet", TOKEN_INDEX)["length"].to_numpy()
        first, third = np.quantile(counts, [0.25, 0.75])
        assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((first, third))


def test_continuations_show_perplexities_ceilings_and_floor(tmp_path):
    blank = dict.fromkeys(continuation.COLUMNS, "")
    bounds = {"text_ceiling": "20.00", "floor": "90.00"}
    babble = [{"babble": "4e11"}, {"babble": "85.00"}, {}]
    rows = [
        blank | bounds | {"rung": "text-raw", "ppl": "30.00", "ppl_low": "25.00", "ppl_high": "36.00"},
        blank | bounds | {"rung": "speech-hubert", "ppl": "80.00", "ceiling": "40.00"},
        blank | {"rung": "true", "ppl": "20.00"},
    ]
    write_csv(tmp_path / "continuation.csv", continuation.COLUMNS, [a | b for a, b in zip(rows, babble)])
    figure = figures.draw_continuation(tmp_path / "continuation.csv", tmp_path)
    (axis,) = figure.axes
    assert ticks(axis) == ["text-raw", "speech-hubert"] and axis.get_xscale() == "log"
    faint = [line for line in axis.lines if line.get_color() == figures.BABBLE["color"]]
    right = axis.get_xlim()[1]  # babble of letters is beyond any axis
    assert [(f.get_marker(), *f.get_xdata(), *f.get_ydata()) for f in faint] == [(">", right, 0), ("x", 85.0, 1)]
    own = {(30.0, 0.0, True), (40.0, 1, False), (80.0, 1, True)}
    assert right < 200 and {*markers(axis)} == own | {(85.0, 1, True), (right, 0, True)}
    assert bars(axis) == [(25.0, 36.0, 0.0)]
    verticals = [line.get_xdata()[0] for line in axis.lines if list(line.get_xdata()) in ([20, 20], [90, 90])]
    assert verticals == [20.0, 90.0] and "their words shuffled (floor)" in labels(figure)
    assert "a bigram model of the rung's tokens, the same path (babble)" in labels(figure)


def test_empty_tables_say_why(tmp_path):
    for name, columns, draw, text in (
        ("layers", curves.LAYERS_COLUMNS, figures.draw_layers, "scores.layers: false"),
        ("learning", curves.LEARNING_COLUMNS, figures.draw_learning, "scores.learning: false"),
        ("continuation", continuation.COLUMNS, figures.draw_continuation, "continuation.enabled: false"),
        ("factors", factors.COLUMNS, figures.draw_factors, "no step has both rungs"),
    ):
        write_csv(tmp_path / f"{name}.csv", columns, [])
        figure = draw(tmp_path / f"{name}.csv", tmp_path)
        assert all(text in axis.texts[0].get_text() for axis in figure.axes)
