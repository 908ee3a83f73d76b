"""Synthesis of phones and text by espeak-ng, optionally with a duration for each phone.

A model's phones have no word boundaries and, by default, no stress. espeak-ng would reduce every unstressed vowel, so
`add_stress` adds primary stress.
"""

from difflib import SequenceMatcher
from itertools import groupby

import numpy as np
import soxr

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora import espeak
from speechladder.corpora.phones import SIL, from_espeak, is_vowel, strip_stress, to_espeak
from speechladder.corpora.speak import DITHER, EDGE, lengthen, restore_sonorants, speak
from speechladder.corpora.text import normalise
from speechladder.corpora.voices import Voice
from speechladder.rungs.functions import BOUNDARY

PAUSE = round(0.4 * SAMPLE_RATE)  # samples of a SIL without duration, the length of espeak-ng's pause between sentences
LONGEST = 100  # phones of one call of espeak-ng, whose buffer for a clause holds 800 letters
REDUCED = ("AH", "IH", "ER", "UH")  # vowels that are mostly unstressed
WINDOW, SEARCH = 400, 100  # samples (25 and 6 ms) of the overlapping windows, and of their largest shift


def text_to_speech(text: str, voice: Voice, seed: int) -> np.ndarray:
    """Return the speech of a text, (n,) float32 at 16 kHz, also of non-words; empty if it has no letters.

    Raise TextError if it cannot be spelt.
    """
    return speak(text, voice, seed).samples if normalise(text) else np.zeros(0, np.float32)


def phones_to_speech(phones: list[str], seconds: list[float] | None, voice: Voice, seed: int) -> np.ndarray:
    """Speak ARPAbet phones, with or without stress digits; SIL is a pause, '|' an optional boundary between words.

    `seconds` is a duration for each symbol, to which the audio is warped, so that the result has round(16000
    sum(seconds)) samples. With None, espeak-ng's own timing is kept, with 80 ms of silence before and after. Two equal
    neighbours are two phones, so collapse the runs of phone-repeat first. Return (n,) float32 at 16 kHz, empty if there
    are only pauses. The same arguments give the same samples in any process and order. Raise ValueError for a symbol
    that is not a phone, and for durations that are negative or not one per symbol.
    """
    if seconds is not None and (len(seconds) != len(phones) or min(seconds, default=0) < 0):
        raise ValueError(f"{len(phones)} symbols need as many durations, none negative: {seconds}")
    clauses = _clauses(phones)
    if not clauses:
        return np.zeros(0, np.float32)
    labels = add_stress(phones)
    starts = None if seconds is None else np.round(np.cumsum([0, *seconds]) * SAMPLE_RATE).astype(int)
    pieces, end = [], 0
    for clause in clauses:
        audio, edges = _spoken([labels[i] for i in clause], voice, seed)
        if starts is None:
            paused = clause[0] > 0 and phones[clause[0] - 1] == SIL
            at = end + PAUSE * paused if pieces else EDGE
        else:  # a phone lasts until the next phone or pause; the duration of a boundary goes to the phone before it
            goal = starts[[*(i for i in clause if phones[i] != BOUNDARY), clause[-1] + 1]]
            audio, edges = warp(audio, edges, goal - goal[0])
            at = goal[0]
        pieces.append((at - edges[0], audio))
        end = at + edges[-1] - edges[0]
    return _joined(pieces, end + EDGE if starts is None else int(starts[-1]), seed)


def _clauses(phones: list[str]) -> list[list[int]]:
    """The indices of the symbols between pauses, in parts of nearly equal size, at most `LONGEST`."""
    out = []
    for pause, group in groupby(range(len(phones)), key=lambda i: phones[i] == SIL):
        indices = list(group)
        if not pause and any(phones[i] != BOUNDARY for i in indices):
            parts = np.array_split(indices, -(-len(indices) // LONGEST))
            out += [p.tolist() for p in parts if any(phones[i] != BOUNDARY for i in p)]
    return out


def add_stress(phones: list[str]) -> list[str]:
    """Return phones unchanged if any has a stress digit, else with primary stress on every vowel not in `REDUCED`."""
    if any(p[-1:].isdigit() for p in phones):
        return phones
    return [f"{p}1" if is_vowel(p) and p not in REDUCED else p for p in phones]


def _spoken(labels: list[str], voice: Voice, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Speak one clause: (n,) float32 at 16 kHz, and the samples where each phone begins and the last one ends."""
    words = [list(group) for edge, group in groupby(labels, key=lambda p: p == BOUNDARY) if not edge]
    text = "[[" + " ".join("|".join(to_espeak(p) for p in word) for word in words) + "]]"
    wave, events = espeak.synthesise(
        text, voice.espeak, voice.rate, voice.pitch, voice.pitch_range, seed & 0x7FFFFFFF, mnemonics=True
    )
    audio = soxr.resample(wave.astype(np.float32) / 32768, espeak.RATE, SAMPLE_RATE)
    said: list[tuple[str, float]] = []
    times = [*(e.sample * SAMPLE_RATE / espeak.RATE for e in events), len(audio)]
    for event, begin, end in zip(events, times[:-1], times[1:]):
        parts = from_espeak(event.symbol, voice.accent)
        said += [(part, begin + (end - begin) * k / len(parts)) for k, part in enumerate(parts)]
    bare = [strip_stress(p) for word in words for p in word]
    matches = SequenceMatcher(None, bare, [label for label, _ in said], autojunk=False).get_matching_blocks()
    known = {m.a + k: said[m.b + k][1] for m in matches for k in range(m.size)}
    last = max(k for k, (label, _) in enumerate(said) if label != SIL)
    known[len(bare)] = said[last + 1][1] if last + 1 < len(said) else len(audio)
    edges = np.round(np.interp(np.arange(len(bare) + 1), list(known), list(known.values()))).astype(int)
    lengths = lengthen(restore_sonorants(bare, np.diff(edges).tolist()))
    edges = edges[0] + np.cumsum([0, *lengths])
    begin, end = max(0, edges[0] - EDGE), min(len(audio), edges[-1] + EDGE)
    return audio[begin:end], edges - begin


def warp(audio: np.ndarray, edges: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the samples `edges` of `audio` (n,) to the samples `goal`, without a change of pitch.

    `edges` (k,) increase, and `goal` (k,) does not decrease. Time is warped linearly between edges; the audio before
    the first and after the last edge keeps its length. Overlapping Hann windows are each shifted by up to `SEARCH`
    samples, to where they best continue the previous window (WSOLA, Verhelst and Roelands 1993). Return the warped
    audio and the samples of the edges in it.
    """
    goal = goal - goal[0] + edges[0]
    tail = len(audio) - edges[-1]
    length, hop = int(goal[-1] + tail), WINDOW // 2
    new, old = np.array([0, *goal, length]), np.array([0, *edges, len(audio)])
    new = new + 1e-6 * np.arange(len(new))  # a phone without duration gets an inaudibly short one
    centres = np.arange(0, length + hop, hop)
    at = np.round(np.interp(centres, new, old)).astype(int)
    room = WINDOW + SEARCH
    source = np.pad(audio, (room, room + WINDOW))
    out = np.zeros(len(centres) * hop + WINDOW, np.float32)
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    follows = at[0]
    for k, centre in enumerate(at):
        begin = room + centre - hop
        ideal = source[room + follows - hop : room + follows + hop]
        near = source[begin - SEARCH : begin + SEARCH + WINDOW]
        energy = np.convolve(near**2, np.ones(WINDOW), "valid")
        fit = np.correlate(near, ideal, "valid") / np.sqrt(energy + 1e-6)
        fit[SEARCH] += 1e-6  # prefers no shift if all fit equally well, as in silence
        best = int(np.argmax(fit)) - SEARCH
        out[k * hop : k * hop + WINDOW] += window * source[begin + best : begin + best + WINDOW]
        follows = centre + best + hop
    return out[hop : hop + length], goal


def _joined(pieces: list[tuple[int, np.ndarray]], total: int, seed: int) -> np.ndarray:
    """Add pieces (first sample, which may be negative, and audio) to `total` samples of dither."""
    out = DITHER * np.random.default_rng(seed & 0x7FFFFFFF).standard_normal(total, dtype=np.float32)
    for begin, audio in pieces:
        first, end = max(0, begin), min(total, begin + len(audio))
        if end > first:
            out[first:end] += audio[first - begin : end - begin]
    return np.clip(out, -1, 1)
