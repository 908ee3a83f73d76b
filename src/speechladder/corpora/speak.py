"""Text to speech with exact times: waveform, words and phones from one call of espeak-ng."""

import bisect
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import soxr

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora import espeak
from speechladder.corpora.effects import recorded
from speechladder.corpora.phones import SIL, from_espeak, is_vowel, split_stress, strip_stress
from speechladder.corpora.text import letters, spell_out
from speechladder.corpora.voices import Voice, voices
from speechladder.io.spans import Span

__all__ = ["Spoken", "Voice", "phone_lengths", "pronounce", "speak", "voices"]

EDGE = SAMPLE_RATE * 80 // 1000  # silence before and after, in samples
SHORTEST = SAMPLE_RATE // 50  # samples of the shortest phone: 20 ms, so that each phone has a frame centre at 50 Hz
SONORANTS = ("L", "M", "N", "NG", "R")
SONORANT = SAMPLE_RATE // 20  # samples that a sonorant gets if espeak-ng gives it no time of its own
SHORTEST_PAUSE = SAMPLE_RATE * 30 // 1000  # a shorter pause belongs to the phone before it
DITHER = 1e-4  # standard deviation, -80 dB of full scale: digital zeros would be log-mel outliers, as in no recording

_PAUSE = re.compile(r"([.,;:!?]+)(?=\s|$)")


@dataclass(frozen=True)
class Spoken:
    """A spoken text.

    `samples`: (n,) float32 at 16 kHz. `words`: one for each word of the normalised text, without silences. `phones`:
    ARPAbet with stress digits, SIL included, contiguous from 0 to n / 16000, each at least 20 ms long. Times are in
    seconds.
    """

    samples: np.ndarray
    words: list[Span]
    phones: list[Span]


@dataclass
class _Phone:
    label: str
    start: int  # sample at 16 kHz
    word: int  # index; -1 for SIL


def _prepare(text: str) -> tuple[str, list[int]]:
    """The text for espeak-ng (normalised words, pauses kept), and the character at which each word begins in it.

    The whole text is spelt out before it is divided at its pauses, since "10s. 6d." is one amount.
    """
    pieces = _PAUSE.split(spell_out(text))
    out, starts = "", []
    for index in range(0, len(pieces), 2):
        for word in letters(pieces[index]).split():
            out += " " if out else ""
            # espeak-ng does not read a full stop before a small letter as the end of a sentence
            opens = not starts or out.rstrip()[-1] in ".!?"
            starts.append(len(out))
            out += word.capitalize() if opens else word
        if starts and index + 1 < len(pieces) and out[-1] not in ".,;:!?":
            out += pieces[index + 1][-1]
    if not starts:
        raise ValueError(f"nothing to speak in {text!r}")
    return out, starts


def _with_stress(phones: tuple[str, ...], stress: int) -> list[str]:
    """The phones with the stress digit on the first vowel and 0 on others: (("AY", "AH"), 1) -> ["AY1", "AH0"]."""
    out = []
    for phone in phones:
        if is_vowel(phone):
            out.append(f"{phone}{stress}")
            stress = 0
        else:
            out.append(phone)
    return out


def _phones(events: list[espeak.Phoneme], starts: list[int], accent: str, end: int) -> list[_Phone]:
    """The events as ARPAbet phones in order of time. A symbol that stands for two phones is divided in the middle."""
    times = [*(round(e.sample * SAMPLE_RATE / espeak.RATE) for e in events), end]
    times = np.maximum.accumulate(np.minimum(times, end)).tolist()
    out: list[_Phone] = []
    for index, event in enumerate(events):
        stress, symbol = split_stress(event.symbol)
        labels = from_espeak(symbol, accent)
        word = max(0, bisect.bisect_right(starts, event.position) - 1)
        if labels == ("R",) and out and out[-1].word == word and strip_stress(out[-1].label) in ("R", "ER"):
            labels = ()  # an r that repeats the one of a rhotic vowel: U@ r in 'during', 3: r in 'stirring'
        if not labels or (labels == (SIL,) and out and out[-1].label == SIL):
            continue
        begin, length = times[index], times[index + 1] - times[index]
        for k, label in enumerate(_with_stress(labels, stress)):
            out.append(_Phone(label, begin + length * k // len(labels), -1 if label == SIL else word))
    return out


def _drop_short_pauses(phones: list[_Phone], end: int) -> list[_Phone]:
    ends = [p.start for p in phones[1:]] + [end]
    return [
        p for i, (p, e) in enumerate(zip(phones, ends)) if i == 0 or p.label != SIL or e - p.start >= SHORTEST_PAUSE
    ]


def restore_sonorants(labels: list[str], lengths: list[int]) -> list[int]:
    """Give time to sonorants that espeak-ng merges into a vowel (their events have no length); returns new lengths.

    Each sonorant gets the part of the vowel in which it sounds. Measured on the waveform: the murmur of a nasal before
    a vowel fills the first 50 ms of the vowel ('swim in'), an l or r after a vowel fills its last 50 ms ('shell',
    'farmer'). Lengths are in samples.
    """
    lengths = list(lengths)
    for i in range(1, len(labels) - 1):
        donor = i + 1 if labels[i] in ("M", "N", "NG") and is_vowel(labels[i + 1]) else i - 1
        if labels[i] in SONORANTS and lengths[i] < SHORTEST and is_vowel(labels[donor]):
            moved = max(0, min(SONORANT, lengths[donor] * 2 // 5) - lengths[i])
            lengths[i] += moved
            lengths[donor] -= moved
    return lengths


def lengthen(lengths: list[int]) -> list[int]:
    """Give each phone at least `SHORTEST` samples, taken from the nearest phones that can spare them."""
    lengths = list(lengths)
    for i, length in enumerate(lengths):
        need = SHORTEST - length
        for distance in range(1, len(lengths)):
            if need <= 0:
                break
            near = [j for j in (i - distance, i + distance) if 0 <= j < len(lengths)]
            for j in sorted(near, key=lambda j: -lengths[j]):
                moved = max(0, min(need, lengths[j] - SHORTEST))
                lengths[j] -= moved
                lengths[i] += moved
                need -= moved
    return lengths


def _divide(phones: list[str], parts: list[list[str]]) -> list[int]:
    """The word of each phone where espeak-ng merges words ('in the' is one word to it), by edit distance.

    `parts` are the phones of the words when each is spoken alone. Returns an index into `parts` for each phone; the
    indices do not decrease, and every word has a phone. Needs len(phones) >= len(parts).
    """
    flat = [(strip_stress(p), k) for k, part in enumerate(parts) for p in part]

    def cost(a: str, b: str) -> float:
        return 0.0 if a == b else 0.6 if is_vowel(a) == is_vowel(b) else 2.0

    n, m = len(phones), len(flat)
    best = np.full((n + 1, m + 1), np.inf)
    best[0] = np.arange(m + 1)
    best[:, 0] = np.arange(n + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            same = best[i - 1, j - 1] + cost(strip_stress(phones[i - 1]), flat[j - 1][0])
            best[i, j] = min(same, best[i - 1, j] + 1, best[i, j - 1] + 1)
    owner, i, j = [0] * n, n, m
    while i:
        if j and best[i, j] == best[i - 1, j - 1] + cost(strip_stress(phones[i - 1]), flat[j - 1][0]):
            i, j = i - 1, j - 1
            owner[i] = flat[j][1]
        elif j and best[i, j] == best[i, j - 1] + 1:
            j -= 1
        else:
            i -= 1
            owner[i] = flat[j - 1][1] if j else 0
    for k in range(n):  # each word gets at least one phone, in order
        low, high = max(0, len(parts) - (n - k)), min(k, len(parts) - 1)
        before = owner[k - 1] if k else 0
        owner[k] = min(max(owner[k], low, before), high, before + 1 if k else 0)
    return owner


def _runs(count: int, follows: Callable[[int], bool]) -> list[tuple[int, int]]:
    """(first, end) of each run of `count` words; a word for which `follows` is true belongs to the run before it."""
    starts = [index for index in range(count) if not index or not follows(index)]
    return list(pairwise([*starts, count]))


def _assign_words(phones: list[_Phone], words: list[str], accent: str) -> None:
    """Divide the phones of merged words among these words, in place."""
    said = {p.word for p in phones if p.word >= 0}
    for first, last in _runs(len(words), lambda index: index not in said):
        run = [p for p in phones if p.word == first]
        if last - first > 1 and len(run) >= last - first:
            parts = [[label for label, _ in _alone(word, accent)] for word in words[first:last]]
            for phone, part in zip(run, _divide([p.label for p in run], parts)):
                phone.word = first + part


def _word_spans(words: list[str], phones: list[_Phone], edges: list[int]) -> list[Span]:
    """A span for each word; words without a phone of their own share the last span before them in equal parts."""
    spans: list[tuple[int, int] | None] = []
    for index in range(len(words)):
        own = [k for k, p in enumerate(phones) if p.word == index]
        spans.append((edges[own[0]], edges[own[-1] + 1]) if own else None)
    for first, last in _runs(len(words), lambda index: spans[index] is None):
        begin, end = spans[first] or (edges[0], edges[0] + (last - first))
        count = last - first
        for k in range(count):
            spans[first + k] = (begin + (end - begin) * k // count, begin + (end - begin) * (k + 1) // count)
    return [Span(word, s[0] / SAMPLE_RATE, s[1] / SAMPLE_RATE) for word, s in zip(words, spans)]


@functools.lru_cache(maxsize=20_000)
def _alone(word: str, accent: str) -> tuple[tuple[str, int], ...]:
    """(phone, index of its word) of a word spoken alone."""
    text, starts = _prepare(word)
    wave, events = espeak.synthesise(text, accent, 170, 50, 50, 0)
    phones = _phones(events, starts, accent, round(len(wave) * SAMPLE_RATE / espeak.RATE))
    return tuple((p.label, p.word) for p in phones if p.label != SIL)


def pronounce(word: str) -> list[str]:
    """The ARPAbet phones of a word, with stress digits, by espeak-ng's dictionary and letter-to-sound rules.

    >>> pronounce("blorf")
    ['B', 'L', 'AO1', 'R', 'F']

    Raises ValueError if the word has no letters.
    """
    return [label for label, _ in _alone(word, "en-us")]


def phone_lengths(words: Sequence[str], voice: Voice) -> list[list[tuple[str, int]]]:
    """The phones of each word with their lengths in samples at 16 kHz, as `speak` times them, without edges or sound.

    The library is loaded once: 0.5 ms a word, where `speak` takes 4. The same words give the same lengths. A word that
    espeak-ng does not sound has no phones. Raises ValueError if a word has no letters.
    """
    prepared = [_prepare(word) for word in words]
    said = espeak.synthesise_all(
        [text for text, _ in prepared], voice.espeak, voice.rate, voice.pitch, voice.pitch_range, 0
    )
    out = []
    for (_, starts), (wave, events) in zip(prepared, said, strict=True):
        end = round(len(wave) * SAMPLE_RATE / espeak.RATE)
        phones, begin, end = _sounding(_phones(events, starts, voice.accent, end), end)
        labels, lengths = _timed(phones, begin, end)
        out.append(list(zip(labels, lengths))[1:-1])
    return out


def _sounding(phones: list[_Phone], end: int) -> tuple[list[_Phone], int, int]:
    """The phones between the silent edges, and the samples at which they begin and end."""
    phones = _drop_short_pauses(phones, end)
    sounding = [k for k, p in enumerate(phones) if p.label != SIL]
    if not sounding:
        return [], 0, 0
    last = sounding[-1] + 1
    return phones[sounding[0] : last], phones[sounding[0]].start, phones[last].start if last < len(phones) else end


def _timed(phones: list[_Phone], begin: int, end: int) -> tuple[list[str], list[int]]:
    """Labels and lengths in samples of the phones, with a silent edge before and after them."""
    labels = [SIL, *(p.label for p in phones), SIL]
    lengths = [EDGE, *np.diff([*(p.start for p in phones), end]).tolist(), EDGE]
    return labels, lengthen(restore_sonorants(labels, lengths))


def speak(text: str, voice: Voice, seed: int) -> Spoken:
    """Speak a text, a word or a non-word. The same arguments give the same samples, in any process and order.

    Punctuation makes pauses; everything else is spoken as `normalise` writes it. Room, noise and band of the voice are
    in the samples; the times are those of the speech without them. Raises ValueError if there is no word.
    """
    prepared, starts = _prepare(text)
    words = [re.sub(r"[.,;:!?]", "", w).lower() for w in prepared.split()]
    wave, events = espeak.synthesise(
        prepared, voice.espeak, voice.rate, voice.pitch, voice.pitch_range, seed & 0x7FFFFFFF
    )
    audio = soxr.resample(wave.astype(np.float32) / 32768, espeak.RATE, SAMPLE_RATE)
    phones, begin, end = _sounding(_phones(events, starts, voice.accent, len(audio)), len(audio))
    if not phones:
        raise ValueError(f"espeak-ng is silent for {text!r}")
    _assign_words(phones, words, voice.accent)
    _, lengths = _timed(phones, begin, end)
    phones = [_Phone(SIL, 0, -1), *phones, _Phone(SIL, 0, -1)]
    edges = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    samples = np.zeros(edges[-1], dtype=np.float32)
    # espeak-ng's sound before the first phone and after the last is kept, as far as it fits into the silent edges
    lead = min(EDGE, begin)
    piece = audio[begin - lead : end + EDGE][: edges[-1] - EDGE + lead]
    samples[EDGE - lead : EDGE - lead + len(piece)] = piece
    samples = recorded(samples, voice, seed & 0x7FFFFFFF)
    noise = np.random.default_rng(seed & 0x7FFFFFFF).standard_normal(len(samples), dtype=np.float32)
    samples = np.clip(samples + DITHER * noise, -1, 1)
    spans = [Span(p.label, s / SAMPLE_RATE, e / SAMPLE_RATE) for p, s, e in zip(phones, edges[:-1], edges[1:])]
    return Spoken(samples, _word_spans(words, phones, edges), spans)
