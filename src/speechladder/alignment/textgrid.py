"""Praat TextGrids, as the Montreal Forced Aligner and phoneticians write them, in and out (long and short format)."""

from pathlib import Path

from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.io.errors import UserError
from speechladder.io.files import atomic
from speechladder.io.spans import Span

WORD_TIERS, PHONE_TIERS = ("words", "word"), ("phones", "phone")  # whatever the case
PAUSES = {"", "sp", "sil", "sp1", "<sil>", "<eps>"}  # whatever the case


def _pick(path: Path, names: tuple[str, ...], wanted: tuple[str, ...], explicit: str | None, option: str) -> str:
    if explicit is not None:
        found = [n for n in names if n == explicit]
    else:
        found = [n for w in wanted for n in names if n.lower() == w]
    if not found:
        looked = explicit if explicit is not None else " or ".join(wanted)
        raise UserError(f"{path}: no interval tier {looked}; its tiers are {', '.join(names)}; name one with {option}")
    return found[0]


def _phone(label: str) -> str:
    """Upper-case ARPAbet; what is no ARPAbet (IPA, say) as it is."""
    return label.upper() if strip_stress(label.upper()) in ARPABET else label


def read_textgrid(
    path: str | Path, words_tier: str | None = None, phones_tier: str | None = None
) -> tuple[list[Span], list[Span]]:
    """(words without pauses, phones with pauses as SIL), in seconds; the phones are contiguous from 0 to the end.

    Without tier names, the tiers words / word and phones / phone are taken, whatever their case; a pause is an empty
    label, sp or sil. Raises UserError naming the file, and the tiers that it has where none fits.
    """
    from praatio import textgrid
    from praatio.utilities.errors import PraatioException

    path = Path(path)
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (PraatioException, ValueError, IndexError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as a TextGrid ({error})") from None
    names = tuple(t.name for t in grid.tiers if isinstance(t, textgrid.IntervalTier))
    word_name = _pick(path, names, WORD_TIERS, words_tier, "words_tier")
    phone_name = _pick(path, names, PHONE_TIERS, phones_tier, "phones_tier")
    words = [
        Span(e.label.strip(), e.start, e.end)
        for e in grid.getTier(word_name).entries
        if e.label.strip().lower() not in PAUSES
    ]
    phones: list[Span] = []
    for start, end, label in grid.getTier(phone_name).entries:
        label = SIL if label.strip().lower() in PAUSES else _phone(label.strip())
        if phones and start > phones[-1].end:  # a hole is a pause
            _append(phones, Span(SIL, phones[-1].end, start))
        _append(phones, Span(label, start if phones else 0.0 if label == SIL else start, end))
    if phones and phones[0].start > 0:
        phones.insert(0, Span(SIL, 0.0, phones[0].start))
    if phones and phones[-1].end < grid.maxTimestamp:
        _append(phones, Span(SIL, phones[-1].end, grid.maxTimestamp))
    return words, phones


def _append(phones: list[Span], span: Span) -> None:
    """Append, joining neighbouring pauses."""
    if phones and span.label == SIL == phones[-1].label:
        phones[-1] = phones[-1]._replace(end=span.end)
    else:
        phones.append(span)


def write_textgrid(path: str | Path, words: list[Span], phones: list[Span], seconds: float) -> None:
    """Write tiers words and phones over 0 to `seconds`, in Praat's long format; pauses have empty labels, as MFA's."""
    from praatio import textgrid

    grid = textgrid.Textgrid(0, seconds)
    for name, spans in (("words", words), ("phones", phones)):
        entries = [(s.start, s.end, s.label) for s in spans if s.label != SIL]
        grid.addTier(textgrid.IntervalTier(name, entries, 0, seconds))
    with atomic(path) as temporary:
        grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True, reportingMode="silence")
