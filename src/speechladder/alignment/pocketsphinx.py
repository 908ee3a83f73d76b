"""Forced alignment with PocketSphinx and its bundled English model: words, then phones.

There are two passes over an utterance. The first finds words, pauses and pronunciation variants in a grammar that holds
the transcript alone. The second gives the times of the states, and so of the phones. Forced alignment finds something
in any audio, so the result is then judged. AlignmentError gives the reason if there is no alignment or it is not
credible.
"""

import functools
import math
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from speechladder.alignment.base import SHORTEST, AlignmentError
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.io.audio import pcm
from speechladder.io.spans import Span

FRAME = 0.01  # seconds between PocketSphinx's frames
PADDING = 0.1  # seconds of dither before and after the utterance, so that speech never begins or ends at an edge
DITHER = 2.0 / 32768  # standard deviation of the dither: the logarithm of digital silence is infinite
# Frame f is computed from samples 160 f to 160 f + 410 and describes the middle of this window. A boundary between
# frames f - 1 and f lies between their middles: half a window less half a hop after sample 160 f.
CENTRE = (410 - 160) / 2 / SAMPLE_RATE

# Forced alignment finds something in any audio. These limits decide which alignments are rejected (docs/log.md has the
# trial). Scores are PocketSphinx's scaled log-likelihoods of frames: 0 for the best of the states that are searched.
MAX_PHONES_PER_SECOND = 25.0  # between pauses
MIN_MEAN_SCORE = -75.0  # per frame of speech; robotic synthetic voices come near it
MIN_LOW_SCORE = -150.0  # per frame, at the tenth percentile of the phones
MAX_SQUEEZED = 0.3  # share of phones at the model's minimum of three frames
DOUBTFUL = (-52.0, 0.2)  # rejected if the mean score is below the first and the squeezed share above the second
MIN_PAUSE_SCORE = -40.0  # score per frame times seconds, of the worst pause: speech that is not in the text
MAX_PHONE_SECONDS = 2.5  # of one phone: a word may be spread over speech that is not in the text

NO_PATH = "no path: the text does not fit the audio"


@dataclass(frozen=True)
class RawAlignment:
    """PocketSphinx's alignment before it is judged: spans in seconds, and for each phone its mean score per frame."""

    words: list[Span]
    phones: list[Span]
    scores: list[float]  # of each phone, SIL included


@functools.cache
def bundled_dictionary() -> dict[str, list[str]]:
    """PocketSphinx's bundled pronunciations: word -> 'HH AH L OW' and its variants."""
    from pocketsphinx import get_model_path

    words: dict[str, list[str]] = {}
    for line in Path(get_model_path(), "en-us", "cmudict-en-us.dict").read_text().splitlines():
        word, phones = line.split(maxsplit=1)
        words.setdefault(re.sub(r"\(\d+\)$", "", word), []).append(phones)
    return words


def write_dictionary(entries: dict[str, list[str]], file: IO[str]) -> None:
    """Write words with their pronunciations ('HH AH L OW') as PocketSphinx reads them."""
    for word, variants in entries.items():
        for number, phones in enumerate(variants, 1):
            file.write(f"{word}({number}) {phones}\n" if number > 1 else f"{word} {phones}\n")


def pcm_bytes(samples: np.ndarray, pad: int = 0) -> bytes:
    """(n,) float32 as 16-bit samples, with `pad` samples of dither on both sides. The dither is always the same."""
    padded = np.pad(samples.astype(np.float64), pad)
    if pad:
        padded += np.random.default_rng(0).normal(0, DITHER, len(padded))
    return pcm(padded)


class UtteranceAligner:
    """Aligns one utterance at a time, each with a new decoder and a dictionary of the utterance's words.

    A decoder takes 10 ms to make. A decoder that is used again gives other times than a new one, so that results would
    depend on the order of utterances and on shards. `beam` is the beam of the search (a probability ratio): the wider
    it is, the fewer good utterances are left without a path.
    """

    name = "pocketsphinx"

    def __init__(self, beam: float = 1e-300) -> None:
        self.beam = beam

    def align(
        self, samples: np.ndarray, text: str, pronunciations: dict[str, list[str]] | None = None
    ) -> tuple[list[Span], list[Span]]:
        """Words and phones of an utterance.

        samples: (n,) float32 at 16 kHz. text: normalised (corpora.text). pronunciations: ARPAbet phones of words, with
        or without stress; they take precedence over the dictionary. A word that is in neither is pronounced by
        espeak-ng's rules. Returns (words without pauses, phones with SIL) in seconds. The phones have no stress, which
        the model does not know, and are contiguous from 0 to n / 16000. Raises AlignmentError with the reason if there
        is no credible alignment.
        """
        raw = self.search(samples, text, pronunciations)
        _reject_doubtful(raw)
        return raw.words, raw.phones

    def search(
        self, samples: np.ndarray, text: str, pronunciations: dict[str, list[str]] | None = None
    ) -> RawAlignment:
        """As `align`, whatever the quality of the alignment: raises AlignmentError only if there is none at all."""
        words = text.split()
        if not words:
            raise AlignmentError("empty text")
        if len(samples) < 3 * FRAME * SAMPLE_RATE * len(words):  # a phone has three states of a frame each
            raise AlignmentError("too fast: fewer frames than the words need")
        entries = {word: _pronunciations(word, (pronunciations or {}).get(word)) for word in dict.fromkeys(words)}
        pcm = pcm_bytes(samples, round(PADDING * SAMPLE_RATE))
        decoder = self._decoder(entries)
        try:
            decoder.set_align_text(text)
            _decode(decoder, pcm)
            if decoder.hyp() is None:
                raise AlignmentError(NO_PATH)
            decoder.set_alignment()
            _decode(decoder, pcm)
        except RuntimeError:
            raise AlignmentError(NO_PATH) from None
        return _collect(decoder.get_alignment(), words, len(samples) / SAMPLE_RATE)

    def _decoder(self, entries: dict[str, list[str]]) -> Any:
        """A pocketsphinx.Decoder whose dictionary holds these words alone."""
        from pocketsphinx import Decoder

        with tempfile.NamedTemporaryFile("w", suffix=".dict") as file:
            write_dictionary(entries, file)
            file.flush()
            beams = dict.fromkeys(("beam", "pbeam", "wbeam"), self.beam)
            # bestpath drops the last word; cmn="batch" normalises by the mean of this utterance
            return Decoder(lm=None, dict=file.name, bestpath=False, cmn="batch", loglevel="FATAL", **beams)


def _decode(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _pronunciations(word: str, given: list[str] | None) -> list[str]:
    """A word's pronunciations as the dictionary writes them; raises AlignmentError if there is none."""
    if given is None:
        if word in bundled_dictionary():
            return bundled_dictionary()[word]
        from speechladder.corpora.speak import pronounce

        given = pronounce(word)
    phones = [strip_stress(p) for p in given if p != SIL]
    unknown = sorted(set(phones) - set(ARPABET))
    if not phones or unknown:  # PocketSphinx crashes on an empty pronunciation
        raise AlignmentError(f"no pronunciation: '{word}'" + (f", {unknown} are not ARPAbet" if unknown else ""))
    return [" ".join(phones)]


def _collect(alignment: Iterable[Any], words: list[str], seconds: float) -> RawAlignment:
    """PocketSphinx's segments as spans from 0 to `seconds`; pauses and noises are SIL, and neighbouring pauses one."""
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

    ends = [*starts[1:], seconds]
    # a pause that lies in the padding alone ends before 0 or starts after the end, and is dropped
    keep = [i for i, label in enumerate(labels) if label != SIL or min(ends[i], seconds) - max(starts[i], 0.0) > FRAME]
    edges = _fit_edges(
        [0.0, *(starts[i] for i in keep[1:]), seconds], [0.0 if labels[i] == SIL else SHORTEST for i in keep]
    )
    phones = [Span(labels[i], edges[k], edges[k + 1]) for k, i in enumerate(keep)]
    first, last = {}, {}
    for k, i in enumerate(keep):
        first.setdefault(owners[i], k)
        last[owners[i]] = k
    found = [Span(w, phones[first[n]].start, phones[last[n]].end) for n, w in enumerate(words)]
    return RawAlignment(found, phones, [scores[i] / frames[i] for i in keep])


def _fit_edges(edges: list[float], shortest: list[float]) -> list[float]:
    """Move the inner edges of n spans so that each span gets its `shortest` duration and lies between the outer edges.

    A phone such as a hiss may have been found in the padding; this moves it into the audio. Times in seconds. Raises
    AlignmentError if there is too little time.
    """
    edges, seconds = list(edges), edges[-1]
    for i, least in enumerate(shortest):
        edges[i + 1] = max(edges[i + 1], edges[i] + least)
    edges[-1] = min(edges[-1], seconds)
    for i in reversed(range(len(shortest))):
        edges[i] = min(edges[i], edges[i + 1] - shortest[i])
    if edges[0] < -1e-9:
        raise AlignmentError("too fast: fewer frames than the phones need")
    return [*(max(0.0, round(e, 6)) for e in edges[:-1]), seconds]


def alignment_figures(raw: RawAlignment) -> dict[str, float]:
    """The figures by which an alignment is judged; the constants above explain each."""
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


def _reject_doubtful(raw: RawAlignment) -> None:
    """Raise AlignmentError if the alignment is not credible."""
    f = alignment_figures(raw)
    phones = sum(p.label != SIL for p in raw.phones)
    squeezed = f["squeezed"] if phones >= 10 else 0.0  # a share of few phones means nothing
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
