"""Figures of a diagnosis as the page writes them."""

from collections.abc import Mapping

Estimate = Mapping[str, float | None]


def percent(found: Estimate | float | None, decimals: int = 1) -> str:
    """A share as percent with its interval: '23.1 % [20.4, 25.9]'; a dash for None."""
    if found is None:
        return "–"
    if not isinstance(found, Mapping):
        return f"{100 * found:.{decimals}f} %"
    low, high = found["low"], found["high"]
    ends = f" [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]" if low is not None and high is not None else ""
    return f"{100 * found['value']:.{decimals}f} %{ends}"


def plain(found: Estimate | float | None, decimals: int = 2) -> str:
    """A number with its interval; a dash for None."""
    if found is None:
        return "–"
    if not isinstance(found, Mapping):
        return f"{found:,.{decimals}f}"
    low, high = found["low"], found["high"]
    ends = f" [{low:.{decimals}f}, {high:.{decimals}f}]" if low is not None and high is not None else ""
    return f"{found['value']:,.{decimals}f}{ends}"


def apart(one: Estimate | None, other: Estimate | None) -> bool:
    """Whether the intervals of two estimates do not touch; false if one has none."""
    if not one or not other or None in (one["low"], one["high"], other["low"], other["high"]):
        return False
    return one["low"] > other["high"] or other["low"] > one["high"]  # type: ignore[operator]
