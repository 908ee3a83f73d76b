"""The world's documents, spoken: sessions of one speaker, cut into utterances, with exact words and phones."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.speak import Spoken, Voice, speak, voices
from speechladder.corpora.text import normalise
from speechladder.corpora.world import document
from speechladder.io.audio import encode_flac
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder
from speechladder.io.hashing import share, stable_hash
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.spans import as_rows
from speechladder.io.tables import ALIGNMENT, write_table
from speechladder.settings import WORLD_HOURS, Corpus

SESSION = (180.0, 300.0)  # seconds of speech in a recording, drawn between these
LEAST_SESSIONS = 8  # per shard, so that a small world has several speakers too
GAP = np.zeros(SAMPLE_RATE // 4, dtype=np.float32)  # between utterances of a recording, in no cut


def _speaker(corpus: Corpus, seed: int, shard: int, session: int) -> Voice:
    """The pool in a drawn order, dealt over all sessions of all shards."""
    pool = voices(corpus.variability)
    random.Random(f"speakers/{seed}").shuffle(pool)
    return pool[(session * corpus.shards + shard) % len(pool)]


def _refusal(spoken: Spoken, corpus: Corpus) -> str | None:
    seconds = len(spoken.samples) / SAMPLE_RATE
    if seconds < corpus.min_seconds:
        return f"too short: {seconds:.2f} s, corpus.min_seconds is {corpus.min_seconds}"
    if seconds > corpus.max_seconds:
        return f"too long: {seconds:.2f} s, corpus.max_seconds is {corpus.max_seconds}"
    return None


def _with_splits(cuts: list[Cut], corpus: Corpus) -> list[Cut]:
    """Splits by the hash of the text, so that the same document is never on two sides of a shard; a count and not a
    threshold, so that the smallest shard has an utterance in each."""
    texts = sorted({c.text for c in cuts}, key=lambda text: share("split", text))
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


def build_shard(corpus: Corpus, seed: int, shard: int, cuts: Path, audio: Path, truth: Path, rejected: Path) -> None:
    """Speak one shard of the world: corpus.hours / corpus.shards of speech.

    Writes `cuts` (corpus/cuts.{shard}.jsonl.gz), the folder `audio` with a FLAC file per session of one speaker, to
    which the cuts point as `audio` is given, `truth` (tables.ALIGNMENT, aligner "truth") and `rejected`. The same
    arguments give the same bytes. A document depends on seed, shard and its number alone, so that the settings of the
    dial speak the same texts. Raises UserError when the shard does not exist or is too small for three splits.
    """
    if not 0 <= shard < corpus.shards:
        raise UserError(f"--shard {shard}: corpus.shards is {corpus.shards}, so shards are 0 to {corpus.shards - 1}")
    wanted = (corpus.hours or WORLD_HOURS) * 3600 / corpus.shards
    out: list[Cut] = []
    rows: list[dict[str, object]] = []
    rejects, seconds, session, number = Rejects(), 0.0, 0, 0
    with atomic_folder(audio) as folder, progress(f"speak shard {shard}", wanted, "h of speech per h") as meter:
        while seconds < wanted:
            voice = _speaker(corpus, seed, shard, session)
            recording = f"w{shard:03d}-{session:04d}"
            length = random.Random(f"session/{seed}/{shard}/{session}").uniform(*SESSION)
            end = min(wanted, seconds + min(length, wanted / LEAST_SESSIONS))
            parts: list[np.ndarray] = []
            begun: list[Cut] = []
            samples = 0
            while seconds < end:
                text = document(random.Random(f"document/{seed}/{shard}/{number}")).text
                name = f"w{shard:03d}-{number:06d}"
                number += 1
                draw = stable_hash(seed, "speak", name)
                spoken = speak(text, voice.jittered(random.Random(draw)), draw % 2**31)
                duration = len(spoken.samples) / SAMPLE_RATE
                seconds += duration
                meter.advance(duration)
                if reason := _refusal(spoken, corpus):
                    rejects.add(name, reason, text)
                    continue
                begun.append(
                    Cut(
                        id=name,
                        recording=recording,
                        path=str(audio / f"{recording}.flac"),
                        start=samples / SAMPLE_RATE,
                        duration=duration,
                        speaker=voice.name,
                        split="train",
                        text=normalise(text),
                        original=text,
                        sampling_rate=SAMPLE_RATE,
                        num_samples=0,
                    )
                )
                rows.append(
                    {
                        "id": name,
                        "words": as_rows(spoken.words),
                        "phones": as_rows(spoken.phones),
                        "seconds": duration,
                        "aligner": "truth",
                    }
                )
                parts += [spoken.samples, GAP]
                samples += len(spoken.samples) + len(GAP)
            if parts:
                (folder / f"{recording}.flac").write_bytes(encode_flac(np.concatenate(parts)))
            out += [replace(c, num_samples=samples) for c in begun]
            session += 1
    write_table(truth, rows, ALIGNMENT)
    rejects.write(rejected, number, corpus.max_rejected)
    write_cuts(cuts, _with_splits(out, corpus))
