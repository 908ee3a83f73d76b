"""The table in a terminal: fits 80 columns, plain text where stdout is no terminal. Loads neither numpy nor pandas."""

from pathlib import Path
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from speechladder.analysis.csv_tables import read_csv

TITLES = {"swuggy": "sWUGGY", "sblimp": "sBLIMP", "topic": "Topic-SC"}
PLAIN_WIDTH = 100  # columns where stdout is no terminal
NORMS = {"sum": "log-likelihood summed over tokens", "mean": "log-likelihood per token"}


def show(results: Path, file: TextIO | None = None, width: int | None = None) -> None:
    """Print results/table.csv to `file` (stdout), and the paths of the figures that are there.

    Raises UserError when the table is missing or lacks a column.
    """
    cells = [f"{task}_{norm}{end}" for task in TITLES for norm in NORMS for end in ("", "_low", "_high")]
    path = results / "table.csv"
    facts = ["rung", "vocab_size", "tokens_per_second", "train_tokens", "valid_bits_per_second"]
    rows = read_csv(path, [*facts, *cells])
    console = Console(file=file, width=width, highlight=False, emoji=False, markup=False)
    if width is None and not console.is_terminal:
        console = Console(file=file, width=PLAIN_WIDTH, highlight=False, emoji=False, markup=False)
    table = _table("Models", ["rung", "vocab", "tokens/s", "train tokens", "valid bits/s"])
    for row in rows:
        values = int(row["vocab_size"]), float(row["tokens_per_second"]), int(row["train_tokens"])
        table.add_row(row["rung"], f"{values[0]:,}", f"{values[1]:.1f}", f"{values[2]:,}", row["valid_bits_per_second"])
    console.print(table)
    console.print()
    for norm, meaning in NORMS.items():
        table = _table(f"Accuracy in % with interval, {meaning} (chance is 50)", ["rung", *TITLES.values()])
        for row in rows:
            table.add_row(row["rung"], *(_cell(row, f"{task}_{norm}") for task in TITLES))
        console.print(table)
        console.print()
    console.print(f"Table:   {path}", soft_wrap=True)
    figures = sorted(figure.stem for figure in (results / "figures").glob("*.svg"))
    if figures:
        console.print(f"Figures: {results / 'figures'}/*.svg and *.png ({', '.join(figures)})", soft_wrap=True)


def _table(title: str, columns: list[str]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


def _cell(row: dict[str, str], name: str) -> str:
    """'85.3 [82.1, 88.0]', so short that three of them and the longest rung fit 80 columns."""
    value, low, high = (_short(row[name + end]) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _short(percent: str) -> str:
    text = f"{float(percent):.1f}"
    return "100" if text == "100.0" else text
