"""TextGrids for tests, written by praatio as the Montreal Forced Aligner writes them."""

from pathlib import Path

from praatio import textgrid

from speechladder.corpora.phones import SIL
from speechladder.io.spans import Span


def write_textgrid(path: Path, words: list[Span], phones: list[Span], seconds: float) -> None:
    """Write tiers words and phones over 0 to `seconds`, in Praat's long format; pauses have empty labels, as MFA's."""
    grid = textgrid.Textgrid(0, seconds)
    for name, spans in (("words", words), ("phones", phones)):
        entries = [(s.start, s.end, s.label) for s in spans if s.label != SIL]
        grid.addTier(textgrid.IntervalTier(name, entries, 0, seconds))
    path.parent.mkdir(parents=True, exist_ok=True)
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True, reportingMode="silence")
