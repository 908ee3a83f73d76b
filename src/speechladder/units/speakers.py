"""Mean and variance of each speaker's features, and of each voice that speaks items: for normalisation by speaker."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import read_cuts
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.columns import batches
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import ALIGNMENT, ITEMS, read_table
from speechladder.settings import Units
from speechladder.units.encoder import MIN_SAMPLES, Encoder, open_encoder
from speechladder.units.normalise import Gathering, Normaliser

_SPARE = 1.5  # utterances kept beyond what is needed, for audio that turns out to be unreadable

Spoken = dict[str, list[tuple[int, float, Callable[[], np.ndarray]]]]  # speaker -> hash, seconds, how to read it


def _head(rows: list, seconds: float) -> list:
    """The first by hash that last `seconds` together, and some to spare."""
    rows.sort(key=lambda row: row[0])
    ends = np.cumsum([row[1] for row in rows])
    return rows[: int(np.searchsorted(ends, seconds * _SPARE)) + 1]


def _of_corpus(cuts: list[Path], alignments: list[Path], seconds: float, seed: int) -> Spoken:
    held: Spoken = defaultdict(list)
    for path, alignment in zip(cuts, alignments, strict=True):
        aligned = set(read_table(alignment, ALIGNMENT, columns=["id"])["id"].to_pylist())
        touched = set()
        for cut in read_cuts(path):
            if cut.id in aligned:  # every split: units of held-out speakers are normalised too
                held[cut.speaker].append((stable_hash("speaker", seed, cut.id), cut.duration, cut.samples))
                touched.add(cut.speaker)
        for speaker in touched:
            held[speaker] = _head(held[speaker], seconds)
    return held


def _of_items(items: list[Path], known: set[str], seconds: float, seed: int) -> Spoken:
    held: Spoken = defaultdict(list)
    for path in items:
        for batch in batches(path, ITEMS, ["item", "voice", "seconds", "audio"], 256):
            for row in batch.to_pylist():
                if row["voice"] not in known:
                    order, audio = stable_hash("speaker", seed, row["item"]), row["audio"] or b""
                    held[row["voice"]].append((order, row["seconds"], lambda audio=audio: read_audio(audio)))
            # what a voice's head has no room for is let go of: an official benchmark is gigabytes of audio
            held = defaultdict(list, {voice: _head(rows, seconds) for voice, rows in held.items()})
    return held


def _read(rows: list, seconds: float) -> Iterator[np.ndarray]:
    """Samples of utterances in order of their hash, until they last `seconds`; unreadable ones are passed over, since
    the stage that extracts their units lists them."""
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


def _gather(encoder: Encoder, spoken: Spoken, seconds: float) -> Gathering:
    found = Gathering()
    total = sum(min(seconds, sum(row[1] for row in rows)) for rows in spoken.values())
    with progress("speakers' statistics", total, "h of speech per h") as meter:
        for speaker in sorted(spoken):
            utterances = list(_read(spoken[speaker], seconds))
            for features in encoder.encode(utterances) if utterances else ():
                found.add(speaker, features)
            meter.advance(sum(map(len, utterances)) / SAMPLE_RATE)
    return found


def write_speakers(cuts: list[Path], alignments: list[Path], out: Path, units: Units, seed: int) -> None:
    """Write units/speakers.safetensors from at most `units.speaker_seconds` of each speaker, aligned utterances of
    every split by the hash of seed and id. Raises UserError when there is none."""
    encoder = open_encoder(units)
    found = _gather(encoder, _of_corpus(cuts, alignments, units.speaker_seconds, seed), units.speaker_seconds)
    if not found.frames:
        raise UserError(
            f"no aligned and readable utterance in {', '.join(map(str, cuts[:3]))}: no speaker to normalise"
        )
    found.write(out, {**encoder.provenance, "seconds": units.speaker_seconds, "seed": seed})


def write_voices(items: list[Path], speakers: Path, out: Path, units: Units, seed: int) -> None:
    """Write units/voices.safetensors: the same of the voices that speak items (or prompts) and are no speakers of the
    corpus. There may be none."""
    encoder = open_encoder(units)
    known = set(Normaliser.load(speakers).statistics)
    found = _gather(encoder, _of_items(items, known, units.speaker_seconds, seed), units.speaker_seconds)
    found.write(out, {**encoder.provenance, "seconds": units.speaker_seconds, "seed": seed})
