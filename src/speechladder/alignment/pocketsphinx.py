"""Forced alignment with PocketSphinx and its bundled English model: words, then phones.

Two passes over the utterance. The first finds words, pauses and pronunciation variants in a grammar that holds
the transcript alone; the second gives the states' and so the phones' times. What cannot be aligned, or aligns
only because forced alignment always finds something, raises AlignmentError with the reason.
"""

import functools
import re
from dataclasses import dataclass

import numpy as np

from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.io.spans import Span
from speechladder.settings import SAMPLE_RATE

FRAME = 0.01  # seconds between PocketSphinx's frames
PADDING = 0.1  # seconds of dither before and after the utterance, so that speech never touches the edge
DITHER = 2.0 / 32768  # standard deviation of the dither: digital silence has no logarithm
# Frame f is computed from samples 160 f to 160 f + 410 and so speaks for its middle. A boundary between frames f - 1
# and f lies between their middles: half a window less half a hop after 160 f.
CENTRE = (410 - 160) / 2 / SAMPLE_RATE

MAX_PHONES_PER_SECOND = 25.0  # over the speech between pauses; fast readers stay under 20
MAX_WORD_PHONE_SECONDS = 1.0  # a phone that is held longer: a word was spread over what is not in the transcript
MIN_PHONE_SCORE = -300.0  # mean log score per frame of the worst phone
MIN_MEAN_SCORE = -45.0  # mean log score per frame of all speech


class AlignmentError(Exception):
    """The utterance cannot be aligned; the message is the reason that goes into the rejects."""


@dataclass(frozen=True)
class Raw:
    """What PocketSphinx found, before it is judged: spans in seconds and a log score per frame for each phone."""

    words: list[Span]
    phones: list[Span]
    scores: list[float]  # of each phone, SIL included: mean log score per frame; 0 where frames fell into the padding


@functools.cache
def _dither(samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, DITHER, samples)


class Aligner:
    """Aligns utterances one after the other; an utterance's result depends on nothing but itself.

    `beam` is the beam of the search (a probability ratio): the wider, the fewer good utterances find no path.
    """

    name = "pocketsphinx"

    def __init__(self, beam: float = 1e-300) -> None:
        from pocketsphinx import Decoder

        # bestpath drops the last word; batch normalisation keeps nothing of the utterance before
        self._decoder = Decoder(
            lm=None, beam=beam, pbeam=beam, wbeam=beam, bestpath=False, cmn="batch", loglevel="FATAL"
        )
        self._added: set[str] = set()

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
        entries = [self._entry(word, (pronunciations or {}).get(word)) for word in words]
        if len(samples) < 3 * FRAME * SAMPLE_RATE * len(words):  # a phone has three states of a frame each
            raise AlignmentError("too fast: fewer frames than the words need")
        pad = round(PADDING * SAMPLE_RATE)
        padded = np.pad(samples.astype(np.float64), pad)
        padded += _dither(len(padded))
        pcm = np.clip(np.round(padded * 32768), -32768, 32767).astype("<i2").tobytes()
        self._decoder.set_align_text(" ".join(entries))
        self._pass(pcm)
        if self._decoder.hyp() is None:
            raise AlignmentError("no path: the text does not fit the audio")
        try:
            self._decoder.set_alignment()
        except RuntimeError:
            raise AlignmentError("no path: the text does not fit the audio") from None
        self._pass(pcm)
        return _collect(self._decoder.get_alignment(), words, len(samples) / SAMPLE_RATE)

    def _pass(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        try:
            self._decoder.process_raw(pcm, full_utt=True)
        except RuntimeError:
            raise AlignmentError("no path: the text does not fit the audio") from None
        finally:  # the decoder refuses every later utterance otherwise
            try:
                self._decoder.end_utt()
            except RuntimeError:
                raise AlignmentError("no path: the text does not fit the audio") from None

    def _entry(self, word: str, given: list[str] | None) -> str:
        """The name under which the dictionary has `word`; adds it where needed."""
        if given is None and re.fullmatch(r"[a-z][a-z']*", word) and self._decoder.lookup_word(word) is not None:
            return word
        if given is None:
            from speechladder.corpora.speak import pronounce

            given = pronounce(word)
        phones = [strip_stress(p) for p in given if p != SIL]
        unknown = sorted(set(phones) - set(ARPABET))
        if not phones or unknown:  # PocketSphinx crashes on an empty pronunciation
            raise AlignmentError(f"no pronunciation for '{word}'" + (f": not ARPAbet: {unknown}" if unknown else ""))
        entry = "=" + "-".join(phones)  # named by its sound: the same word may come with another pronunciation
        if entry not in self._added:
            self._decoder.add_word(entry, " ".join(phones), False)
            self._added.add(entry)
        return entry


def _collect(alignment, words: list[str], seconds: float) -> Raw:
    """PocketSphinx's frames as spans over 0 to `seconds`, pauses and noises as SIL, neighbouring pauses as one."""

    def at(frame: int) -> float:
        return min(max(round(frame * FRAME - PADDING + CENTRE, 6), 0.0), seconds)

    found, phones, scores, frames = [], [], [], []
    for entry in alignment or ():
        filler = entry.name[0] in "<[+"
        parts = [(SIL, entry)] if filler else [(p.name, p) for p in entry]
        if not filler:
            if len(found) == len(words):
                raise AlignmentError("no path: more words than the text has")
            found.append(Span(words[len(found)], at(entry.start), at(entry.start + entry.duration)))
        for label, part in parts:
            span = Span(label, at(part.start), at(part.start + part.duration))
            if phones and label == SIL == phones[-1].label:
                phones[-1] = phones[-1]._replace(end=span.end)
                scores[-1] += part.score
                frames[-1] += part.duration
            else:
                phones.append(span)
                scores.append(part.score)
                frames.append(part.duration)
    if len(found) < len(words):
        raise AlignmentError("no path: the end of the text was not reached")
    phones[0], phones[-1] = phones[0]._replace(start=0.0), phones[-1]._replace(end=seconds)
    keep = [i for i, p in enumerate(phones) if p.end > p.start]
    if any(p.label != SIL and p.end <= p.start for p in phones):
        raise AlignmentError("no path: words outside of the audio")
    return Raw(found, [phones[i] for i in keep], [scores[i] / frames[i] for i in keep])


def _judge(raw: Raw) -> None:
    """Raise AlignmentError where the alignment is not to be believed."""
    speech = [(p, s) for p, s in zip(raw.phones, raw.scores) if p.label != SIL]
    seconds = sum(p.end - p.start for p, _ in speech)
    if len(speech) > MAX_PHONES_PER_SECOND * seconds:
        raise AlignmentError(f"too fast: {len(speech) / seconds:.1f} phones/s")
    longest = max(p.end - p.start for p, _ in speech)
    if longest > MAX_WORD_PHONE_SECONDS:
        raise AlignmentError(f"words spread over audio that is not in the text: a phone of {longest:.2f} s")
    mean = sum(s * (p.end - p.start) for p, s in speech) / seconds
    worst = min(s for _, s in speech)
    if mean < MIN_MEAN_SCORE or worst < MIN_PHONE_SCORE:
        raise AlignmentError(f"text does not fit the audio: mean score {mean:.1f}, worst phone {worst:.1f}")
