"""Draw the labelled speech that a phone classifier is trained on: units.labels: phones, units.label_minutes.

The frames are those of whole utterances of the train split, in the order of a hash of seed and id. The last utterance
is cut off where the minutes are full. So the frames of fewer minutes are the first frames of more minutes. Frames of
the valid split follow them in the same file; the classifier's accuracy is measured on these.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from speechladder.alignment.cuts import aligned_cuts, phones_of
from speechladder.alignment.frames import frame_labels
from speechladder.constants import FRAME_RATE, SAMPLE_RATE
from speechladder.corpora.cuts import Cut
from speechladder.corpora.draw import Draw
from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.spans import Span
from speechladder.settings import Units
from speechladder.units.batching import windows
from speechladder.units.decode import Wave, waves
from speechladder.units.encoders.base import Encoder
from speechladder.units.extract import jobs_of, workers
from speechladder.units.kmeans.store import Store
from speechladder.units.normalise import Normaliser

PHONE_LABELS = (*ARPABET, SIL)  # the unit of a frame is the index of its label
HELD_OUT_MINUTES = 10.0  # most speech of the valid split on which the accuracy is measured
_INDEX = {label: index for index, label in enumerate(PHONE_LABELS)}
_SPARE = 1.2  # factor on what is needed, since some audio turns out to be unreadable

Labelled = tuple[Cut, list[Span]]


def draw_labelled(
    cuts: Sequence[Path], alignment: Sequence[Path], minutes: dict[str, float], seed: int
) -> dict[str, list[Labelled]]:
    """Aligned utterances with their phones, drawn from each split that `minutes` names.

    About twice what is drawn is in memory, and one shard's alignment. Raise UserError naming an alignment without
    phones.
    """
    draws: dict[str, Draw[tuple[int, Cut]]] = {
        split: Draw(60 * wanted * _SPARE, "phone labels", seed) for split, wanted in minutes.items()
    }
    for shard, cut in aligned_cuts(cuts, alignment):
        if cut.split in draws:
            draws[cut.split].add(cut.id, cut.duration, (shard, cut))
    drawn = {split: draw.items() for split, draw in draws.items()}
    phones = phones_of(alignment, [row for rows in drawn.values() for row in rows])
    for shard, cut in (row for rows in drawn.values() for row in rows):
        if not phones[cut.id]:
            raise UserError(
                f"{alignment[shard]}: utterance '{cut.id}' has no phones, which units.labels: phones needs; set "
                "alignment.aligner to one that gives phones, or units.labels to none"
            )
    return {split: [(cut, phones[cut.id]) for _, cut in rows] for split, rows in drawn.items()}


def label_frames(phones: list[Span], frames: int, name: str) -> np.ndarray:
    """The index in PHONE_LABELS of each frame of utterance `name`: (frames,) uint8.

    Raise UserError naming a phone that is not ARPAbet.
    """
    labels = [strip_stress(label) for label in frame_labels(phones, frames)]
    if unknown := set(labels) - set(_INDEX):
        raise UserError(
            f"utterance '{name}': its alignment has the phone '{min(unknown)}', which is not ARPAbet or {SIL}; "
            "align with ARPAbet phones, or set units.labels to none"
        )
    return np.array([_INDEX[label] for label in labels], np.uint8)


def encode_labelled(
    encoder: Encoder, drawn: list[Labelled], frames: int, units: Units, normaliser: Normaliser
) -> Iterator[tuple[Cut, np.ndarray, np.ndarray]]:
    """Yield each readable utterance with features (n, dim) and labels (n,), until there are `frames` of them."""
    by_id = {cut.id: (cut, phones) for cut, phones in drawn}
    read = waves(jobs_of(cut for cut, _ in drawn), workers(units, encoder))
    readable = ((job.id, wave.samples) for job, wave in read if isinstance(wave, Wave))
    left = frames
    with progress("labelled speech", frames, "frames/s") as meter:
        for window in windows(readable, lambda row: len(row[1]) / SAMPLE_RATE, encoder.ahead):
            for (name, _), features in zip(window, encoder.encode([samples for _, samples in window]), strict=True):
                cut, phones = by_id[name]
                # normalised before it is cut off: the statistics are those of the whole utterance
                found = normaliser.apply(features, cut.speaker)[:left]
                yield cut, found, label_frames(phones, len(features), cut.id)[:left]
                meter.advance(len(found))
                left -= len(found)
                if not left:
                    return


def write_labelled_sample(
    cuts: Sequence[Path],
    alignment: Sequence[Path],
    out: Path,
    units: Units,
    seed: int,
    encoder: Encoder,
    normaliser: Normaliser,
) -> None:
    """Write `features` (frames, dim) float32 and `labels` (frames,) uint8, the train split first.

    Raise UserError if no utterance of the train split is aligned and readable, or if the alignment has no phones.
    """
    minutes = {"train": units.label_minutes, "valid": HELD_OUT_MINUTES}
    drawn = draw_labelled(cuts, alignment, minutes, seed)
    store, labels = Store(out, int(encoder.provenance["dim"]), units.sample_gigabytes), []
    counts: dict[str, dict[str, int]] = {}
    for split, wanted in minutes.items():
        lengths, speakers = [], set()
        frames = max(1, round(60 * FRAME_RATE * wanted))
        for cut, features, found in encode_labelled(encoder, drawn[split], frames, units, normaliser):
            store.add(features)
            labels.append(found)
            lengths.append(len(found))
            speakers.add(cut.speaker)
        counts[split] = {"frames": sum(lengths), "utterances": len(lengths), "speakers": len(speakers)}
    if not counts["train"]["frames"]:
        raise UserError(
            f"no aligned and readable utterance of the train split in {', '.join(map(str, cuts[:3]))}: the phone "
            "classifier has nothing to learn from; see the rejected lists of corpus and alignment"
        )
    policy = {"policy": "whole utterances of each split by hash of seed and id", "labels": list(PHONE_LABELS)}
    said = {**encoder.provenance, **normaliser.provenance, **policy, "seed": seed, "splits": counts}
    store.write(said, labels=np.concatenate(labels))
