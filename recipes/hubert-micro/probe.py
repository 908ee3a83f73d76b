"""How well an encoder hears a word in its sentence, cut out of it, and spoken alone.

A linear classifier of phones is trained on the encoder's features of sentences of the world (`units.classifier`). Its
accuracy is measured on words of other sentences: while the encoder hears the whole sentence, only the word's own
samples, or the same word spoken alone by the same voice. An encoder that needs context falls from the first figure to
the others. Frames of pauses do not count. ABX is measured on sentences, and on words spoken alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechladder.alignment.frames import frame_centres, frame_labels
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.corpora.speak import Spoken, speak, voices
from speechladder.corpora.world import documents
from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.spans import Span
from speechladder.settings import Units
from speechladder.units.classifier import fit_classifier
from speechladder.units.diagnostics import abx
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.labels import PHONE_LABELS
from speechladder.units.mfcc import mfcc

PLACES = ("in the sentence", "cut out", "alone")
SHORTEST_WORD = 0.25  # seconds; shorter words are function words, which no benchmark asks for alone
DRAWS = 1000  # of the bootstrap over words
ABX_VOICES = 8
ABX_PAIRS = 40_000  # most distances

Encode = Callable[[list[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class Word:
    """A word of a sentence. `first`: its first sample there. `alone`: the word as the same voice speaks it alone."""

    sentence: int
    first: int
    samples: np.ndarray
    labels: np.ndarray
    alone: Spoken


def label_indices(phones: list[Span], samples: int) -> np.ndarray:
    """The index in PHONE_LABELS of each frame of a recording of `samples`, (frames,) int64."""
    labels = frame_labels(phones, frame_count(samples))
    return np.array([PHONE_LABELS.index(strip_stress(label)) for label in labels], np.int64)


def speak_sentences(count: int, seed: int) -> list[Spoken]:
    """Sentences of the world with `seed`, each by the next voice of the widest pool."""
    pool = voices(3)
    texts = [text for story in documents(seed, 40 * count) for text in story.sentences][:count]
    return [speak(text, pool[i % len(pool)], seed * 1_000_003 + i) for i, text in enumerate(texts)]


def words_of(sentences: list[Spoken], seed: int, first: int = 0) -> list[Word]:
    """The words of `sentences` that are not short. `first`: the number of the first sentence, which sets the voices."""
    pool, out = voices(3), []
    for number, spoken in enumerate(sentences):
        for word in spoken.words:
            if word.end - word.start < SHORTEST_WORD:
                continue
            begin, end = (round(t * SAMPLE_RATE) for t in (word.start, word.end))
            phones = [p._replace(start=p.start - word.start) for p in spoken.phones if p.end > word.start]
            labels = label_indices(phones, end - begin)
            alone = speak(word.label, pool[(first + number) % len(pool)], seed * 1_000_003 + len(out))
            out.append(Word(number, begin, spoken.samples[begin:end], labels, alone))
    return out


def right_frames(
    encode: Encode, guess: Callable[[np.ndarray], np.ndarray], sentences: list[Spoken], words: list[Word]
) -> dict[str, np.ndarray]:
    """For each of PLACES, the frames of phones and those that are right, (words, 2) int64."""
    whole = [guess(f) for f in encode([s.samples for s in sentences])]
    known = [label_indices(s.phones, len(s.samples)) for s in sentences]
    cut = [guess(f) for f in encode([w.samples for w in words])]
    alone = [guess(f) for f in encode([w.alone.samples for w in words])]
    silence = PHONE_LABELS.index(SIL)

    def count(labels: np.ndarray, guessed: np.ndarray) -> tuple[int, int]:
        speech = labels != silence
        return int(speech.sum()), int((labels == guessed)[speech].sum())

    out: dict[str, list[tuple[int, int]]] = {place: [] for place in PLACES}
    for word, heard, single in zip(words, cut, alone, strict=True):
        # the frames whose centres lie in the word
        centres = np.round(frame_centres(len(whole[word.sentence])) * SAMPLE_RATE)
        inside = (centres >= word.first) & (centres < word.first + len(word.samples))
        out[PLACES[0]].append(count(known[word.sentence][inside], whole[word.sentence][inside]))
        out[PLACES[1]].append(count(word.labels, heard))
        out[PLACES[2]].append(count(label_indices(word.alone.phones, len(word.alone.samples)), single))
    return {place: np.array(rows) for place, rows in out.items()}


def accuracy(counts: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Accuracy of frames in percent from (words, 2) counts, with a 95 % interval by a bootstrap over words."""
    rng = np.random.default_rng(seed)
    drawn = counts[rng.integers(0, len(counts), (DRAWS, len(counts)))].sum(1)
    low, high = np.percentile(100 * drawn[:, 1] / drawn[:, 0], (2.5, 97.5))
    total, right = counts.sum(0)
    return {"accuracy": round(100 * right / total, 1), "low": round(low, 1), "high": round(high, 1)}


def probe(encode: Encode, sentences: int, words: int, seed: int) -> dict[str, Any]:
    """Train the classifier on three quarters of `sentences`, and measure it on at most `words` words of the others."""
    spoken = speak_sentences(sentences, seed)
    count = sentences * 3 // 4
    train, test = spoken[:count], spoken[count:]
    features = np.concatenate(encode([s.samples for s in train])).astype(np.float32)
    labels = np.concatenate([label_indices(s.phones, len(s.samples)) for s in train])
    fitted = fit_classifier(features, labels, len(PHONE_LABELS), torch.device("cpu"))

    def guess(found: np.ndarray) -> np.ndarray:
        return (found @ fitted.weights.T + fitted.biases).argmax(1)

    chosen = words_of(test, seed, count)[:words]
    if not chosen:
        raise UserError(f"--sentences {sentences}: no word to test is left; raise it")
    found = right_frames(encode, guess, test, chosen)
    return {"words": len(chosen), "frames": len(labels)} | {place: accuracy(found[place], seed) for place in PLACES}


def abx_errors(encode: Encode, texts: list[str], seed: int) -> dict[str, Any]:
    """ABX in percent of the features of `texts`, each spoken by one of ABX_VOICES voices in turn and encoded alone."""
    pool = voices(3)[:: max(1, len(voices(3)) // ABX_VOICES)][:ABX_VOICES]
    spoken = [speak(text, pool[i % len(pool)], seed * 1_000_003 + i) for i, text in enumerate(texts)]
    features = encode([s.samples for s in spoken])
    tokens = [
        token
        for i, s in enumerate(spoken)
        for token in abx.tokens_of(i, s.phones, len(features[i]), pool[i % len(pool)].name)
    ]
    groups = abx.choose_groups(tokens, seed, pairs=ABX_PAIRS)
    return abx.errors(groups, lambda t: features[t.utterance][t.first : t.last], abx.angles)


def world_abx(encode: Encode, sentences: int, seed: int) -> dict[str, Any]:
    """ABX on sentences of the world, and on their different words, each spoken alone."""
    texts = [text for story in documents(seed + 1, 40 * sentences) for text in story.sentences][:sentences]
    words = sorted({word for text in texts for word in text.lower().split() if len(word) > 3})
    alone = [word for word in words for _ in range(ABX_VOICES)]  # every voice speaks every word
    return {"sentences": abx_errors(encode, texts, seed), "words alone": abx_errors(encode, alone, seed)}


def run_probe(
    out: Path,
    encoder: str = "hubert-micro",
    layer: int = 3,
    sentences: int = 240,
    words: int = 300,
    abx_sentences: int = 160,
    seed: int = 107,
) -> None:
    """Measure how well an encoder hears words in sentences, cut out, and alone.

    Args:
        out: JSON file to write
        encoder: hubert-micro, a folder, a hub id, or mfcc
        layer: transformer layer
        sentences: sentences of the world; three quarters train the classifier of phones, words of the others test it
        words: words to test at most
        abx_sentences: sentences of the world for ABX; 0 leaves ABX out
        seed: seed of the world
    """
    encode: Encode = lambda waves: [mfcc(x) for x in waves]  # noqa: E731
    if encoder != "mfcc":
        encode = open_encoder(Units(encoder=encoder, layer=layer)).encode
    found = {"encoder": encoder, "layer": layer, "seed": seed} | probe(encode, sentences, words, seed)
    if abx_sentences:
        found["abx"] = world_abx(encode, abx_sentences, seed)
    write_json(out, found)
