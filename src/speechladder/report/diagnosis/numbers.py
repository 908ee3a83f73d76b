"""Figures of a diagnosis as the page writes them."""

from collections.abc import Mapping

Estimate = Mapping[str, float | None]


def percent(found: Estimate | float | None, decimals: int = 1) -> str:
    """A share as percent with its interval: '23.1 % [20.4, 25.9]'; a dash for None."""
    return _text(found, decimals, 100, " %")


def plain(found: Estimate | float | None, decimals: int = 2) -> str:
    """A number with its interval; a dash for None."""
    return _text(found, decimals)


def _text(found: Estimate | float | None, decimals: int, times: float = 1, unit: str = "") -> str:
    if found is None:
        return "–"
    value, low, high = (
        (found[end] for end in ("value", "low", "high")) if isinstance(found, Mapping) else (found, None, None)
    )
    ends = "" if low is None or high is None else f" [{times * low:.{decimals}f}, {times * high:.{decimals}f}]"
    return f"{times * value:,.{decimals}f}{unit}{ends}"


def apart(one: Estimate | None, other: Estimate | None) -> bool:
    """Whether the intervals of two estimates do not touch; false if one has none."""
    if not one or not other or None in (one["low"], one["high"], other["low"], other["high"]):
        return False
    return one["low"] > other["high"] or other["low"] > one["high"]  # type: ignore[operator]
