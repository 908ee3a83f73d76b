"""Items of a task: pairs as text, spoken in several voices, with words and phones in time.

sWUGGY (word / non-word), sBLIMP (minimal pairs of sentences) and Topic-SC (right / off-topic ending) are drawn from
the world's grammar (corpora.world) or read from pairs files, and spoken by the synthesizer where no audio is given.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechladder.alignment.pocketsphinx import Aligner, AlignmentError
from speechladder.corpora import world
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.pairs import Pair, read_pairs, spread
from speechladder.corpora.speak import pronounce, speak, voices
from speechladder.corpora.text import normalise
from speechladder.io.audio import AudioError, encode_flac, read_audio
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ITEMS, write_table
from speechladder.settings import SAMPLE_RATE, Alignment, Benchmarks

MIN_COUNT = 2  # a natural corpus's word is a test word when it was heard at least this often in training


def training_words(cuts: list[Path]) -> tuple[list[str], set[str]]:
    """Words of the train split heard at least MIN_COUNT times, the most frequent first; and every word of the cuts."""
    counts: Counter[str] = Counter()
    every: set[str] = set()
    for path in cuts:
        for cut in read_cuts(path):
            said = cut.text.split()
            every.update(said)
            if cut.split == "train":
                counts.update(said)
    return sorted((w for w, n in counts.items() if n >= MIN_COUNT), key=lambda w: (-counts[w], w)), every


def generate(task: str, settings: Benchmarks, seed: int, cuts: list[Path]) -> list[Pair]:
    """Pairs of a task from the world's grammar; with `cuts`, sWUGGY words from their training text."""
    if task == "swuggy":
        words, every = training_words(cuts)
        return world.swuggy_pairs(
            seed, settings.swuggy_pairs, words=words or None, pronounce=pronounce, also_words=every
        )
    if task == "sblimp":
        return world.sblimp_pairs(seed, settings.sblimp_pairs)
    return world.topic_pairs(seed, settings.topic_pairs)


def _from_files(files: list[Path], max_pairs: int, rejects: Rejects) -> list[Pair]:
    found = {}
    for path in files:
        found[str(path)], bad_rows = read_pairs(path)
        for line, reason in bad_rows:
            rejects.mention(f"{path.name}, row {line}", reason, path)
    return spread(found, max_pairs)


@dataclass(frozen=True)
class Utterance:
    """One half of a pair as it was spoken."""

    samples: np.ndarray  # (n,) float32, 16 kHz
    words: list[Span]
    phones: list[Span]


class Speaker:
    """Speaks or reads the halves of pairs, with phones from the aligner that the training data had."""

    def __init__(self, alignment: Alignment) -> None:
        self.truth = alignment.aligner == "truth"
        self._beam, self._aligner = alignment.beam, None

    def _align(self, samples: np.ndarray, text: str) -> Utterance:
        self._aligner = self._aligner or Aligner(self._beam)
        words, phones = self._aligner.align(samples, text, None)
        return Utterance(samples, words, phones)

    def synthesize(self, text: str, voice: object, seed: int) -> Utterance:
        """Speak `text`; phones are the synthesizer's own (aligner truth) or PocketSphinx's. Raises AlignmentError."""
        spoken = speak(text, voice, seed)
        if self.truth:
            return Utterance(spoken.samples, spoken.words, spoken.phones)
        return self._align(spoken.samples, normalise(text))

    def read(self, path: Path, text: str) -> Utterance:
        """A given recording, aligned by PocketSphinx. Raises AudioError, AlignmentError."""
        return self._align(read_audio(path), normalise(text))


def voices_of(number: int, count: int, variability: int) -> list[object]:
    """`count` voices of the pool for the pair with this number; neighbours get different ones, so all are used."""
    pool = voices(variability)
    return [pool[(number * count + k) % len(pool)] for k in range(min(count, len(pool)))]


def _halves(pair: Pair, number: int, count: int, variability: int, seed: int) -> Iterator[tuple[str, list[tuple]]]:
    """(voice name, [(correct, text, how to get the Utterance)]) for each voice of a pair.

    Both halves have the same voice in the same style and the same synthesizer seed: they differ in the words alone.
    """
    if pair.good_audio and pair.bad_audio:
        jobs = [(c, t, lambda s, t=t, a=a: s.read(Path(a), t)) for c, t, a in _given(pair)]
        yield "given", jobs
        return
    for voice in voices_of(number, count, variability):
        draw = stable_hash(seed, "item", pair.id, voice.name) % 2**31
        styled = voice.jittered(random.Random(draw))
        jobs = [
            (correct, text, lambda s, t=text, v=styled, d=draw: s.synthesize(t, v, d))
            for correct, text in ((True, pair.good), (False, pair.bad))
        ]
        yield voice.name, jobs


def _given(pair: Pair) -> list[tuple[bool, str, str]]:
    return [(True, pair.good, pair.good_audio), (False, pair.bad, pair.bad_audio)]


def build_items(
    task: str,
    settings: Benchmarks,
    alignment: Alignment,
    variability: int,
    seed: int,
    out: Path,
    rejected: Path,
    max_rejected: float,
    files: list[Path] | None = None,
    cuts: list[Path] | None = None,
) -> None:
    """Write benchmarks/{task}/items.parquet (io.tables.ITEMS) and the pairs left out, with reasons.

    A pair of which a half cannot be spoken, read or aligned in a voice loses that voice on both sides, never one.
    Raises UserError when more than `max_rejected` of the pairs, voice by voice, are lost, or none is left.
    """
    rejects = Rejects()
    pairs = _from_files(files, settings.max_pairs, rejects) if files else generate(task, settings, seed, cuts or [])
    count = settings.topic_voices if task == "topic" else settings.voices
    speaker, rows, attempts = Speaker(alignment), [], 0
    with progress(f"items of {task}", len(pairs), "pairs/s") as meter:
        for number, pair in enumerate(pairs):
            for voice, jobs in _halves(pair, number, count, variability, seed):
                attempts += 1
                try:
                    spoken = [(correct, text, make(speaker)) for correct, text, make in jobs]
                except (AlignmentError, AudioError) as error:
                    rejects.add(f"{pair.id}|{voice}", str(error))
                    continue
                rows += [_row(pair, voice, correct, text, half) for correct, text, half in spoken]
            meter.advance(1)
    if not rows:
        raise UserError(f"{task}: no pair could be used; the first reasons: {rejects.rows[:3]}")
    write_table(out, rows, ITEMS)
    rejects.write(rejected, attempts, max_rejected)


def _row(pair: Pair, voice: str, correct: bool, text: str, half: Utterance) -> dict[str, object]:
    return {
        "item": f"{pair.id}|{'good' if correct else 'bad'}|{voice}",
        "id": pair.id,
        "voice": voice,
        "correct": correct,
        "type": pair.type,
        "text": normalise(text),
        "words": as_rows(half.words),
        "phones": as_rows(half.phones),
        "seconds": len(half.samples) / SAMPLE_RATE,
        "audio": encode_flac(half.samples),
    }
