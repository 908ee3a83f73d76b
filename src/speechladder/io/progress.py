"""Progress of long steps: a bar with a rate on a terminal, a log line now and then otherwise."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOG_EVERY = 15.0  # seconds between lines where stderr is no terminal


def _line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """One line on stderr: a warning, a figure at the start of a step."""
    _line(text)


class Meter:
    """Counts work done; `advance(amount)` in the unit named at construction."""

    def __init__(self, label: str, total: float, unit: str, scale: float = 1.0) -> None:
        self.label, self.total, self.unit, self.scale = label, total, unit, scale
        self.done, self.note = 0.0, ""
        self.begun = self.shown = time.monotonic()
        self._bar = self._task = None

    def advance(self, amount: float, note: str = "") -> None:
        """Add `amount`; `note` (a loss, say) is shown beside the rate."""
        self.done += amount
        self.note = note or self.note
        if self._bar:
            self._bar.update(self._task, completed=self.done, text=self._rate())
        elif time.monotonic() - self.shown > LOG_EVERY:
            self.shown = time.monotonic()
            _line(f"{self.label}: {100 * self.done / max(self.total, 1e-9):.0f} %, {self._rate()}")

    def _rate(self) -> str:
        rate = self.done * self.scale / max(time.monotonic() - self.begun, 1e-9)
        return f"{rate:,.0f} {self.unit}" + (f", {self.note}" if self.note else "")


@contextmanager
def progress(label: str, total: float, unit: str, scale: float = 1.0) -> Iterator[Meter]:
    """Yield a Meter for `total` amounts. `unit` names the shown rate, `scale` converts amount/s to it.

    >>> with progress("encode", total=3600.0, unit="h of speech per h") as meter:  # amounts in seconds
    ...     meter.advance(10.0)
    """
    meter = Meter(label, total, unit, scale)
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
            meter._bar, meter._task = bar, bar.add_task(label, total=total, text="")
            yield meter
    else:
        yield meter
        _line(f"{label}: done, {meter._rate()}, {time.monotonic() - meter.begun:.1f} s")
