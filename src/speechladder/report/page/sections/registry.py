"""The sections of the page in their order. A new one is a file beside this one and its line in the list."""

from collections.abc import Callable
from pathlib import Path

from speechladder.report.page.section import Section
from speechladder.report.page.sections import (
    costs,
    curves,
    finding,
    items,
    ladder,
    lengths,
    listen,
    moment,
    rejected,
    run,
    steps,
    units,
)

# results -> the section; None if the run lacks what it shows
SECTIONS: tuple[Callable[[Path], Section | None], ...] = (
    finding.section,
    ladder.section,
    steps.section,
    listen.section,
    items.section,
    moment.section,
    curves.layers,
    curves.learning,
    lengths.section,
    units.section,
    costs.section,
    rejected.section,
    run.section,
)
