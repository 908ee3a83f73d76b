"""Statistics for normalisation by speaker: of each speaker of the corpus, and of each voice that speaks items."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import read_cuts
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.columns import batches
from speechladder.io.errors import UserError, paired
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import ALIGNMENT, ITEMS, read_table
from speechladder.settings import Units
from speechladder.units.decode import MIN_SAMPLES
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.normalise import Normaliser, SpeakerSums

_SPARE = 1.5  # factor on what is needed, since some audio turns out to be unreadable

Spoken = dict[str, list[tuple[int, float, Callable[[], np.ndarray]]]]  # speaker -> hash, seconds, how to read it


def _head(rows: list, seconds: float) -> list:
    """The first rows by hash that last `seconds` together, and some to spare."""
    rows.sort(key=lambda row: row[0])
    ends = np.cumsum([row[1] for row in rows])
    return rows[: int(np.searchsorted(ends, seconds * _SPARE)) + 1]


def _of_corpus(cuts: Sequence[Path], alignment: Sequence[Path], seconds: float, seed: int) -> Spoken:
    held: Spoken = defaultdict(list)
    for path, aligned_path in paired(cuts=cuts, alignment=alignment):
        aligned = set(read_table(aligned_path, ALIGNMENT, columns=["id"])["id"].to_pylist())
        touched = set()
        for cut in read_cuts(path):
            if cut.id in aligned:  # of every split, since units of held-out speakers are normalised too
                held[cut.speaker].append((stable_hash("speaker", seed, cut.id), cut.duration, cut.samples))
                touched.add(cut.speaker)
        for speaker in touched:
            held[speaker] = _head(held[speaker], seconds)
    return held


def _of_items(items: Sequence[Path], known: set[str], seconds: float, seed: int) -> Spoken:
    held: Spoken = defaultdict(list)
    for path in items:
        for batch in batches(path, ITEMS, ["item", "voice", "seconds", "audio"], 256):
            for row in batch.to_pylist():
                if row["voice"] not in known:
                    order, audio = stable_hash("speaker", seed, row["item"]), row["audio"] or b""
                    held[row["voice"]].append((order, row["seconds"], lambda audio=audio: read_audio(audio)))
            # drop what is not needed at once, since an official benchmark has gigabytes of audio
            held = defaultdict(list, {voice: _head(rows, seconds) for voice, rows in held.items()})
    return held


def _read(rows: list, seconds: float) -> Iterator[np.ndarray]:
    """Samples of utterances in the order of their hash, until they last `seconds`.

    Unreadable utterances are skipped; the stage that extracts their units lists them.
    """
    left = seconds * SAMPLE_RATE
    for _, _, read in sorted(rows, key=lambda row: row[0]):
        if left <= 0:
            return
        try:
            samples = read()
        except AudioError:
            continue
        if len(samples) >= MIN_SAMPLES:
            left -= len(samples)
            yield samples


def _sum_features(encoder: Encoder, spoken: Spoken, seconds: float) -> SpeakerSums:
    found = SpeakerSums()
    total = sum(min(seconds, sum(row[1] for row in rows)) for rows in spoken.values())
    with progress("speakers' statistics", total, "h of speech per h") as meter:
        for speaker in sorted(spoken):
            utterances = list(_read(spoken[speaker], seconds))
            for features in encoder.encode(utterances) if utterances else ():
                found.add(speaker, features)
            meter.advance(sum(map(len, utterances)) / SAMPLE_RATE)
    return found


def write_speaker_statistics(
    units: Units,
    out: Path,
    cuts: Sequence[Path] = (),
    alignment: Sequence[Path] = (),
    items: Sequence[Path] = (),
    speakers: Path | None = None,
    seed: int = 0,
) -> None:
    """Measure the mean and variance of each speaker's features, or of the voices that speak items.

    At most units.speaker_seconds of each speaker are used: aligned utterances of every split, by the hash of seed and
    id. Raise UserError if an input is missing, or if the corpus has no aligned and readable utterance.

    Args:
        out: units/speakers.safetensors to write, or units/voices.safetensors with --items
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard; needs --alignment
        alignment: alignment/{shard}.parquet of every shard, in the same order
        items: benchmarks/{task}/items.parquet of every task, and prompts, in place of --cuts; needs --speakers
        speakers: units/speakers.safetensors: a voice that is among these speakers is left out
        seed: seed of the drawing
    """
    if bool(cuts) == bool(items):
        raise UserError("give either --cuts with --alignment, or --items with --speakers")
    encoder, seconds = open_encoder(units), units.speaker_seconds
    if cuts:
        found = _sum_features(encoder, _of_corpus(cuts, alignment, seconds, seed), seconds)
        if not found.frames:
            raise UserError(
                f"no aligned and readable utterance in {', '.join(map(str, cuts[:3]))}: no speaker to normalise"
            )
    elif speakers is None:
        raise UserError("--items needs --speakers")
    else:  # there may be no voice that is not a speaker of the corpus
        known = set(Normaliser.load(speakers).statistics)
        found = _sum_features(encoder, _of_items(items, known, seconds, seed), seconds)
    found.write(out, {**encoder.provenance, "seconds": seconds, "seed": seed})
