"""The alignment in a TextGrid: its words and phones, checked against each other, the transcript and the audio.

TextGrids that are given and those that the Montreal Forced Aligner writes are read by the same function,
`read_alignment`.
"""

import re
from bisect import bisect_left, bisect_right
from pathlib import Path

from speechladder.alignment.base import Aligned, AlignmentError
from speechladder.alignment.praat import ROUNDING, Grid, Tier, parse_grid
from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.corpora.text import TextError, normalise
from speechladder.io.errors import UserError
from speechladder.io.spans import Span

_ROLE = re.compile(r"(?:(.*\S)\s*-\s*)?(word|phone)s?", re.IGNORECASE)  # of the tiers words and NAME - words
PAUSES = {"", "sp", "sil", "sp1", "<sil>", "<eps>"}  # labels in any case
UNKNOWN_WORDS, UNKNOWN_PHONES = {"<unk>", "<oov>", "spn"}, {"spn", "<unk>"}
END_TOLERANCE = 0.05  # seconds: ends are rounded to the aligner's frames, and resampled audio is a little longer
EDGE_TOLERANCE = 0.009  # seconds between the edges of a word and its phones; MFA's shortest phones have 0.01 s


def read_alignment(content: bytes, where: str, transcript: list[str], seconds: float) -> Aligned:
    """The alignment in the bytes of a TextGrid, which messages call `where`.

    Its words must be the transcript's, and its end that of audio of `seconds` seconds. Raises AlignmentError with the
    reason if the file cannot be read or cannot be this alignment.
    """
    try:
        words, phones = _words_and_phones(content)
    except ValueError as error:
        raise AlignmentError(f"unreadable TextGrid: {where}: {error}") from None
    return Aligned(*match_transcript(words, phones, transcript, seconds), seconds)


def read_textgrid(path: str | Path) -> tuple[list[Span], list[Span]]:
    """As `parse_textgrid`, from a file. Raises UserError also if there is no such file."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    return parse_textgrid(content, str(path))


def parse_textgrid(content: bytes, where: str) -> tuple[list[Span], list[Span]]:
    """(words without pauses, phones with pauses as SIL), in seconds. The phones are contiguous from 0 to the end.

    The interval tiers are words (or word) and phones (or phone), in any case, or those of one speaker: NAME - words
    and NAME - phones. A pause is an empty label, sp, sil or a gap. Raises UserError with the name `where` if the file
    is not readable or does not have these tiers.
    """
    try:
        return _words_and_phones(content)
    except ValueError as error:
        raise UserError(f"{where}: not readable as a TextGrid ({error})") from None


def _words_and_phones(content: bytes) -> tuple[list[Span], list[Span]]:
    grid = parse_grid(content)
    words, phones = _pair(grid)
    spoken = [w._replace(label=w.label.strip()) for w in words.intervals if not _is_pause(w)]
    return spoken, _contiguous(phones.intervals, grid.end)


def _is_pause(span: Span) -> bool:
    return span.label.strip().lower() in PAUSES


def _pair(grid: Grid) -> tuple[Tier, Tier]:
    """The tiers of words and phones; raises ValueError if there is not exactly one of each."""
    speakers: dict[str, dict[str, list[Tier]]] = {}
    for tier in grid.tiers:
        if role := _ROLE.fullmatch(tier.name.strip()):
            speakers.setdefault(role[1] or "", {}).setdefault(role[2].lower(), []).append(tier)
    pairs = {name: (own["word"], own["phone"]) for name, own in speakers.items() if len(own) == 2}
    if len(pairs) > 1:  # a speaker who says nothing is none
        said = {name: own for name, own in pairs.items() if not all(map(_is_pause, own[0][0].intervals))}
        pairs = said or dict([*pairs.items()][:1])
    if not pairs:
        named = ", ".join(tier.name for tier in grid.tiers) or "none"
        points = f", its point tiers are {', '.join(grid.points)}" if grid.points else ""
        raise ValueError(
            f"it needs interval tiers called words and phones; its tiers are {named}{points}; let Praat rename them"
        )
    if len(pairs) > 1:
        names = ", ".join(name or "one without a name" for name in pairs)
        raise ValueError(
            f"tiers of {len(pairs)} speakers: {names}; an utterance has one: cut the recording into the utterances of "
            "each speaker, each with a TextGrid of its own"
        )
    ((words, phones),) = pairs.values()
    for tiers in (words, phones):
        if len(tiers) > 1:
            raise ValueError(
                f"{len(tiers)} tiers where one is needed: {', '.join(t.name for t in tiers)}; remove others"
            )
    return words[0], phones[0]


def _contiguous(intervals: list[Span], last: float) -> list[Span]:
    """The phones from 0 to `last` seconds. Pauses and gaps are SIL; neighbours that rounding parts meet."""
    phones: list[Span] = []
    for span in intervals:
        at = phones[-1].end if phones else 0.0
        if _is_pause(span):
            if span.end - at > ROUNDING:
                _append(phones, Span(SIL, at, span.end))
            continue
        if span.start - at > ROUNDING:
            _append(phones, Span(SIL, at, span.start))
        _append(phones, Span(_phone(span.label.strip()), phones[-1].end if phones else 0.0, span.end))
    if phones and last - phones[-1].end > ROUNDING:
        _append(phones, Span(SIL, phones[-1].end, last))
    elif phones:
        phones[-1] = phones[-1]._replace(end=max(last, phones[-1].end))
    return phones


def _append(phones: list[Span], span: Span) -> None:
    """Append, joining neighbouring pauses."""
    if phones and span.label == SIL == phones[-1].label:
        phones[-1] = phones[-1]._replace(end=span.end)
    else:
        phones.append(span)


def _phone(label: str) -> str:
    """An ARPAbet label in upper case; any other label (IPA, for example) unchanged."""
    return label.upper() if strip_stress(label.upper()) in ARPABET else label


def match_transcript(
    words: list[Span], phones: list[Span], transcript: list[str], seconds: float
) -> tuple[list[Span], list[Span]]:
    """(words, phones) of a TextGrid, labelled as the words of the transcript, with the end moved to `seconds`.

    Raises AlignmentError with the reason if the TextGrid is not an alignment of these words and of audio this long, or
    if its words and phones do not fit each other.
    """
    noises = [_middle(phone) for phone in phones if phone.label in UNKNOWN_PHONES]
    unknown = [
        k
        for k, word in enumerate(words)
        if word.label.lower() in UNKNOWN_WORDS or any(word.start <= at < word.end for at in noises)
    ]
    if unknown or noises:
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
    _check_phones(words, phones)
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


def _check_phones(words: list[Span], phones: list[Span]) -> None:
    """Raise AlignmentError unless each word is covered by phones, and each phone lies in a word.

    A phone lies in the word in which its middle is.
    """
    starts, ends = [phone.start for phone in phones], [phone.end for phone in phones]
    for number, (label, start, end) in enumerate(words, 1):
        word = f"word {number}, '{label}' from {start:.3f} to {end:.3f} s"
        there = phones[bisect_right(ends, start) : bisect_left(starts, end)]
        if not any(phone.label != SIL and start <= _middle(phone) <= end for phone in there):
            raise AlignmentError(f"word without phones: {word}, has none in the phones tier")
        for pause in (phone for phone in there if phone.label == SIL):
            since, until = max(pause.start, start), min(pause.end, end)
            within = pause.start >= start - ROUNDING and pause.end <= end + ROUNDING
            if within or until - since > EDGE_TOLERANCE + 1e-6:
                raise AlignmentError(
                    f"word with a gap: {word}, has no phone from {since:.3f} to {until:.3f} s in the phones tier"
                )
    starts, ends = [word.start for word in words], [word.end for word in words]
    for phone in phones:
        middle = _middle(phone)
        near = words[bisect_left(ends, middle - EDGE_TOLERANCE) : bisect_right(starts, middle + EDGE_TOLERANCE)]
        if phone.label != SIL and not near:
            raise AlignmentError(
                f"phone without a word: '{phone.label}' from {phone.start:.3f} to {phone.end:.3f} s in the phones "
                "tier; the words tier has no word there"
            )


def _middle(span: Span) -> float:
    return (span.start + span.end) / 2
