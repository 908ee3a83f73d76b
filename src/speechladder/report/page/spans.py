"""Where the tokens of a rung lie in time."""

from collections.abc import Sequence
from itertools import chain, groupby, pairwise

from speechladder.alignment.frames import frame_centres
from speechladder.constants import FRAME_RATE
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.io.spans import Span
from speechladder.rungs.functions import BOUNDARY, PAUSE_MARK
from speechladder.rungs.registry import SPACE, Utterance

Pieces = Sequence[Sequence[str]]  # the symbols of each token
Times = list[tuple[float, float]]  # start and end of each symbol in seconds; equal if it takes no time
HALF = 0.5 / FRAME_RATE


def token_spans(pieces: Pieces, utterance: Utterance, unit_ends: Sequence[float]) -> list[Span] | None:
    """The tokens of an utterance in time; None if the utterance does not tell the times of their symbols.

    A letter has its share of the time of its word. So has a space that is a token of its own; it follows the word, or
    precedes it on a rung of BPE. The mark of a pause has the pause. A phone has its own time, a symbol per frame the
    20 ms around the frame's centre, and a unit the time up to its end. A token reaches from its first symbol to its
    last.

    Args:
        pieces: the symbols of each token, of the whole utterance
        utterance: with its text, words, phones, frames and, for rungs of units, units
        unit_ends: the end in seconds of each of the utterance's units; empty if it is not known
    """
    letters = _text(pieces, utterance)
    times = letters or _phones(pieces, utterance) or _units(pieces, utterance, unit_ends)
    times = times or _frames(pieces, utterance)
    if times is None:
        return None
    found, left = [], iter(times)
    for piece in pieces:
        own = [next(left) for _ in piece]
        if len(piece) > 1:
            own = [time for time, symbol in zip(own, piece) if symbol != SPACE]
        if own:
            found.append(Span(("" if letters else " ").join(piece), own[0][0], own[-1][1]))
    return found


def is_unit(symbol: str) -> bool:
    """Whether a symbol is that of a unit: u57."""
    return symbol[:1] == "u" and symbol[1:].isdigit()


def _text(pieces: Pieces, utterance: Utterance) -> Times | None:
    """Letters and spaces over their words, marks of pauses between them."""
    words, texts = utterance.words, utterance.text.split()
    symbols, bpe = [*chain.from_iterable(pieces)], any(len(piece) > 1 for piece in pieces)
    letters = [symbol for symbol in symbols if symbol not in (SPACE, PAUSE_MARK)]
    if not words or len(words) != len(texts) or letters != [*"".join(texts)]:
        return None
    alone = [len(piece) == 1 for piece in pieces for _ in piece]
    sharing: list[list[int]] = [[] for _ in words]  # the symbols that share a word's time
    times, word, left = [(0.0, 0.0)] * len(symbols), -1, 0
    for number, (symbol, own) in enumerate(zip(symbols, alone)):
        if symbol == PAUSE_MARK:
            end = words[word + 1].start if word + 1 < len(words) else utterance.seconds
            times[number] = (words[word].end if word >= 0 else 0.0, end)
        elif symbol == SPACE:
            near = symbols[max(0, number - 1) : number + 2]  # a space beside a pause is on the other side of it
            at = word + (near[0] == PAUSE_MARK or (bpe and near[-1] != PAUSE_MARK))
            if own and 0 <= at < len(words):
                sharing[at].append(number)
        else:
            word, left = (word, left - 1) if left else (word + 1, len(texts[word + 1]) - 1)
            sharing[word].append(number)
    for span, numbers in zip(words, sharing):
        part = (span.end - span.start) / len(numbers)
        for place, number in enumerate(numbers):
            times[number] = (span.start + place * part, span.start + (place + 1) * part)
    return times


def _phones(pieces: Pieces, utterance: Utterance) -> Times | None:
    """Phones in order; adjacent pauses are one or none, a boundary takes no time."""
    spans: list[Span] = []
    for phone in utterance.phones:
        if phone.label == SIL and spans and spans[-1].label == SIL:
            spans[-1] = spans[-1]._replace(end=phone.end)
        else:
            spans.append(phone)
    times: Times = []
    left = iter(spans)
    for symbol in chain.from_iterable(pieces):
        if symbol == BOUNDARY:
            times.append((times[-1][1],) * 2 if times else (0.0, 0.0))
            continue
        span = next((span for span in left if span.label != SIL or symbol == SIL), None)
        if span is None or symbol not in (span.label, strip_stress(span.label)):
            return None
        times.append((span.start, span.end))
    return times if all(span.label == SIL for span in left) else None


def _units(pieces: Pieces, utterance: Utterance, ends: Sequence[float]) -> Times | None:
    """The units as they are or with each run written once; other symbols among them take no time."""
    units = [] if utterance.units is None else [f"u{unit}" for unit in utterance.units]
    symbols = [*chain.from_iterable(pieces)]
    said = [symbol for symbol in symbols if is_unit(symbol)]
    if not said or len(ends) != len(units):
        return None
    if said != units:
        runs = [(unit, max(end for _, end in group)) for unit, group in groupby(zip(units, ends), lambda pair: pair[0])]
        units, ends = [unit for unit, _ in runs], [end for _, end in runs]
    if said != units:
        return None
    bounds, kept = pairwise([0.0, *ends]), set(said)
    times: Times = []
    for symbol in symbols:
        times.append(next(bounds) if symbol in kept else (times[-1][1],) * 2 if times else (0.0, 0.0))
    return times


def _frames(pieces: Pieces, utterance: Utterance) -> Times | None:
    """A symbol per 50 Hz frame."""
    if sum(map(len, pieces)) != utterance.frames:
        return None
    return [(centre - HALF, centre + HALF) for centre in frame_centres(utterance.frames).tolist()]
