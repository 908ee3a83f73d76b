"""Phones and text to audio: espeak-ng is told the phones, and each can be given its duration.

A model's phones have no word boundaries and, by default, no stress; espeak-ng would reduce every vowel and run through.
`stressed` says what is done instead.
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

PAUSE = round(0.4 * SAMPLE_RATE)  # samples of a SIL that has no duration: espeak-ng's pause between sentences
LONGEST = 100  # phones spoken in one breath; espeak-ng's buffer for a clause holds 800 letters
REDUCED = ("AH", "IH", "ER", "UH")  # vowels that are unstressed more often than not
WINDOW, SEARCH = 400, 100  # samples of the overlapped windows, and how far they are moved to fit: 25 and 6 ms


def text_to_speech(text: str, voice: Voice, seed: int) -> np.ndarray:
    """(n,) float32 at 16 kHz of a text, words or not; empty where it has no letters."""
    return speak(text, voice, seed).samples if normalise(text) else np.zeros(0, np.float32)


def phones_to_speech(phones: list[str], seconds: list[float] | None, voice: Voice, seed: int) -> np.ndarray:
    """Speak ARPAbet phones, with or without stress digits, SIL for pauses, '|' between words where they are known.

    seconds: a duration for each symbol, to which the audio is warped; the whole is round(16000 sum(seconds)) samples.
    None: espeak-ng's own timing, with 80 ms of silence before and after. Two neighbours that are alike are two phones:
    collapse the runs of phone-repeat first. Returns (n,) float32 at 16 kHz, empty when there is nothing but pauses.
    The same arguments give the same samples in any process and order. Raises ValueError for a symbol that is no phone
    and for durations that are not one per symbol, or negative.
    """
    if seconds is not None and (len(seconds) != len(phones) or min(seconds, default=0) < 0):
        raise ValueError(f"{len(phones)} symbols need as many durations, none negative: {seconds}")
    breaths = _breaths(phones)
    if not breaths:
        return np.zeros(0, np.float32)
    labels = stressed(phones)
    starts = None if seconds is None else np.round(np.cumsum([0, *seconds]) * SAMPLE_RATE).astype(int)
    pieces, end = [], 0
    for breath in breaths:
        audio, edges = _spoken([labels[i] for i in breath], voice, seed)
        if starts is None:
            paused = breath[0] > 0 and phones[breath[0] - 1] == SIL
            at = end + PAUSE * paused if pieces else EDGE
        else:  # a phone lasts until the next phone or pause: what a boundary took is given to the phone before it
            goal = starts[[*(i for i in breath if phones[i] != BOUNDARY), breath[-1] + 1]]
            audio, edges = warp(audio, edges, goal - goal[0])
            at = goal[0]
        pieces.append((at - edges[0], audio))
        end = at + edges[-1] - edges[0]
    return _joined(pieces, end + EDGE if starts is None else int(starts[-1]), seed)


def _breaths(phones: list[str]) -> list[list[int]]:
    """The indices of the symbols between pauses, at most `LONGEST` at a time, of nearly equal number."""
    out = []
    for pause, group in groupby(range(len(phones)), key=lambda i: phones[i] == SIL):
        indices = list(group)
        if not pause and any(phones[i] != BOUNDARY for i in indices):
            parts = np.array_split(indices, -(-len(indices) // LONGEST))
            out += [p.tolist() for p in parts if any(phones[i] != BOUNDARY for i in p)]
    return out


def stressed(phones: list[str]) -> list[str]:
    """Phones with stress digits: as they are if any has one, else primary stress on every vowel not in `REDUCED`."""
    if any(p[-1:].isdigit() for p in phones):
        return phones
    return [f"{p}1" if is_vowel(p) and p not in REDUCED else p for p in phones]


def _spoken(labels: list[str], voice: Voice, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Speak phones in one breath: (n,) float32 at 16 kHz, and the samples where the phones begin and the last ends."""
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
    """Move the samples `edges` of `audio` (n,) to the samples `goal`, pitch kept; linear between them, and what is
    before the first and after the last edge keeps its length. Both (k,), not decreasing, the edges increasing.

    Overlapped Hann windows, each moved by up to `SEARCH` samples to where it best continues the one before.
    Returns the warped audio and where the first to last edge are in it.
    """
    goal = goal - goal[0] + edges[0]
    tail = len(audio) - edges[-1]
    length, hop = int(goal[-1] + tail), WINDOW // 2
    new, old = _increasing(np.array([0, *goal, length])), np.array([0, *edges, len(audio)])
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
        fit[SEARCH] += 1e-6  # nothing to fit to: silence stays where it is
        best = int(np.argmax(fit)) - SEARCH
        out[k * hop : k * hop + WINDOW] += window * source[begin + best : begin + best + WINDOW]
        follows = centre + best + hop
    return out[hop : hop + length], goal


def _increasing(edges: np.ndarray) -> np.ndarray:
    """Edges as floats, a phone that has no time at all pushed on by too little to hear."""
    return edges + 1e-6 * np.arange(len(edges))


def _joined(pieces: list[tuple[int, np.ndarray]], total: int, seed: int) -> np.ndarray:
    """Pieces that begin at a sample each, which may be before 0, added up over `total` samples of dither."""
    out = DITHER * np.random.default_rng(seed & 0x7FFFFFFF).standard_normal(total, dtype=np.float32)
    for begin, audio in pieces:
        first, end = max(0, begin), min(total, begin + len(audio))
        if end > first:
            out[first:end] += audio[first - begin : end - begin]
    return np.clip(out, -1, 1)
