"""The frames that k-means is trained on: drawn uniformly over the train split of all shards."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.audio import AudioError, frame_count
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import SAMPLE_RATE, Units
from speechladder.units.codebook import write_tensors
from speechladder.units.encoder import MIN_SAMPLES, Encoder

SHARE = 0.5  # of an utterance's frames; half costs twice the encoding of all, and covers twice the utterances
_SPARE = 1.2  # utterances kept beyond what is needed, for audio that turns out to be unreadable


@dataclass(frozen=True)
class Candidate:
    """An utterance of the train split at its place in the drawing order, a hash of seed and id."""

    order: int
    cut: Cut
    frames: int


def candidates(cuts: list[Path], alignments: list[Path], frames: int, seed: int) -> tuple[list[Candidate], int]:
    """(utterances in drawing order, frames of the whole train split); not more utterances than may be needed.

    Only aligned utterances count. The order does not depend on how the corpus is divided into shards, and only the
    head of it is held in memory.
    """
    drawn: list[Candidate] = []
    total = 0
    for cuts_path, alignment_path in zip(cuts, alignments, strict=True):
        aligned = set(read_table(alignment_path, ALIGNMENT, columns=["id"])["id"].to_pylist())
        for cut in read_cuts(cuts_path):
            if cut.split == "train" and cut.id in aligned:
                count = frame_count(round(cut.duration * SAMPLE_RATE))
                total += count
                drawn.append(Candidate(stable_hash("units sample", seed, cut.id), cut, count))
        drawn.sort(key=lambda c: (c.order, c.cut.id))
        held = np.cumsum([c.frames for c in drawn]) * SHARE
        drawn = drawn[: int(np.searchsorted(held, frames * _SPARE)) + 1]
    return drawn, total


def draw(
    encoder: Encoder, cuts: list[Path], alignments: list[Path], frames: int, seed: int
) -> tuple[np.ndarray, dict[str, object]]:
    """(features (<= frames, dim) float32, provenance).

    Policy: train utterances in the order of a seeded hash of their id; of each the same share of its frames (a half;
    more only where the split has less than twice `frames`), drawn without replacement; until there are `frames`. So
    each frame of the split is as likely as any other, and as many speakers are covered as the split offers.
    """
    queue, total = candidates(cuts, alignments, frames, seed)
    if not total:
        raise UserError(
            f"no aligned utterance of the train split in {', '.join(map(str, cuts[:3]))}: k-means has nothing to learn "
            "from; see the rejected lists of corpus and alignment"
        )
    share = min(1.0, max(SHARE, frames / total))
    rows: list[np.ndarray] = []
    speakers: set[str] = set()
    have = unreadable = 0
    with progress("k-means sample", min(frames, total), "frames/s") as meter:
        for chosen in queue:
            if have >= frames:
                break
            try:
                samples = chosen.cut.samples()
            except AudioError:
                samples = np.empty(0)
            if len(samples) < MIN_SAMPLES:
                unreadable += 1  # listed with its reason when the units of its shard are extracted
                continue
            features = encoder.encode([samples])[0]
            rng = np.random.default_rng([seed, chosen.order])
            keep = np.sort(rng.permutation(len(features))[: max(1, round(share * len(features)))])
            rows.append(features[keep][: frames - have])
            have += len(rows[-1])
            speakers.add(chosen.cut.speaker)
            meter.advance(len(rows[-1]))
    if not rows:
        raise UserError(f"none of the {len(queue)} utterances drawn for k-means is readable, first {queue[0].cut.path}")
    return np.concatenate(rows), {
        **encoder.provenance,
        "policy": f"{share:.6g} of each utterance's frames, train utterances by hash of seed and id",
        "seed": seed,
        "frames": have,
        "frames_wanted": frames,
        "frames_in_split": total,
        "utterances": len(rows),
        "utterances_unreadable": unreadable,
        "speakers": len(speakers),
    }


def write_sample(cuts: list[Path], alignments: list[Path], out: Path, units: Units, seed: int) -> None:
    """Write units/sample.safetensors: `features` (frames, dim) float32. Raises UserError."""
    encoder = Encoder.load(units.encoder, units.layer, units.batch_seconds)
    features, provenance = draw(encoder, cuts, alignments, units.sample_frames, seed)
    write_tensors(out, {"features": features}, provenance)
