"""Timed labels: the words and phones of alignments."""

from typing import NamedTuple


class Span(NamedTuple):
    """A word or a phone, with start and end in seconds from the start of the utterance."""

    label: str
    start: float
    end: float


def as_rows(spans: list[Span]) -> list[dict[str, object]]:
    """Spans as rows of a column of io.tables.SPAN."""
    return [span._asdict() for span in spans]


def from_rows(rows: list[dict[str, object]]) -> list[Span]:
    """The inverse of `as_rows`."""
    return [Span(str(r["label"]), float(r["start"]), float(r["end"])) for r in rows]  # type: ignore[arg-type]
