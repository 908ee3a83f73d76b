"""Numbers of a run's tables as the page writes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from speechladder.analysis.csv_tables import interval_columns

Row = Mapping[str, str]


def number(text: str) -> float | None:
    """A cell as a number; None for an empty one."""
    return float(text) if text else None


def cell(row: Row, name: str) -> str:
    """'85.3 [82.1, 88.0]'; a dash for an empty cell, and the value alone where it has no interval."""
    value, low, high = (row[column] for column in interval_columns(name))
    return f"{value} [{low}, {high}]" if value and low else value or "–"


def short(value: float | None) -> str:
    """A perplexity in a few characters: '7.42', '38.1', '1,204', '52k'; a dash for None."""
    if value is None:
        return "–"
    if value >= 9999.5:
        return f"{value / 1000:,.0f}k" if value < 1e8 else f"{value:.0e}".replace("e+", "e")
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """'45 s', '9.5 min', '3.2 h'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def signed(value: float) -> str:
    """A change with its sign: '+0.5', '−35.2'."""
    text = f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
    return "0.0" if float(f"{value:.1f}") == 0 else text


def at(content: Any, name: str) -> Any:
    """The value at 'a.b.c' of nested objects; None where one of them is missing."""
    for part in name.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def listed(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
