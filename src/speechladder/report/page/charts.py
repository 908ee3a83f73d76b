"""The charts of the page as Vega-Lite specifications, made and checked by Altair.

Colours are CSS variables, so that a chart follows the theme of the page without being drawn again. A chart is as wide
as its place. A parameter `norm` or `paper` is set by the switches of that name (static/page.js).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import altair as alt

from speechladder.report.looks import LOOKS, look
from speechladder.report.page.palette import variable
from speechladder.report.page.section import Chart

Record = Mapping[str, Any]

# Matplotlib's markers, as the other figures have them, as SVG paths in the box from -1 to 1.
SHAPES = {
    "o": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "s": "M-0.88,-0.88H0.88V0.88H-0.88Z",
    "D": "M0,-1.2L1,0L0,1.2L-1,0Z",
    "^": "M0,-1.1L1.1,0.85H-1.1Z",
    "v": "M0,1.1L1.1,-0.85H-1.1Z",
    "P": "M-0.42,-1.1H0.42V-0.42H1.1V0.42H0.42V1.1H-0.42V0.42H-1.1V-0.42H-0.42Z",
    "X": "M-1,-0.5L-0.5,-1L0,-0.5L0.5,-1L1,-0.5L0.5,0L1,0.5L0.5,1L0,0.5L-0.5,1L-1,0.5L-0.5,0Z",
    "*": "M0,-1.2L0.34,-0.4L1.14,-0.37L0.51,0.17L0.71,0.97L0,0.5L-0.71,0.97L-0.51,0.17L-1.14,-0.37L-0.34,-0.4Z",
    "h": "M0,-1.1L0.95,-0.55V0.55L0,1.1L-0.95,0.55V-0.55Z",
    "p": "M0,-1.1L1.05,-0.34L0.65,0.9H-0.65L-1.05,-0.34Z",
    "<": "M-1.1,0L0.85,1.1V-1.1Z",
    ">": "M1.1,0L-0.85,1.1V-1.1Z",
}
STEP = 30  # pixels of a row
SIDE = 17  # pixels of a mark, of several in a row
AXIS = 58  # pixels that an axis with its title takes
MUTED, FAINT, GRID, INK, LINE = (f"var(--{name})" for name in ("muted", "faint", "grid", "ink", "line"))
# What all charts share; the page gives it to Vega once.
CONFIG = {
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "gridColor": GRID,
        "domainColor": LINE,
        "tickColor": LINE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": 400,
        "titlePadding": 8,
        "labelPadding": 5,
        "labelLimit": 200,
        "tickSize": 4,
    },
    "axisY": {"titleAnchor": "end"},
    "text": {"color": INK, "fontSize": 12},
    "point": {"filled": True, "opacity": 1},
    "line": {"strokeWidth": 2},
}


class Mark(NamedTuple):
    """How a rung or a run is drawn: its colour as a value of CSS, and its marker as a path from -1 to 1."""

    name: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Scale:
    """The axis of the values: its title, its ends, and dashed lines as pairs of a value and its name."""

    title: str
    low: float
    high: float
    log: bool = False
    references: Sequence[tuple[float, str]] = ()

    def x(self, field: str) -> alt.X:
        """The encoding of a field along this axis."""
        scale = alt.Scale(domain=[self.low, self.high], type="log" if self.log else "linear", nice=False, clamp=True)
        more = {"format": "~s"} if self.log else {}
        return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(title=self.title, grid=True, tickCount=5, **more))


def shape(rung: str) -> str:
    """The marker of a rung as an SVG path in the box from -1 to 1."""
    return SHAPES[look(rung)["marker"]]


def rung_marks(rungs: Sequence[str]) -> list[Mark]:
    """The colour and marker of each rung, those of the other figures."""
    return [Mark(rung, variable(rung), shape(rung)) for rung in rungs]


def _run_looks() -> list[tuple[str, str]]:
    """The looks of the rungs in an order in which neighbours are easy to tell apart."""
    looks = list(LOOKS.values())
    return [*looks[::4], *looks[2::4], *looks[1::4], *looks[3::4]]


def run_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of several runs, '#rrggbb', in their order."""
    looks = _run_looks()
    return {name: looks[at % len(looks)][0] for at, name in enumerate(names)}


def run_marks(names: Sequence[str]) -> list[Mark]:
    """The colour and marker of each of several runs, in their order."""
    looks = _run_looks()
    return [Mark(name, variable(name), SHAPES[looks[at % len(looks)][1]]) for at, name in enumerate(names)]


def encode_marks(marks: Sequence[Mark]) -> tuple[alt.Color, alt.Shape]:
    """The encodings of the field `series` by these marks."""
    names = [mark.name for mark in marks]
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=[mark.colour for mark in marks]), legend=None)
    shapes = alt.Scale(domain=names, range=[mark.shape for mark in marks])
    return colour, alt.Shape("series:N", scale=shapes, legend=None)


def finish(chart: tuple[str, str, str], records: Sequence[Record], layers: Sequence[Any], height: int) -> Chart:
    """Lay layers over one another as a chart of records with this name, title and label (see Chart)."""
    size = alt.AutoSizeParams(type="fit-x", contains="padding")
    whole = alt.layer(*layers, data=alt.Data(values=list(records)))
    whole = whole.properties(width="container", height=height, autosize=size).add_params(*switches(records))
    spec = whole.to_dict()
    for needless in ("$schema", "config"):
        spec.pop(needless, None)
    return Chart(*chart, spec, height + AXIS)


def tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    """The lines that hovering shows: pairs of a field and its title."""
    return [alt.Tooltip(field=field, type="nominal", title=title) for field, title in fields]


def rows_of(field: str, rows: Sequence[str]) -> alt.Y:
    """The encoding of a field as rows, with their names at the left."""
    return alt.Y(f"{field}:N", sort=list(rows), axis=alt.Axis(title=None, domain=False, ticks=False, labelColor=INK))


def layer(records: Sequence[Record]) -> alt.Chart:
    """A layer that draws the records, those of the norm that is switched on if they have one."""
    switched = any("norm" in record for record in records)
    return alt.Chart().transform_filter("datum.norm === norm") if switched else alt.Chart()


def switches(records: Sequence[Record]) -> list[alt.Parameter]:
    """The parameters that the records need: the norm, and whether the paper's values are shown."""
    found = [alt.param(name="norm", value="sum")] if any("norm" in record for record in records) else []
    return found + [alt.param(name="paper", value=True)] * _have(records, "paper")


def _have(records: Sequence[Record], field: str) -> bool:
    return any(record.get(field) is not None for record in records)


def _reference(scale: Scale, at: float, text: str) -> list[alt.Chart]:
    """A dashed line at a value, with its name above it."""
    base = alt.Chart(alt.Data(values=[{"at": at}]))
    line = base.mark_rule(color=FAINT, strokeDash=[4, 3]).encode(x=scale.x("at"))
    name = base.mark_text(color=MUTED, fontSize=11, baseline="bottom", dy=-3)
    return [line, name.encode(x=scale.x("at"), y=alt.value(0), text=alt.value(text))]


def intervals(
    chart: tuple[str, str, str],
    records: Sequence[Record],
    *,
    rows: Sequence[str],
    marks: Sequence[Mark],
    scale: Scale,
    hover: Sequence[tuple[str, str]],
    side_by_side: bool = False,
) -> Chart:
    """A row for each label in `rows`, with a value, its interval, and the value as a text at the right.

    A record has label, series (the name of its mark), value, low, high, text, and as it applies: norm, opacity, paper
    (the paper's value), ceiling.

    Args:
        chart: name, title and label
        hover: the fields that hovering shows, with their titles
        side_by_side: whether a row has a mark of each series, one above the other
    """
    base, (colour, form) = layer(records), encode_marks(marks)
    place: dict[str, Any] = {"y": rows_of("label", rows)}
    if side_by_side:
        place["yOffset"] = alt.YOffset("series:N", sort=[mark.name for mark in marks])
    opacity = alt.Opacity("opacity:Q", scale=None) if _have(records, "opacity") else alt.value(1)
    layers: list[Any] = [part for at, text in scale.references for part in _reference(scale, at, text)]
    if _have(records, "paper"):
        faint = base.transform_filter("isValid(datum.paper)")
        faint = faint.mark_point(shape="diamond", filled=False, size=90, color=FAINT, strokeWidth=1.5)
        shown = alt.condition("paper", alt.value(0.9), alt.value(0))
        said = tooltip(("label", "row"), ("paper", "the paper"))
        layers.append(faint.encode(x=scale.x("paper"), opacity=shown, tooltip=said, **place))
    if _have(records, "ceiling"):
        open_mark = base.transform_filter("isValid(datum.ceiling)").mark_point(filled=False, size=60, strokeWidth=1.5)
        layers.append(open_mark.encode(x=scale.x("ceiling"), color=colour, shape=form, **place))
    bar = base.mark_rule(strokeWidth=3, strokeCap="round")
    point = base.mark_point(size=75)
    number = base.mark_text(align="left", dx=10)
    layers += [
        bar.encode(x=scale.x("low"), x2="high:Q", color=colour, opacity=opacity, **place),
        point.encode(x=scale.x("value"), color=colour, shape=form, opacity=opacity, tooltip=tooltip(*hover), **place),
        number.encode(x=alt.value(alt.expr("width")), text="text:N", **place),
    ]
    height = (SIDE * len(marks) + 12 if side_by_side else STEP) * len(rows)
    return finish(chart, records, layers, height)


def curves(
    chart: tuple[str, str, str], records: Sequence[Record], *, marks: Sequence[Mark], x: str, log: bool = False
) -> Chart:
    """Lines with their bands: a record has series, x, at (x as a text), value, low, high, text and norm."""
    base, (colour, form) = layer(records), encode_marks(marks)
    least = min([50.0, *(record["low"] for record in records)])
    scale = alt.Scale(domain=[10 * (least // 10), 100], nice=False)
    axis = alt.Axis(title="accuracy, %", tickCount=5)
    across = alt.Axis(title=x, grid=False, tickCount=5, format="~s" if log else "d")
    at = alt.X("x:Q", scale=alt.Scale(type="log" if log else "linear", nice=False, padding=8), axis=across)
    y, low = (alt.Y(f"{field}:Q", scale=scale, axis=axis) for field in ("value", "low"))
    hover = tooltip(("series", "rung"), ("at", x), ("text", "accuracy"))
    chance = alt.Chart(alt.Data(values=[{"at": 50}])).mark_rule(color=FAINT, strokeDash=[4, 3])
    layers = [
        chance.encode(y=alt.Y("at:Q", scale=scale, axis=axis)),
        base.mark_area(opacity=0.13).encode(x=at, y=low, y2="high:Q", color=colour),
        base.mark_line().encode(x=at, y=y, color=colour),
        base.mark_point(size=45).encode(x=at, y=y, color=colour, shape=form, tooltip=hover),
    ]
    return finish(chart, records, layers, 230)
