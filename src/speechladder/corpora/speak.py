"""Text to speech with exact times: waveform, words and phones from one call of espeak-ng."""

import bisect
import functools
import re
from dataclasses import dataclass

import numpy as np
import soxr

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora import espeak
from speechladder.corpora.phones import SIL, from_espeak, is_vowel, split_stress, strip_stress
from speechladder.corpora.text import normalise
from speechladder.corpora.voices import Voice, voices
from speechladder.io.spans import Span

__all__ = ["Spoken", "Voice", "pronounce", "speak", "voices"]

EDGE = SAMPLE_RATE * 80 // 1000  # silence before and after, in samples
SHORTEST = SAMPLE_RATE // 50  # of a phone, in samples: 20 ms, so that each has a frame centre at 50 Hz
SONORANTS = ("L", "M", "N", "NG", "R")
SONORANT = SAMPLE_RATE // 20  # of a sonorant that has no length of its own, in samples
SHORTEST_PAUSE = SAMPLE_RATE * 30 // 1000  # what is shorter belongs to the phone before it
DITHER = 1e-4  # standard deviation, -80 dB of full scale: digital zeros would be log-mel outliers that no recording has

_PAUSE = re.compile(r"([.,;:!?]+)(?=\s|$)")


@dataclass(frozen=True)
class Spoken:
    """`samples` (n,) float32 at 16 kHz; `words` without silences, one per word of the normalised text; `phones` in
    ARPAbet with stress digits, SIL included, contiguous from 0 to n / 16000, each of 20 ms at least; in seconds."""

    samples: np.ndarray
    words: list[Span]
    phones: list[Span]


@dataclass
class _Phone:
    label: str
    start: int  # sample at 16 kHz
    word: int  # index; -1 for SIL


def _prepare(text: str) -> tuple[str, list[int]]:
    """The text as it is given to espeak-ng (normalised words, pauses kept), and where each word begins in it."""
    pieces = _PAUSE.split(text)
    out, starts = "", []
    for index in range(0, len(pieces), 2):
        for word in normalise(pieces[index]).split():
            out += " " if out else ""
            # a full stop before a small letter is no end of a sentence to espeak-ng
            opens = not starts or out.rstrip()[-1] in ".!?"
            starts.append(len(out))
            out += word.capitalize() if opens else word
        if starts and index + 1 < len(pieces) and out[-1] not in ".,;:!?":
            out += pieces[index + 1][-1]
    if not starts:
        raise ValueError(f"nothing to speak in {text!r}")
    return out, starts


def _with_stress(phones: tuple[str, ...], stress: int) -> list[str]:
    """The stress digit on the first vowel, 0 on others: (("AY", "AH"), 1) -> ["AY1", "AH0"]."""
    out = []
    for phone in phones:
        if is_vowel(phone):
            out.append(f"{phone}{stress}")
            stress = 0
        else:
            out.append(phone)
    return out


def _phones(events: list[espeak.Phoneme], starts: list[int], accent: str, end: int) -> list[_Phone]:
    """Events to ARPAbet phones in order of time; a symbol of two phones is divided in the middle."""
    times = [*(round(e.sample * SAMPLE_RATE / espeak.RATE) for e in events), end]
    times = np.maximum.accumulate(np.minimum(times, end)).tolist()
    out: list[_Phone] = []
    for index, event in enumerate(events):
        stress, symbol = split_stress(event.symbol)
        labels = from_espeak(symbol, accent)
        word = max(0, bisect.bisect_right(starts, event.position) - 1)
        if labels == ("R",) and out and out[-1].word == word and strip_stress(out[-1].label) in ("R", "ER"):
            labels = ()  # an r written out after a rhotic vowel: U@ r in 'during', 3: r in 'stirring'
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
    """Give sonorants that espeak-ng draws into a vowel (events of no length) the part of it where they are heard.

    Measured on the waveform: the murmur of a nasal before a vowel fills the first 50 ms of the vowel's time
    ('swim in'), an l or r after a vowel the last 50 ms of it ('shell', 'farmer').
    """
    lengths = list(lengths)
    for i in range(1, len(labels) - 1):
        donor = i + 1 if labels[i] in ("M", "N", "NG") and is_vowel(labels[i + 1]) else i - 1
        if labels[i] in SONORANTS and lengths[i] < SHORTEST and is_vowel(labels[donor]):
            given = max(0, min(SONORANT, lengths[donor] * 2 // 5) - lengths[i])
            lengths[i] += given
            lengths[donor] -= given
    return lengths


def lengthen(lengths: list[int]) -> list[int]:
    """Give each phone `SHORTEST` samples at least, taken from the nearest phones that can spare them."""
    lengths = list(lengths)
    for i, length in enumerate(lengths):
        need = SHORTEST - length
        for distance in range(1, len(lengths)):
            if need <= 0:
                break
            near = [j for j in (i - distance, i + distance) if 0 <= j < len(lengths)]
            for j in sorted(near, key=lambda j: -lengths[j]):
                given = max(0, min(need, lengths[j] - SHORTEST))
                lengths[j] -= given
                lengths[i] += given
                need -= given
    return lengths


def _divide(phones: list[str], parts: list[list[str]]) -> list[int]:
    """Which part each phone of a merged run belongs to ('in the' is one word to espeak-ng), by edit distance.

    `parts` are the words' phones when spoken alone. Returns non-decreasing part indices, every part non-empty;
    needs len(phones) >= len(parts).
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
    for k in range(n):  # each part gets one phone at least, in order
        low, high = max(0, len(parts) - (n - k)), min(k, len(parts) - 1)
        before = owner[k - 1] if k else 0
        owner[k] = min(max(owner[k], low, before), high, before + 1 if k else 0)
    return owner


def _assign_words(phones: list[_Phone], words: list[str], accent: str) -> None:
    """Give the phones of merged words to each of them, in place."""
    said = {p.word for p in phones if p.word >= 0}
    first = 0
    while first < len(words):
        last = first + 1
        while last < len(words) and last not in said:
            last += 1
        run = [p for p in phones if p.word == first]
        if last - first > 1 and len(run) >= last - first:
            parts = [[label for label, _ in _alone(word, accent)] for word in words[first:last]]
            for phone, part in zip(run, _divide([p.label for p in run], parts)):
                phone.word = first + part
        first = last


def _word_spans(words: list[str], phones: list[_Phone], edges: list[int]) -> list[Span]:
    """A span per word; words that have no phone of their own share the last span before them in equal parts."""
    spans: list[tuple[int, int] | None] = []
    for index in range(len(words)):
        own = [k for k, p in enumerate(phones) if p.word == index]
        spans.append((edges[own[0]], edges[own[-1] + 1]) if own else None)
    first = 0
    while first < len(words):
        last = first + 1
        while last < len(words) and spans[last] is None:
            last += 1
        begin, end = spans[first] or (edges[0], edges[0] + (last - first))
        count = last - first
        for k in range(count):
            spans[first + k] = (begin + (end - begin) * k // count, begin + (end - begin) * (k + 1) // count)
        first = last
    return [Span(word, s[0] / SAMPLE_RATE, s[1] / SAMPLE_RATE) for word, s in zip(words, spans)]


@functools.lru_cache(maxsize=20_000)
def _alone(word: str, accent: str) -> tuple[tuple[str, int], ...]:
    """The phones of a word spoken alone, with the word's index."""
    text, starts = _prepare(word)
    wave, events = espeak.synthesise(text, accent, 170, 50, 50, 0)
    phones = _phones(events, starts, accent, round(len(wave) * SAMPLE_RATE / espeak.RATE))
    return tuple((p.label, p.word) for p in phones if p.label != SIL)


def pronounce(word: str, accent: str = "en-us") -> list[str]:
    """ARPAbet phones with stress digits, by espeak-ng's dictionary and letter-to-sound rules.

    >>> pronounce("blorf")
    ['B', 'L', 'AO1', 'R', 'F']

    Raises ValueError when the word has no letters.
    """
    return [label for label, _ in _alone(word, accent)]


def speak(text: str, voice: Voice, seed: int) -> Spoken:
    """Speak a text, a word or a non-word. The same arguments give the same samples, in any process and order.

    Punctuation makes pauses; all else is spoken as `normalise` writes it. Raises ValueError when there is no word.
    """
    prepared, starts = _prepare(text)
    words = [re.sub(r"[.,;:!?]", "", w).lower() for w in prepared.split()]
    wave, events = espeak.synthesise(
        prepared, voice.espeak, voice.rate, voice.pitch, voice.pitch_range, seed & 0x7FFFFFFF
    )
    audio = soxr.resample(wave.astype(np.float32) / 32768, espeak.RATE, SAMPLE_RATE)
    phones = _drop_short_pauses(_phones(events, starts, voice.accent, len(audio)), len(audio))
    sounding = [k for k, p in enumerate(phones) if p.label != SIL]
    if not sounding:
        raise ValueError(f"espeak-ng says nothing for {text!r}")
    begin = phones[sounding[0]].start
    end = phones[sounding[-1] + 1].start if sounding[-1] + 1 < len(phones) else len(audio)
    phones = phones[sounding[0] : sounding[-1] + 1]
    _assign_words(phones, words, voice.accent)
    phones = [_Phone(SIL, 0, -1), *phones, _Phone(SIL, 0, -1)]
    inner = [*(p.start - begin for p in phones[1:-1]), end - begin]
    lengths = [EDGE, *np.diff(inner).tolist(), EDGE]
    lengths = lengthen(restore_sonorants([p.label for p in phones], lengths))
    edges = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    samples = np.zeros(edges[-1], dtype=np.float32)
    lead = min(EDGE, begin)  # what espeak-ng says before its first phone and after its last is kept, up to the edge
    piece = audio[begin - lead : end + EDGE][: edges[-1] - EDGE + lead]
    samples[EDGE - lead : EDGE - lead + len(piece)] = piece
    noise = np.random.default_rng(seed & 0x7FFFFFFF).standard_normal(len(samples), dtype=np.float32)
    samples = np.clip(samples + DITHER * noise, -1, 1)
    spans = [Span(p.label, s / SAMPLE_RATE, e / SAMPLE_RATE) for p, s, e in zip(phones, edges[:-1], edges[1:])]
    return Spoken(samples, _word_spans(words, phones, edges), spans)
