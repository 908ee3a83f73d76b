"""Praat TextGrids, as the Montreal Forced Aligner and phoneticians write them, in and out (long and short format)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from speechladder.alignment.pocketsphinx import AlignmentError
from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.corpora.text import normalise
from speechladder.io.errors import UserError
from speechladder.io.files import atomic
from speechladder.io.spans import Span

WORD_TIERS, PHONE_TIERS = ("words", "word"), ("phones", "phone")  # whatever the case
PAUSES = {"", "sp", "sil", "sp1", "<sil>", "<eps>"}  # whatever the case
UNKNOWN_WORDS, UNKNOWN_PHONES = {"<unk>", "<oov>", "spn"}, {"spn", "<unk>"}
END_TOLERANCE = 0.05  # seconds: ends are rounded to the aligner's frames, and resampled audio is a little longer

# What Praat reads of a text file: strings and numbers that stand alone (and flags, which say nothing here); all else is
# decoration, which is what the long format adds to the short one (xmin =, intervals [1]:).
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)')


class Tier(NamedTuple):
    """An interval tier: (start, end, label) in order, labels as they are."""

    name: str
    intervals: list[Span]


def _decoded(content: bytes) -> str:
    return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _tokens(text: str) -> Iterator[str | float]:
    for match in _TOKEN.finditer(text):
        if match[1] is not None:
            yield match[1].replace('""', '"')
        elif match[2] is not None:
            yield float(match[2])


def parse_tiers(content: bytes) -> tuple[list[Tier], float]:
    """The interval tiers of a TextGrid, and its end in seconds.

    Praat: Object_fileFormats, TextGrid file formats. Raises ValueError for what is none.
    """
    tokens = _tokens(_decoded(content))

    def text() -> str:
        if not isinstance(found := next(tokens), str):
            raise ValueError(f"{found} where a text should be")
        return found

    def number() -> float:
        if not isinstance(found := next(tokens), float):
            raise ValueError(f"{found!r} where a number should be")
        return found

    try:
        if not text().startswith("ooTextFile") or text() != "TextGrid":
            raise ValueError("no TextGrid header")
        _, end = number(), number()
        tiers = []
        for _ in range(int(number())):
            intervals, name = text() == "IntervalTier", text()
            number(), number()  # the tier's own start and end
            count = int(number())
            if intervals:
                entries = [(number(), number(), text()) for _ in range(count)]
                tiers.append(Tier(name, [Span(label, *times) for *times, label in entries]))
            else:
                for _ in range(count):
                    number(), text()
    except (StopIteration, RuntimeError):
        raise ValueError("it breaks off") from None
    for tier in tiers:
        for before, after in zip([Span("", 0.0, 0.0), *tier.intervals], tier.intervals):
            if after.start < before.end - 1e-6 or after.end < after.start:
                raise ValueError(f"tier {tier.name}: the interval at {after.start} s is out of order")
    return tiers, end


def _pick(where: str, tiers: list[Tier], wanted: tuple[str, ...], explicit: str | None, option: str) -> list[Span]:
    if explicit is not None:
        found = [t for t in tiers if t.name == explicit]
    else:
        found = [t for w in wanted for t in tiers if t.name.lower() == w]
    if not found:
        looked, names = explicit if explicit is not None else " or ".join(wanted), ", ".join(t.name for t in tiers)
        raise UserError(f"{where}: no interval tier {looked}; its tiers are {names}; name one with {option}")
    return found[0].intervals


def _phone(label: str) -> str:
    """Upper-case ARPAbet; what is no ARPAbet (IPA, say) as it is."""
    return label.upper() if strip_stress(label.upper()) in ARPABET else label


def parse_textgrid(
    content: bytes, where: str, words_tier: str | None = None, phones_tier: str | None = None
) -> tuple[list[Span], list[Span]]:
    """As `read_textgrid`, of a file's bytes; `where` names it in errors."""
    try:
        tiers, last = parse_tiers(content)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not readable as a TextGrid ({error})") from None
    spoken = _pick(where, tiers, WORD_TIERS, words_tier, "words_tier")
    words = [w._replace(label=w.label.strip()) for w in spoken if w.label.strip().lower() not in PAUSES]
    phones: list[Span] = []
    for label, start, end in _pick(where, tiers, PHONE_TIERS, phones_tier, "phones_tier"):
        label = SIL if label.strip().lower() in PAUSES else _phone(label.strip())
        if phones and start > phones[-1].end:  # a hole is a pause
            _append(phones, Span(SIL, phones[-1].end, start))
        _append(phones, Span(label, start if phones else 0.0 if label == SIL else start, end))
    if phones and phones[0].start > 0:
        phones.insert(0, Span(SIL, 0.0, phones[0].start))
    if phones and phones[-1].end < last:
        _append(phones, Span(SIL, phones[-1].end, last))
    return words, phones


def read_textgrid(
    path: str | Path, words_tier: str | None = None, phones_tier: str | None = None
) -> tuple[list[Span], list[Span]]:
    """(words without pauses, phones with pauses as SIL), in seconds; the phones are contiguous from 0 to the end.

    Without tier names, the tiers words / word and phones / phone are taken, whatever their case; a pause is an empty
    label, sp or sil. Raises UserError naming the file, and the tiers that it has where none fits.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    return parse_textgrid(content, str(path), words_tier, phones_tier)


def _append(phones: list[Span], span: Span) -> None:
    """Append, joining neighbouring pauses."""
    if phones and span.label == SIL == phones[-1].label:
        phones[-1] = phones[-1]._replace(end=span.end)
    else:
        phones.append(span)


def believed(words: list[Span], phones: list[Span], said: list[str], seconds: float) -> tuple[list[Span], list[Span]]:
    """Words and phones of a TextGrid as those of the utterance `said`, its end moved onto `seconds`.

    Raises AlignmentError with the reason where it is not an alignment of these words and this audio.
    """
    unknown = [k for k, word in enumerate(words) if word.label.lower() in UNKNOWN_WORDS]
    if unknown or any(p.label in UNKNOWN_PHONES for p in phones):
        names = dict.fromkeys(said[k] for k in unknown) if len(words) == len(said) else {}
        raise AlignmentError("unknown word: " + (", ".join(names) or "its phone is spn"))
    if not words or not phones:
        raise AlignmentError("nothing in the TextGrid")
    for k, word in enumerate(said):
        if k >= len(words) or not (words[k].label.lower() == word or normalise(words[k].label) == word):
            there = f"'{words[k].label}'" if k < len(words) else "nothing"
            raise AlignmentError(f"other words than the transcript: {there} for '{word}', word {k + 1}")
    if len(words) > len(said):
        raise AlignmentError(f"other words than the transcript: '{words[len(said)].label}' after the last")
    foreign = sorted({p.label for p in phones if p.label != SIL and strip_stress(p.label) not in ARPABET})
    if foreign:
        raise AlignmentError(f"phones that are not ARPAbet: {' '.join(foreign[:5])}")
    words = [word._replace(label=label) for word, label in zip(words, said)]
    return _ended(words, phones, seconds)


def _ended(words: list[Span], phones: list[Span], seconds: float) -> tuple[list[Span], list[Span]]:
    """The same with the last end at `seconds`; raises AlignmentError where that is no matter of rounding."""
    away = phones[-1].end - seconds
    if abs(away) > END_TOLERANCE:
        raise AlignmentError(f"ends {abs(away):.2f} s {'after' if away > 0 else 'before'} the audio's end")
    while len(phones) > 1 and phones[-1].label == SIL and phones[-1].start >= seconds:
        phones = phones[:-1]
    last = phones[-1].end
    phones = [*phones[:-1], phones[-1]._replace(end=seconds)]
    words = [w._replace(end=seconds) if w.end > seconds or w.end == last else w for w in words]
    if short := next((p for p in [*phones, *words] if p.end <= p.start), None):
        raise AlignmentError(f"no length: '{short.label}' at {short.start:.2f} s")
    return words, phones


def write_textgrid(path: str | Path, words: list[Span], phones: list[Span], seconds: float) -> None:
    """Write tiers words and phones over 0 to `seconds`, in Praat's long format; pauses have empty labels, as MFA's."""
    from praatio import textgrid

    grid = textgrid.Textgrid(0, seconds)
    for name, spans in (("words", words), ("phones", phones)):
        entries = [(s.start, s.end, s.label) for s in spans if s.label != SIL]
        grid.addTier(textgrid.IntervalTier(name, entries, 0, seconds))
    with atomic(path) as temporary:
        grid.save(str(temporary), format="long_textgrid", includeBlankSpaces=True, reportingMode="silence")
