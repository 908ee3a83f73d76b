"""Praat's TextGrid files in the long and the short format: their tiers, checked against what the file says of itself.

Source: the Praat manual, "TextGrid file formats".
"""

import re
from collections import deque
from typing import NamedTuple

from speechladder.io.spans import Span

ROUNDING = 1e-3  # seconds: times of one boundary may differ so much; MFA writes no pause that is shorter

# Praat reads strings, numbers that stand alone, and flags (not needed here) from a text file. It ignores everything
# else, which is what the long format adds to the short one (xmin =, intervals [1]:).
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)')
_HEADER = re.compile(r'\s*(File type\s*=\s*)?"ooTextFile')


class Tier(NamedTuple):
    """An interval tier; its intervals are in order, and their labels unchanged."""

    name: str
    intervals: list[Span]


class Grid(NamedTuple):
    """A TextGrid: its interval tiers, the names of its point tiers, and its end in seconds."""

    tiers: list[Tier]
    points: list[str]
    end: float


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in content[:2]:  # UTF-16 without its mark: the first character of a TextGrid is below 256
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not {error.encoding.upper()}; let Praat save it as UTF-8") from None


class _Tokens:
    """The texts and numbers of a file, taken one after another. A method raises ValueError if there is no such one."""

    def __init__(self, text: str) -> None:
        found = ((match[1], match[2]) for match in _TOKEN.finditer(text))
        self._left = deque(float(number) if text is None else text.replace('""', '"') for text, number in found)

    def __bool__(self) -> bool:
        return bool(self._left)

    def before_number(self) -> bool:
        """Whether the next one is a number."""
        return bool(self._left) and isinstance(self._left[0], float)

    def text(self) -> str:
        """The next one, a text."""
        if not isinstance(found := self._next(), str):
            raise ValueError(f"{found:g} in place of a text")
        return found

    def number(self) -> float:
        """The next one, a number."""
        if not isinstance(found := self._next(), float):
            raise ValueError(f"{found!r} in place of a number")
        return found

    def _next(self) -> str | float:
        if not self._left:
            raise ValueError("it breaks off")
        return self._left.popleft()


def parse_grid(content: bytes) -> Grid:
    """The tiers of a TextGrid.

    Raises ValueError if the file is no TextGrid, breaks off or does not start at 0, if it states another number of
    tiers, intervals or points than follows, or if intervals are out of order or overlap.
    """
    text = _decoded(content)
    tokens = _Tokens(text)
    if not _HEADER.match(text):
        raise ValueError(f"no TextGrid header but {text[:24]!r}; let Praat save it as a text file")
    tokens.text()
    if (kind := tokens.text()) != "TextGrid":
        raise ValueError(f"no TextGrid but a {kind}")
    start, end = tokens.number(), tokens.number()
    if abs(start) > ROUNDING:
        raise ValueError(f"it starts at {start:g} s; its times must be those of the recording, which starts at 0")
    stated = tokens.number() if tokens else 0  # a file without tiers has no number
    tiers, points = [], []
    while tokens:
        if (kind := tokens.text()) not in ("IntervalTier", "TextTier"):
            raise ValueError(f"{kind!r} in place of a tier, after {len(tiers) + len(points)} of {stated:g} tiers")
        if kind == "IntervalTier":
            tiers.append(_interval_tier(tokens))
        else:
            name, _ = _entries(tokens, "points", 1)
            points.append(name)
    if (found := len(tiers) + len(points)) != stated:
        raise ValueError(f"it states {stated:g} tiers, but {found} follow")
    return Grid(tiers, points, end)


def _entries(tokens: _Tokens, called: str, times: int) -> tuple[str, list[Span]]:
    """(name, entries) of a tier, as many as follow; an entry has one or two `times` and a label."""
    name, entries = tokens.text(), []
    tokens.number(), tokens.number()  # the tier's own start and end
    stated = tokens.number()
    while tokens.before_number():
        try:
            found = [tokens.number() for _ in range(times)]
            entries.append(Span(tokens.text(), found[0], found[-1]))
        except ValueError as error:
            raise ValueError(f"tier {name}, number {len(entries) + 1} of its {called}: {error}") from None
    if len(entries) != stated:
        raise ValueError(f"tier {name}: it states {stated:g} {called}, but {len(entries)} follow")
    return name, entries


def _interval_tier(tokens: _Tokens) -> Tier:
    name, intervals = _entries(tokens, "intervals", 2)
    last = 0.0
    for number, (label, start, end) in enumerate(intervals, 1):
        called = f"tier {name}: interval {number}, {label!r} from {start:g} to {end:g} s,"
        if end < start:
            raise ValueError(f"{called} ends before it starts")
        if start < last - ROUNDING:
            raise ValueError(f"{called} starts before {last:g} s, where the one before it ends")
        last = max(last, end)
    return Tier(name, intervals)
