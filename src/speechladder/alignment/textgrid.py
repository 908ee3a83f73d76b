"""Reading Praat TextGrids in the long and the short format, as the Montreal Forced Aligner and phoneticians write them.

Source: the Praat manual, "TextGrid file formats".
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from speechladder.alignment.base import AlignmentError
from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.corpora.text import TextError, normalise
from speechladder.io.errors import UserError
from speechladder.io.spans import Span

WORD_TIERS, PHONE_TIERS = ("words", "word"), ("phones", "phone")  # names in any case
PAUSES = {"", "sp", "sil", "sp1", "<sil>", "<eps>"}  # labels in any case
UNKNOWN_WORDS, UNKNOWN_PHONES = {"<unk>", "<oov>", "spn"}, {"spn", "<unk>"}
END_TOLERANCE = 0.05  # seconds: ends are rounded to the aligner's frames, and resampled audio is a little longer

# Praat reads strings, numbers that stand alone, and flags (not needed here) from a text file. It ignores everything
# else, which is what the long format adds to the short one (xmin =, intervals [1]:).
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)')


class Tier(NamedTuple):
    """An interval tier; its intervals are in order, and their labels unchanged."""

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
    """The interval tiers of a TextGrid, and its end in seconds. Raises ValueError if it is not a TextGrid."""
    tokens = _tokens(_decoded(content))

    def text() -> str:
        if not isinstance(found := next(tokens), str):
            raise ValueError(f"{found} in place of a text")
        return found

    def number() -> float:
        if not isinstance(found := next(tokens), float):
            raise ValueError(f"{found!r} in place of a number")
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
        sought, names = explicit if explicit is not None else " or ".join(wanted), ", ".join(t.name for t in tiers)
        raise UserError(f"{where}: no interval tier {sought}; its tiers are {names}; name one with {option}")
    return found[0].intervals


def _phone(label: str) -> str:
    """An ARPAbet label in upper case; any other label (IPA, for example) unchanged."""
    return label.upper() if strip_stress(label.upper()) in ARPABET else label


def parse_textgrid(
    content: bytes, where: str, words_tier: str | None = None, phones_tier: str | None = None
) -> tuple[list[Span], list[Span]]:
    """As `read_textgrid`, from the bytes of a file, which error messages call `where`."""
    try:
        tiers, last = parse_tiers(content)
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not readable as a TextGrid ({error})") from None
    spoken = _pick(where, tiers, WORD_TIERS, words_tier, "words_tier")
    words = [w._replace(label=w.label.strip()) for w in spoken if w.label.strip().lower() not in PAUSES]
    phones: list[Span] = []
    for label, start, end in _pick(where, tiers, PHONE_TIERS, phones_tier, "phones_tier"):
        label = SIL if label.strip().lower() in PAUSES else _phone(label.strip())
        if phones and start > phones[-1].end:  # a gap between intervals is a pause
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
    """(words without pauses, phones with pauses as SIL), in seconds. The phones are contiguous from 0 to the end.

    Without tier names, the tiers words or word and phones or phone are taken, in any case. A pause is an empty label,
    sp or sil. Raises UserError with the name of the file, and with its tiers if none of them fits.
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


def match_transcript(
    words: list[Span], phones: list[Span], transcript: list[str], seconds: float
) -> tuple[list[Span], list[Span]]:
    """(words, phones) of a TextGrid, labelled as the words of the transcript, with the end moved to `seconds`.

    Raises AlignmentError with the reason if the TextGrid is not an alignment of these words and of audio this long.
    """
    unknown = [k for k, word in enumerate(words) if word.label.lower() in UNKNOWN_WORDS]
    if unknown or any(p.label in UNKNOWN_PHONES for p in phones):
        names = dict.fromkeys(transcript[k] for k in unknown) if len(words) == len(transcript) else {}
        raise AlignmentError("unknown word: " + (", ".join(names) or "its phone is spn"))
    if not words or not phones:
        raise AlignmentError("nothing in the TextGrid")
    for k, word in enumerate(transcript):
        if k >= len(words) or not _is_word(words[k].label, word):
            there = f"'{words[k].label}'" if k < len(words) else "nothing"
            raise AlignmentError(f"other words than the transcript: {there} for '{word}', word {k + 1}")
    if len(words) > len(transcript):
        raise AlignmentError(f"other words than the transcript: '{words[len(transcript)].label}' after the last")
    foreign = sorted({p.label for p in phones if p.label != SIL and strip_stress(p.label) not in ARPABET})
    if foreign:
        raise AlignmentError(f"phones that are not ARPAbet: {' '.join(foreign[:5])}")
    words = [span._replace(label=word) for span, word in zip(words, transcript)]
    return _with_end(words, phones, seconds)


def _is_word(label: str, word: str) -> bool:
    """Whether a label is a word of a transcript, as it stands or normalised."""
    try:
        return label.lower() == word or normalise(label) == word
    except TextError:
        return False


def _with_end(words: list[Span], phones: list[Span], seconds: float) -> tuple[list[Span], list[Span]]:
    """The words and phones with the last end at `seconds`; raises AlignmentError if it moves by more than rounding."""
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
