"""Items of a task: pairs as text, spoken in one or more voices, with words and phones in time.

sWUGGY (word / non-word), sBLIMP (minimal pairs of sentences) and Topic-SC (right / off-topic ending) are drawn from
the world's grammar (corpora.world) or read from pairs files, and spoken by the synthesizer where no audio is given; or
they are the official benchmarks, sLM21 and Topic-StoryCloze, in their own recordings.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from speechladder.alignment.durations import Durations
from speechladder.benchmarks.generation import nonwords, sentences
from speechladder.benchmarks.pairs import Pair, read_pairs, spread
from speechladder.benchmarks.slm21 import PARTS, read_slm21
from speechladder.benchmarks.spoken import ESTIMATED, GIVEN, Half, Speaker, Take, Utterance
from speechladder.benchmarks.storycloze import read_storycloze
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.speak import Voice, pronounce, speak, voices
from speechladder.corpora.text import normalise
from speechladder.fetch.archives import open_store
from speechladder.io.audio import encode_flac, read_audio
from speechladder.io.columns import growing_table
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.spans import as_rows
from speechladder.io.tables import ITEMS
from speechladder.settings import Benchmarks

__all__ = ["Sources", "Speaker", "Utterance", "build_items", "generate", "training_words", "voices_of"]

MIN_COUNT = 2  # a natural corpus's word is a test word when it was heard at least this often in training
GROUP = 256  # items written at once: some 20 MB


@dataclass(frozen=True)
class Sources:
    """The files that items are made of: `pairs` files, `cuts` for sWUGGY's words, and for official benchmarks mean
    `durations` of the phones and, where Topic-StoryCloze has no texts, their `transcripts`."""

    pairs: list[Path] = field(default_factory=list)
    cuts: list[Path] = field(default_factory=list)
    durations: Path | None = None
    transcripts: Path | None = None


@dataclass
class _Task:
    """What a task is made of: pairs voice by voice, how many are lost already, and what about.json says of them."""

    takes: list[Take]
    source: str
    where: str = ""  # the archive
    lost: int = 0
    facts: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


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
        return nonwords.swuggy_pairs(
            seed, settings.swuggy_pairs, words=words or None, pronounce=pronounce, also_words=every
        )
    if task == "sblimp":
        return sentences.sblimp_pairs(seed, settings.sblimp_pairs)
    return sentences.topic_pairs(seed, settings.topic_pairs)


def _from_files(files: list[Path], max_pairs: int, rejects: Rejects) -> list[Pair]:
    found = {}
    for path in files:
        found[str(path)], bad_rows = read_pairs(path)
        for line, reason in bad_rows:
            rejects.mention(f"{path.name}, row {line}", reason, path)
    return spread(found, max_pairs)


def voices_of(number: int, count: int, variability: int) -> list[Voice]:
    """`count` voices of the pool for the pair with this number; neighbours get different ones, so all are used."""
    pool = voices(variability)
    return [pool[(number * count + k) % len(pool)] for k in range(min(count, len(pool)))]


def _takes(pair: Pair, number: int, count: int, variability: int, seed: int, speaker: Speaker) -> Iterator[Take]:
    """The halves of a pair in each of its voices.

    Both halves have the same voice in the same style and the same synthesizer seed: they differ in the words alone.
    """
    texts = ((True, pair.good), (False, pair.bad))
    if pair.good_audio and pair.bad_audio:
        audio = (pair.good_audio, pair.bad_audio)
        yield tuple(_half(pair, GIVEN, *text, partial(read_audio, Path(a))) for text, a in zip(texts, audio))
        return
    for voice in voices_of(number, count, variability):
        draw = stable_hash(seed, "item", pair.id, voice.name) % 2**31
        styled = voice.jittered(random.Random(draw))
        if speaker.truth:
            how = [(None, partial(speaker.synthesize, text, styled, draw)) for _, text in texts]
        else:
            how = [(partial(_wave, text, styled, draw), None) for _, text in texts]
        yield tuple(_half(pair, voice.name, *text, *way) for text, way in zip(texts, how))


def _half(pair: Pair, voice: str, correct: bool, text: str, read: object, said: object = None) -> Half:
    item = f"{pair.id}|{'good' if correct else 'bad'}|{voice}"
    return Half(item, pair.id, voice, correct, pair.type, text, read, said)


def _wave(text: str, voice: Voice, seed: int) -> np.ndarray:
    return speak(text, voice, seed).samples


def _gather(
    task: str, settings: Benchmarks, variability: int, seed: int, sources: Sources, speaker: Speaker, rejects: Rejects
) -> _Task:
    """The pairs of a task from where the settings say, voice by voice."""
    if task in PARTS and settings.slm21:
        store, splits = open_store(settings.slm21), settings.slm21_splits
        found = read_slm21(store, settings.slm21, task, splits, settings.max_pairs, rejects)
        return _Task(found.takes, "sLM21", settings.slm21, found.lost, found.facts, found.notes, found.metadata)
    if task == "topic" and settings.storycloze:
        texts = sources.transcripts or settings.storycloze_text
        if not texts:
            raise UserError("benchmarks.storycloze_text: Topic-StoryCloze needs its texts, or --transcripts of them")
        heard_by = next((str(row.get("asr", "")) for row in read_jsonl(texts)), "") if sources.transcripts else ""
        store = open_store(settings.storycloze)
        found = read_storycloze(store, settings.storycloze, texts, settings.max_pairs, rejects, heard_by)
        return _Task(found.takes, "Topic-StoryCloze", settings.storycloze, found.lost, found.facts, found.notes)
    if sources.pairs:
        pairs, source = _from_files(sources.pairs, settings.max_pairs, rejects), "pairs files"
    else:
        pairs, source = generate(task, settings, seed, sources.cuts), "generated"
    count = settings.topic_voices if task == "topic" else settings.voices
    takes = [t for n, pair in enumerate(pairs) for t in _takes(pair, n, count, variability, seed, speaker)]
    return _Task(takes, source, facts={"files": list(map(str, sources.pairs))})


def build_items(
    task: str,
    settings: Benchmarks,
    speaker: Speaker,
    variability: int,
    seed: int,
    out: Path,
    rejected: Path,
    max_rejected: float,
    sources: Sources = Sources(),
    about: Path | None = None,
) -> None:
    """Write benchmarks/{task}/items.parquet (io.tables.ITEMS), the pairs left out, with reasons, and about.json.

    A pair of which a half cannot be spoken, read or aligned in a voice loses that voice on both sides, never one.
    Recordings of official benchmarks are never dropped for want of an alignment: see `spoken.Half`. The table is
    written group by group, so that memory does not grow with the benchmark. Raises UserError when more than
    `max_rejected` of the pairs, voice by voice, are lost, or none is left.
    """
    rejects = Rejects()
    if sources.durations:
        speaker.durations = Durations.load(sources.durations)
    made = _gather(task, settings, variability, seed, sources, speaker, rejects)
    times: Counter[str] = Counter()
    pairs: set[str] = set()

    def rows() -> Iterator[dict[str, object]]:
        spoken = speaker.utter([half for take in made.takes for half in take])
        with progress(f"items of {task}", len(made.takes), "pairs/s") as meter:
            for take in made.takes:
                heard = list(islice(spoken, len(take)))
                fault = next((found for found in heard if isinstance(found, Exception)), None)
                if fault is not None:
                    rejects.add(f"{take[0].id}|{take[0].voice}", str(fault), made.where)
                else:
                    times.update(utterance.times for utterance in heard)
                    pairs.add(take[0].id)
                    yield from map(_row, take, heard)
                meter.advance(1)

    spoken_rows = rows()
    with growing_table(out, ITEMS.with_metadata(made.metadata or None), GROUP) as table:
        while group := list(islice(spoken_rows, GROUP)):
            table.append({name: [row[name] for row in group] for name in ITEMS.names})
        if not pairs:
            raise UserError(f"{task}: no pair could be used; the first reasons: {rejects.rows[:3]}")
    rejects.write(rejected, len(made.takes) + made.lost, max_rejected)
    if about:
        write_json(about, _about(task, made, len(pairs), times, speaker, len(rejects.rows)))


def _row(half: Half, said: Utterance) -> dict[str, object]:
    return {
        "item": half.item,
        "id": half.id,
        "voice": half.voice,
        "correct": half.correct,
        "type": half.type,
        "split": half.split,
        "text": normalise(half.text),
        "words": as_rows(said.words),
        "phones": as_rows(said.phones),
        "seconds": len(said.samples) / SAMPLE_RATE,
        "audio": encode_flac(said.samples),
    }


def _about(task: str, made: _Task, pairs: int, times: Counter[str], speaker: Speaker, lost: int) -> dict[str, object]:
    """benchmarks/{task}/about.json: where the items are from, and how their phones, times and texts came about."""
    notes, items = list(made.notes), sum(times.values())
    if times[ESTIMATED]:
        notes.append(
            f"{times[ESTIMATED]:,} of {items:,} recordings could not be aligned, their phones have the mean durations "
            "of the training speech"
        )
    if lost and made.source in ("sLM21", "Topic-StoryCloze"):
        notes.append(f"{lost:,} pairs, voice by voice, are left out (benchmarks/{task}/rejected.jsonl)")
    return {
        "task": task,
        "source": made.source,
        **made.facts,
        "pairs": pairs,
        "items": items,
        "rejected": lost,
        "times": dict(times),
        "aligner": speaker.aligner,
        "notes": notes,
    }
