"""Progress of long steps: a bar with a rate on a terminal, otherwise a line every 15 seconds."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LOG_EVERY = 15.0  # seconds between lines if stderr is no terminal


def say(text: str) -> None:
    """Print one line to stderr: a warning, or a figure at the start of a step."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Meter:
    """Counts the work that is done, and shows its rate."""

    def __init__(
        self, label: str, total: float | None, unit: str, scale: float = 1.0, done: float = 0.0, digits: int = 0
    ) -> None:
        self.label, self.total, self.unit, self.scale, self.digits = label, total, unit, scale, digits
        self.done = self.first = done
        self.note = ""
        self.begun = self.shown = time.monotonic()
        self._bar = self._task = None

    def advance(self, amount: float, note: str = "") -> None:
        """Count `amount` more; `note`, such as a loss, is shown beside the rate."""
        self.done += amount
        self.note = note or self.note
        if self._bar:
            self._bar.update(self._task, completed=self.done, text=self._rate())
        elif time.monotonic() - self.shown > LOG_EVERY:
            self.shown = time.monotonic()
            percent = "" if self.total is None else f" {100 * self.done / max(self.total, 1e-9):.0f} %,"
            say(f"{self.label}:{percent} {self._rate()}{self._left()}")

    def _rate(self) -> str:
        rate = (self.done - self.first) * self.scale / max(time.monotonic() - self.begun, 1e-9)
        return f"{rate:,.{self.digits}f} {self.unit}" + (f", {self.note}" if self.note else "")

    def _left(self) -> str:
        """The time left at the mean rate so far; '' if it is unknown."""
        made = self.done - self.first
        if self.total is None or made <= 0:
            return ""
        seconds = max(0.0, self.total - self.done) / made * (time.monotonic() - self.begun)
        return f", {duration(seconds)} left"


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row of cells, in columns of equal width; the first column is aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.rjust(w) if n else cell.ljust(w) for n, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]


def duration(seconds: float) -> str:
    """A duration as text: '42 s', '3 min', '2 h 05 min', '3 d 4 h'.

    >>> duration(7500)
    '2 h 05 min'
    """
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def size_text(size: float) -> str:
    """A number of bytes as text: '35.2 GB', '12.3 MB', '512 bytes'."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.{1 if size < 1000 * unit else 0}f} {name}"
    return f"{size:.0f} bytes"


def no_progress(amount: float) -> None:
    """No-op progress callback."""


@contextmanager
def progress(
    label: str, total: float | None, unit: str, scale: float = 1.0, done: float = 0.0, digits: int = 0
) -> Iterator[Meter]:
    """Yield a Meter for `total` amounts. `unit` names the shown rate, `scale` converts amount/s to it.

    `done` is the amount from an earlier run: it counts for the percentage but not for the rate. A `total` of None is
    unknown. `digits`: decimals of the rate.

    >>> with progress("encode", total=3600.0, unit="h of speech per h") as meter:  # amounts in seconds
    ...     meter.advance(10.0)
    """
    meter = Meter(label, total, unit, scale, done, digits)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} % {task.fields[text]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            meter._bar, meter._task = bar, bar.add_task(label, total=total, completed=done, text="")
            yield meter
    else:
        yield meter
        say(f"{label}: done, {meter._rate()}, {time.monotonic() - meter.begun:.1f} s")
