"""Statistics for normalisation by speaker: of each speaker of the corpus, and of each voice that speaks items."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from speechladder.alignment.cuts import aligned_cuts
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.draw import Draw
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.columns import batches
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.tables import ITEMS
from speechladder.settings import Units
from speechladder.units.decode import MIN_SAMPLES
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.normalise import Normaliser, SpeakerSums

_SPARE = 1.5  # factor on what is needed, since some audio turns out to be unreadable

Read = Callable[[], np.ndarray]
Spoken = dict[str, Draw[tuple[float, Read]]]  # speaker -> seconds of utterances and how to read them


def _draws(seconds: float, seed: int) -> Spoken:
    return defaultdict(lambda: Draw(seconds * _SPARE, "speaker", seed))


def _of_corpus(cuts: Sequence[Path], alignment: Sequence[Path], seconds: float, seed: int) -> Spoken:
    drawn = _draws(seconds, seed)
    for _, cut in aligned_cuts(cuts, alignment):  # of every split, since units of held-out speakers are normalised too
        drawn[cut.speaker].add(cut.id, cut.duration, (cut.duration, cut.samples))
    return drawn


def _of_items(items: Sequence[Path], known: set[str], seconds: float, seed: int) -> Spoken:
    drawn = _draws(seconds, seed)
    for path in items:
        for batch in batches(path, ITEMS, ["item", "voice", "seconds", "audio"], 256):
            for row in batch.to_pylist():
                if row["voice"] not in known:
                    read = partial(read_audio, row["audio"] or b"", silent=True)
                    drawn[row["voice"]].add(row["item"], row["seconds"], (row["seconds"], read))
    return drawn


def _read(rows: list[tuple[float, Read]], seconds: float) -> Iterator[np.ndarray]:
    """Samples of utterances in their order, until they last `seconds`.

    Unreadable utterances are skipped; the stage that extracts their units lists them.
    """
    left = seconds * SAMPLE_RATE
    for _, read in rows:
        if left <= 0:
            return
        try:
            samples = read()
        except AudioError:
            continue
        if len(samples) >= MIN_SAMPLES:
            left -= len(samples)
            yield samples


def _sum_features(encoder: Encoder, drawn: Spoken, seconds: float) -> SpeakerSums:
    found = SpeakerSums()
    spoken = {speaker: drawn[speaker].items() for speaker in sorted(drawn)}
    total = sum(min(seconds, sum(duration for duration, _ in rows)) for rows in spoken.values())
    with progress("speakers' statistics", total, "h of speech per h") as meter:
        for speaker, rows in spoken.items():
            utterances = list(_read(rows, seconds))
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
