"""Units with the time of each, whatever made them, so that the units of a word or a sentence can be cut out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechladder.alignment.frames import frame_centres
from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.tables import EXTERNAL_UNITS, UNITS, read_table
from speechladder.units.external.load import codebooks_of, rate_of
from speechladder.units.external.times import ends

_ROUNDING = 1e-6  # seconds


@dataclass(frozen=True)
class Timed:
    """The units (n,) of an utterance, and the middle of each in seconds, (n,); None if units have no times.

    `framed`: the units are those of 50 Hz frames, of which each needs a whole window.
    """

    units: np.ndarray
    centres: np.ndarray | None
    framed: bool = False

    def between(self, start: float, end: float) -> np.ndarray | None:
        """The units whose middle is at `start` or later and before `end`, in seconds; None without times.

        A unit over an edge thus belongs to the side on which its middle is.
        """
        if self.centres is None:
            return None
        first, last = np.searchsorted(self.centres + _ROUNDING, [start, end])
        return self.units[first:last]

    def utterance(self, start: float, seconds: float) -> np.ndarray | None:
        """The units of an utterance among others: as many frames as it has when it is alone; None without times.

        The window of a frame that is later would reach beyond its end.
        """
        found = self.between(start, start + seconds)
        if found is None or not self.framed:
            return found
        return found[: frame_count(round(seconds * SAMPLE_RATE))]


def read_timed(path: Path) -> Iterator[tuple[str, Timed]]:
    """(id, units with their times) of each row of a UNITS or EXTERNAL_UNITS table.

    A 50 Hz frame has the middle of its window (alignment.frames). Units of several codebooks have the time of their
    frame; they have none if they have durations.
    """
    table = read_table(path, UNITS)
    framed = b"rate" not in (table.schema.metadata or {})
    rate, books = (0.0, 1) if framed else (rate_of(path), codebooks_of(path)[0])
    if not framed:
        read_table(path, EXTERNAL_UNITS, ["id"])
    durations = table["durations"].combine_chunks() if not framed else None
    values = table["units"].combine_chunks()
    for row, name in enumerate(table["id"].to_pylist()):
        units = values[row].values.to_numpy().astype(np.int64)
        lasting = durations[row].values.to_numpy() if durations is not None and durations[row].is_valid else None
        centres = frame_centres(len(units)) if framed else _centres(units, lasting, rate, books)
        yield name, Timed(units, centres, framed)


def _centres(units: np.ndarray, durations: np.ndarray | None, rate: float, books: int) -> np.ndarray | None:
    """The middle of each unit in seconds; `rate` counts the units of all codebooks."""
    if not rate or (books > 1 and durations is not None):
        return None
    if durations is None:
        return (np.arange(len(units)) // books + 0.5) * books / rate
    return (ends(units, durations) - durations / 2) / rate
