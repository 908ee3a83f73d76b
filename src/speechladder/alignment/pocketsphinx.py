"""Forced alignment with PocketSphinx and its bundled English model: words, then phones.

Two passes over the utterance. The first finds words, pauses and pronunciation variants in a grammar that holds
the transcript alone; the second gives the states' and so the phones' times. What cannot be aligned, or aligns
only because forced alignment always finds something, raises AlignmentError with the reason.
"""

import functools
import math
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.io.spans import Span

FRAME = 0.01  # seconds between PocketSphinx's frames
PADDING = 0.1  # seconds of dither before and after the utterance, so that speech never touches the edge
DITHER = 2.0 / 32768  # standard deviation of the dither: digital silence has no logarithm
# Frame f is computed from samples 160 f to 160 f + 410 and so speaks for its middle. A boundary between frames f - 1
# and f lies between their middles: half a window less half a hop after 160 f.
CENTRE = (410 - 160) / 2 / SAMPLE_RATE
SHORTEST = 0.02  # seconds a phone keeps at least, so that it is heard at a 50 Hz frame

# Forced alignment always finds something; these tell what is not to be believed (docs/log.md has the trial).
# Scores are PocketSphinx's own scaled log-likelihoods of frames: 0 for the best of the states that are searched.
MAX_PHONES_PER_SECOND = 25.0  # between pauses
MIN_MEAN_SCORE = -75.0  # per frame of speech; robotic synthetic voices come near it
MIN_LOW_SCORE = -150.0  # per frame, of the phone that only a tenth of the phones are worse than
MAX_SQUEEZED = 0.3  # share of phones at the model's minimum of three frames
DOUBTFUL = (-52.0, 0.2)  # a mean score below the one and a squeezed share above the other, together
MIN_PAUSE_SCORE = -40.0  # score per frame times seconds, of the worst pause: speech that the text leaves out
MAX_PHONE_SECONDS = 2.5  # of one phone: a word spread over what the text leaves out

NO_PATH = "no path: the text does not fit the audio"


class AlignmentError(Exception):
    """The utterance cannot be aligned; the message is the reason that goes into the rejects."""


@dataclass(frozen=True)
class Raw:
    """What PocketSphinx found, before it is judged: spans in seconds and a log score per frame for each phone."""

    words: list[Span]
    phones: list[Span]
    scores: list[float]  # of each phone, SIL included: mean per frame


@functools.cache
def _dictionary() -> dict[str, list[str]]:
    """The bundled pronunciations: word -> 'HH AH L OW' and its variants."""
    from pocketsphinx import get_model_path

    words: dict[str, list[str]] = {}
    for line in Path(get_model_path(), "en-us", "cmudict-en-us.dict").read_text().splitlines():
        word, phones = line.split(maxsplit=1)
        words.setdefault(re.sub(r"\(\d+\)$", "", word), []).append(phones)
    return words


class Aligner:
    """Aligns one utterance after the other, each by a decoder of its own with a dictionary of its words.

    A decoder costs 10 ms; one that had heard an utterance before gave other times than a fresh one, so that results
    would depend on order and shards. `beam` is the beam of the search (a probability ratio): the wider, the fewer good
    utterances find no path.
    """

    name = "pocketsphinx"

    def __init__(self, beam: float = 1e-300) -> None:
        self.beam = beam

    def align(
        self, samples: np.ndarray, text: str, pronunciations: dict[str, list[str]] | None = None
    ) -> tuple[list[Span], list[Span]]:
        """Words and phones of an utterance.

        samples: (n,) float32 at 16 kHz. text: normalised (corpora.text). pronunciations: ARPAbet of words, with or
        without stress; they go before the dictionary, and words in neither are spelt by espeak's rules.
        Returns (words without pauses, phones with SIL) in seconds; the phones have no stress (the model knows none)
        and are contiguous from 0 to n / 16000.
        Raises AlignmentError.
        """
        raw = self.search(samples, text, pronunciations)
        _judge(raw)
        return raw.words, raw.phones

    def search(self, samples: np.ndarray, text: str, pronunciations: dict[str, list[str]] | None = None) -> Raw:
        """As `align`, whatever the quality: raises AlignmentError only where there is no alignment at all."""
        words = text.split()
        if not words:
            raise AlignmentError("empty text")
        if len(samples) < 3 * FRAME * SAMPLE_RATE * len(words):  # a phone has three states of a frame each
            raise AlignmentError("too fast: fewer frames than the words need")
        entries = {word: _pronunciations(word, (pronunciations or {}).get(word)) for word in dict.fromkeys(words)}
        pad = round(PADDING * SAMPLE_RATE)
        padded = np.pad(samples.astype(np.float64), pad)
        padded += np.random.default_rng(0).normal(0, DITHER, len(padded))
        pcm = np.clip(np.round(padded * 32768), -32768, 32767).astype("<i2").tobytes()
        decoder = self._decoder(entries)
        try:
            decoder.set_align_text(text)
            _listen(decoder, pcm)
            if decoder.hyp() is None:
                raise AlignmentError(NO_PATH)
            decoder.set_alignment()
            _listen(decoder, pcm)
        except RuntimeError:
            raise AlignmentError(NO_PATH) from None
        return _collect(decoder.get_alignment(), words, len(samples) / SAMPLE_RATE)

    def _decoder(self, entries: dict[str, list[str]]) -> Any:
        """A pocketsphinx.Decoder that knows these words alone."""
        from pocketsphinx import Decoder

        with tempfile.NamedTemporaryFile("w", suffix=".dict") as file:
            for word, variants in entries.items():
                for number, phones in enumerate(variants, 1):
                    file.write(f"{word}({number}) {phones}\n" if number > 1 else f"{word} {phones}\n")
            file.flush()
            beams = dict.fromkeys(("beam", "pbeam", "wbeam"), self.beam)
            # bestpath drops the last word; batch normalisation takes the mean of this utterance
            return Decoder(lm=None, dict=file.name, bestpath=False, cmn="batch", loglevel="FATAL", **beams)


def _listen(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _pronunciations(word: str, given: list[str] | None) -> list[str]:
    """A word's pronunciations as the dictionary writes them; raises AlignmentError where there is none."""
    if given is None:
        if word in _dictionary():
            return _dictionary()[word]
        from speechladder.corpora.speak import pronounce

        given = pronounce(word)
    phones = [strip_stress(p) for p in given if p != SIL]
    unknown = sorted(set(phones) - set(ARPABET))
    if not phones or unknown:  # PocketSphinx crashes on an empty pronunciation
        raise AlignmentError(f"no pronunciation: '{word}'" + (f", {unknown} are not ARPAbet" if unknown else ""))
    return [" ".join(phones)]


def _collect(alignment: Iterable[Any], words: list[str], seconds: float) -> Raw:
    """PocketSphinx's frames as spans over 0 to `seconds`, pauses and noises as SIL, neighbouring pauses as one."""
    labels, starts, scores, frames, owners = [], [], [], [], []
    word = -1
    for entry in alignment or ():
        filler = entry.name[0] in "<[+"
        word += not filler
        for part in (entry,) if filler else entry:
            label = SIL if filler else part.name
            if labels and label == SIL == labels[-1]:
                scores[-1] += part.score
                frames[-1] += part.duration
                continue
            labels.append(label)
            starts.append(part.start * FRAME - PADDING + CENTRE)
            scores.append(part.score)
            frames.append(part.duration)
            owners.append(-1 if filler else word)
    if word + 1 != len(words):
        raise AlignmentError(NO_PATH)

    ends = [*starts[1:], seconds]  # the first pause ends before 0, the last starts after the end: all padding
    keep = [i for i, label in enumerate(labels) if label != SIL or min(ends[i], seconds) - max(starts[i], 0.0) > FRAME]
    edges = [0.0, *(starts[i] for i in keep[1:]), seconds]
    least = [0.0 if labels[i] == SIL else SHORTEST for i in keep]
    for i in range(len(keep)):  # a hiss may have been found in the padding: back into the audio
        edges[i + 1] = max(edges[i + 1], edges[i] + least[i])
    edges[-1] = min(edges[-1], seconds)
    for i in reversed(range(len(keep))):
        edges[i] = min(edges[i], edges[i + 1] - least[i])
    if edges[0] < -1e-9:
        raise AlignmentError("too fast: fewer frames than the phones need")
    edges = [*(max(0.0, round(e, 6)) for e in edges[:-1]), seconds]
    phones = [Span(labels[i], edges[k], edges[k + 1]) for k, i in enumerate(keep)]
    first, last = {}, {}
    for k, i in enumerate(keep):
        first.setdefault(owners[i], k)
        last[owners[i]] = k
    found = [Span(w, phones[first[n]].start, phones[last[n]].end) for n, w in enumerate(words)]
    return Raw(found, phones, [scores[i] / frames[i] for i in keep])


def figures(raw: Raw) -> dict[str, float]:
    """What an alignment is judged by: see the constants above for each."""
    speech = [(p.end - p.start, s) for p, s in zip(raw.phones, raw.scores) if p.label != SIL]
    seconds, scores = np.array(speech).T
    pauses = [s * (p.end - p.start) for p, s in zip(raw.phones, raw.scores) if p.label == SIL]
    return {
        "phones_per_second": len(speech) / seconds.sum(),
        "longest_phone": seconds.max(),
        "mean_score": float(scores @ seconds / seconds.sum()),
        "low_score": float(np.sort(scores)[min(len(scores) - 1, math.ceil(len(scores) / 10))]),
        "squeezed": float(np.mean(seconds < 3.5 * FRAME)),
        "worst_pause": min(pauses, default=0.0),
    }


def _judge(raw: Raw) -> None:
    """Raise AlignmentError where the alignment is not to be believed."""
    f = figures(raw)
    phones = sum(p.label != SIL for p in raw.phones)
    squeezed = f["squeezed"] if phones >= 10 else 0.0  # a share of few phones says nothing
    unfit = f["mean_score"] < MIN_MEAN_SCORE or f["low_score"] < MIN_LOW_SCORE or squeezed > MAX_SQUEEZED
    unfit |= f["mean_score"] < DOUBTFUL[0] and squeezed > DOUBTFUL[1]
    if f["phones_per_second"] > MAX_PHONES_PER_SECOND:
        raise AlignmentError(f"too fast: {f['phones_per_second']:.1f} phones/s")
    if unfit:
        scores = f"mean score {f['mean_score']:.0f}, low {f['low_score']:.0f}, {f['squeezed']:.0%} squeezed"
        raise AlignmentError(f"text does not fit the audio: {scores}")
    if f["worst_pause"] < MIN_PAUSE_SCORE:
        raise AlignmentError(f"speech that is not in the text: pause score {f['worst_pause']:.0f}")
    if f["longest_phone"] > MAX_PHONE_SECONDS:
        raise AlignmentError(f"words spread over what is not in the text: a phone of {f['longest_phone']:.2f} s")
