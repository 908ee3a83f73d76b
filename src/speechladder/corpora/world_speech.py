"""The world's documents, spoken: sessions of one speaker, divided into utterances, with exact words and phones."""

import random
from dataclasses import replace
from pathlib import Path

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.draw import hash_order
from speechladder.corpora.filters import length_problem
from speechladder.corpora.recording import SpokenRecording
from speechladder.corpora.speak import Voice, speak, voices
from speechladder.corpora.text import normalise
from speechladder.corpora.world import document
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ALIGNMENT, write_table
from speechladder.settings import WORLD_HOURS, Corpus

SESSION = (180.0, 300.0)  # seconds of speech in a recording, drawn uniformly between these
LEAST_SESSIONS = 8  # per shard, so that a small world has several speakers too


def _speaker(corpus: Corpus, seed: int, shard: int, session: int) -> Voice:
    """The speaker of a session: the pool, in a drawn order, is assigned in turn to the sessions of all shards."""
    pool = voices(corpus.variability, corpus.causes)
    random.Random(f"speakers/{seed}").shuffle(pool)
    return pool[(session * corpus.shards + shard) % len(pool)]


def _with_splits(cuts: list[Cut], corpus: Corpus) -> list[Cut]:
    """The cuts with their splits.

    The hash of the text decides, so that within a shard the same document is never in two splits. The draw takes a
    count of texts rather than a threshold on the hash, so that even the smallest shard has an utterance in each split.
    """
    texts = hash_order({c.text for c in cuts}, "split", name=str)
    valid = max(1, round(corpus.valid_fraction * len(texts)))
    test = max(1, round(corpus.test_fraction * len(texts)))
    if len(texts) < valid + test + 1:
        raise UserError(
            f"corpus.hours: {len(cuts)} utterances in a shard are too few for train, valid and test; "
            "raise corpus.hours or lower corpus.shards"
        )
    names = dict.fromkeys(texts, "train") | dict.fromkeys(texts[:valid], "valid")
    names |= dict.fromkeys(texts[valid : valid + test], "test")
    return [replace(c, split=names[c.text]) for c in cuts]


def _unspoken(utterance: str, text: str, recording: str, voice: Voice) -> Cut:
    """The cut of an utterance before it has a window in its recording, and before `_with_splits`."""
    names = {"id": utterance, "recording": recording, "speaker": voice.name, "split": "train"}
    texts = {"text": normalise(text), "original": text}
    return Cut(**names, **texts, path="", start=0.0, duration=0.0, sampling_rate=SAMPLE_RATE, num_samples=0)


def build_world_shard(
    corpus: Corpus, seed: int, shard: int, cuts: Path, audio: Path, truth: Path, rejected: Path
) -> None:
    """Speak one shard of the world: corpus.hours / corpus.shards of speech.

    Writes `cuts` (corpus/cuts.{shard}.jsonl.gz), the folder `audio` with a FLAC file for each session of one speaker,
    `truth` (tables.ALIGNMENT, aligner "truth") and `rejected`. The cuts name the FLAC files by the path `audio` as it
    is given. The same arguments give the same bytes. A document depends on the seed, the shard and its number alone, so
    that all levels of corpus.variability and all corpus.causes speak the same texts. Raises UserError if the shard does
    not exist or is too small for three splits.
    """
    if not 0 <= shard < corpus.shards:
        raise UserError(f"--shard {shard}: corpus.shards is {corpus.shards}, so shards are 0 to {corpus.shards - 1}")
    wanted = (corpus.hours or WORLD_HOURS) * 3600 / corpus.shards
    out: list[Cut] = []
    rows: list[dict[str, object]] = []
    rejects, seconds, sessions, number = Rejects(), 0.0, 0, 0
    with atomic_folder(audio) as folder, progress(f"speak shard {shard}", wanted, "h of speech per h") as meter:
        while seconds < wanted:
            name = f"w{shard:03d}-{sessions:04d}"
            session, voice = SpokenRecording(audio / f"{name}.flac"), _speaker(corpus, seed, shard, sessions)
            length = random.Random(f"session/{seed}/{shard}/{sessions}").uniform(*SESSION)
            sessions += 1
            end = min(wanted, seconds + min(length, wanted / LEAST_SESSIONS))
            while seconds < end:
                text = document(random.Random(f"document/{seed}/{shard}/{number}")).text
                utterance = f"w{shard:03d}-{number:06d}"
                number += 1
                draw = stable_hash(seed, "speak", utterance)
                spoken = speak(text, voice.jittered(random.Random(draw)), draw % 2**31)
                duration = len(spoken.samples) / SAMPLE_RATE
                seconds += duration
                meter.advance(duration)
                if reason := length_problem(duration, corpus):
                    rejects.add(utterance, reason, text)
                else:
                    rows.append(session.add(_unspoken(utterance, text, name, voice), spoken))
            out += session.write(folder)
    write_table(truth, rows, ALIGNMENT)
    rejects.write(rejected, number, corpus.max_rejected)
    write_cuts(cuts, _with_splits(out, corpus))
