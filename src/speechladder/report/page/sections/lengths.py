"""How long the same speech is on each rung: tokens per second, and tokens per training utterance."""

from pathlib import Path

import altair as alt

from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.lengths import token_quantiles
from speechladder.analysis.table import table_columns
from speechladder.report.notes import Row
from speechladder.report.page import charts
from speechladder.report.page.charts import rung_marks
from speechladder.report.page.section import Chart, Section, Table


def section(results: Path) -> Section:
    """Bars of the rates, boxes of the lengths, and a table of both."""
    rows = read_csv(results / "table.csv", table_columns())
    quantiles = {row["rung"]: token_quantiles(results / "tokens", row["rung"]) for row in rows}
    found = [_rates(rows)] + ([_boxes(quantiles)] if any(quantiles.values()) else [])
    head = ["rung", "tokens/s", "5 %", "25 %", "median", "75 %", "95 %"]
    lines = [
        [row["rung"], row["tokens_per_second"], *(f"{q:,.0f}" for q in quantiles[row["rung"]] or [])] for row in rows
    ]
    caption = "Tokens per second, and quantiles of tokens per training utterance"
    table = Table(caption, head, [line + ["–"] * (len(head) - len(line)) for line in lines])
    return Section("Lengths", "lengths", "lengths.html.j2", {"charts": found, "numbers": table})


def _rates(rows: list[Row]) -> Chart:
    rungs = [row["rung"] for row in rows]
    values = [{"series": row["rung"], "value": float(row["tokens_per_second"])} for row in rows]
    base, y, (colour, _) = charts.layer(values), charts.rows_of("series", rungs), charts.encode_marks(rung_marks(rungs))
    x = alt.X("value:Q", axis=alt.Axis(title="tokens per second of speech", tickCount=5), scale=alt.Scale(nice=False))
    bars = base.mark_bar(height=16).encode(x=x, y=y, color=colour)
    names = base.mark_text(align="left", dx=6).encode(x=x, y=y, text=alt.Text("value:Q", format=".1f"))
    label = "Tokens per second of speech of each rung; the figures are in the table."
    chart = ("lengths-rate", "Tokens per second", label)
    return charts.finish(chart, values, [bars, names], charts.STEP * len(rungs))


def _boxes(quantiles: dict[str, list[float] | None]) -> Chart:
    names = ("low", "first", "middle", "third", "high")
    values = [{"series": rung, **dict(zip(names, found))} for rung, found in quantiles.items() if found]
    rungs = [value["series"] for value in values]
    base, y, (colour, _) = charts.layer(values), charts.rows_of("series", rungs), charts.encode_marks(rung_marks(rungs))
    axis = alt.Axis(title="tokens per training utterance", tickCount=5)
    x = alt.X("low:Q", axis=axis, scale=alt.Scale(nice=False, zero=True))
    hover = charts.tooltip(("series", "rung"), ("middle", "median"), ("low", "5 %"), ("high", "95 %"))
    layers = [
        base.mark_rule(strokeWidth=1.5).encode(x=x, x2="high:Q", y=y, color=colour),
        base.mark_bar(height=14).encode(x=alt.X("first:Q"), x2="third:Q", y=y, color=colour, tooltip=hover),
        base.mark_tick(thickness=2, height=14, color="var(--paper)").encode(x="middle:Q", y=y),
    ]
    label = "Quantiles of the tokens per training utterance of each rung; the figures are in the table."
    chart = ("lengths-utterance", "Tokens per utterance", label)
    return charts.finish(chart, values, layers, charts.STEP * len(values))
