"""Draw the frames that k-means is trained on, from the train split of all shards."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from speechladder.alignment.frames import frame_labels
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.phones import SIL
from speechladder.io.audio import AudioError, frame_count
from speechladder.io.errors import UserError, paired
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import Units
from speechladder.units.decode import MIN_SAMPLES
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.kmeans.bottom_k import BottomKSample, Candidate, SpeakerQuota, choose_frames
from speechladder.units.kmeans.store import Store
from speechladder.units.normalise import Normaliser
from speechladder.units.segments import aligned_times, made_of, needs_alignment, pool, starts_of

_USUAL = 10  # frames of a segment of units.segments: auto, by which utterances are chosen before they are encoded


def choose_utterances(
    cuts: Sequence[Path], alignment: Sequence[Path], units: Units, seed: int
) -> tuple[BottomKSample, int]:
    """(the chosen utterances of all shards, frames of the whole train split). Only aligned utterances count."""
    chosen, total = BottomKSample(units.sample_frames, units.sample_by_speaker, units.sample_silence), 0
    columns = ["id", "words", "phones"] if needs_alignment(units) or units.sample_silence < 1 else ["id"]
    for cuts_path, alignment_path in paired(cuts=cuts, alignment=alignment):
        table = read_table(alignment_path, ALIGNMENT, columns=columns)
        candidate, aligned = _candidates(table, units, seed), set(table["id"].to_pylist())
        for cut in read_cuts(cuts_path):
            if cut.split == "train" and cut.id in aligned:
                chosen.add(candidate(cut))
                total += frame_count(round(cut.duration * SAMPLE_RATE))
        chosen.trim()
    return chosen, total


def _candidates(table: pa.Table, units: Units, seed: int) -> Callable[[Cut], Candidate]:
    """What makes a candidate of an utterance of this alignment. If units are segments, silence is not limited."""
    at = {name: row for row, name in enumerate(table["id"].to_pylist())}
    times = aligned_times(table, units.segments) if needs_alignment(units) else None

    def candidate(cut: Cut) -> Candidate:
        order, count = stable_hash("units sample", seed, cut.id), frame_count(round(cut.duration * SAMPLE_RATE))
        if times:
            found = times(cut.id)
            return Candidate(order, cut, len(found), times=found)
        if units.segments != "frame":
            return Candidate(order, cut, max(1, count // _USUAL))
        silent = None
        if units.sample_silence < 1:
            labels = frame_labels(from_rows(table["phones"][at[cut.id]].as_py()), count)
            silent = np.array([label == SIL for label in labels], bool)
        return Candidate(order, cut, count, silent)

    return candidate


@dataclass
class Drawing:
    """Counts of what was drawn so far, for the provenance."""

    frames: int = 0
    utterances: int = 0
    unreadable: int = 0
    silent: int = 0
    speakers: dict[str, int] = field(default_factory=dict)  # frames of each

    def count(self, chosen: Candidate, keep: np.ndarray) -> None:
        """Count the frames `keep` of an utterance."""
        self.frames += len(keep)
        self.utterances += 1
        if chosen.silent is not None:
            self.silent += int(chosen.silent[keep[keep < len(chosen.silent)]].sum())
        self.speakers[chosen.cut.speaker] = self.speakers.get(chosen.cut.speaker, 0) + len(keep)


def _encoded(encoder: Encoder, queue: list[Candidate], seen: Drawing) -> Iterator[tuple[Candidate, np.ndarray]]:
    """Utterances with their features, in order. If batches pay, some are encoded ahead of what is asked for."""
    window: list[tuple[Candidate, np.ndarray]] = []
    for chosen in queue:
        try:
            samples = chosen.cut.samples()
        except AudioError:
            samples = np.empty(0)
        if len(samples) < MIN_SAMPLES:
            seen.unreadable += 1  # extract_units lists it with its reason
            continue
        window.append((chosen, samples))
        if sum(len(s) for _, s in window) >= encoder.ahead * SAMPLE_RATE:
            yield from zip((c for c, _ in window), encoder.encode([s for _, s in window]), strict=True)
            window = []
    if window:
        yield from zip((c for c, _ in window), encoder.encode([s for _, s in window]), strict=True)


def encode_quotas(
    encoder: Encoder,
    quotas: Sequence[SpeakerQuota],
    units: Units,
    seed: int,
    normaliser: Normaliser,
    sink: Callable[[np.ndarray], None],
) -> Drawing:
    """Encode utterances until every quota is met. `sink` gets the frames, normalised, or the means of segments.

    Raise UserError if none of the utterances is readable.
    """
    seen = Drawing()
    with progress("k-means sample", sum(quota.quota for quota in quotas), "frames/s") as meter:
        for quota in quotas:
            have = 0
            for chosen, features in _encoded(encoder, quota.candidates, seen):
                rows = _pooled(normaliser.apply(features, chosen.cut.speaker), units, chosen)
                keep = choose_frames(chosen, len(rows), quota.share, units.sample_silence, seed)[: quota.quota - have]
                sink(rows[keep])
                have += len(keep)
                seen.count(chosen, keep)
                meter.advance(len(keep))
                if have >= quota.quota:
                    break
    if not seen.utterances:
        queue = [chosen for quota in quotas for chosen in quota.candidates]
        raise UserError(f"none of the {len(queue)} utterances drawn for k-means is readable, first {queue[0].cut.path}")
    return seen


def _pooled(features: np.ndarray, units: Units, chosen: Candidate) -> np.ndarray:
    """The features of an utterance's segments; those of its frames if these are the units."""
    if units.segments == "frame":
        return features
    values = torch.from_numpy(features)
    return pool(values, starts_of(values, units, chosen.times)).numpy()


def plan_sample(
    cuts: Sequence[Path], alignment: Sequence[Path], units: Units, seed: int
) -> tuple[list[SpeakerQuota], dict[str, Any]]:
    """(what to encode, the policy for the provenance). Raise UserError if the train split has no aligned utterance.

    Utterances of the train split are taken in the order of a hash of seed and id. Each gives the same share of its
    frames, drawn without replacement, until there are `units.sample_frames`. The share is a half; it is larger only if
    the split has less than twice as many frames. So every frame of the split is equally likely, and the sample covers
    as many speakers as the split offers. `units.sample_by_speaker` does the same within each speaker, and
    `units.sample_silence` limits silence (kmeans.bottom_k). If units are segments, these are drawn instead of frames.
    """
    chosen, total = choose_utterances(cuts, alignment, units, seed)
    quotas = chosen.quotas()
    if not total or not sum(quota.quota for quota in quotas):
        raise UserError(
            f"no aligned utterance of the train split in {', '.join(map(str, cuts[:3]))}: k-means has nothing to learn "
            "from; see the rejected lists of corpus and alignment"
        )
    if _limited(units):
        whose = "the same number of frames of every speaker" if units.sample_by_speaker else "all speakers as they come"
        words = f"train utterances of all shards by hash of seed and id, {whose}"
        policy = {"policy": words, "silence_cap": units.sample_silence, "frames_available": chosen.available}
    else:
        share, what = quotas[0].share, "frames" if units.segments == "frame" else "segments"
        policy = {"policy": f"{share:.6g} of each utterance's {what}, train utterances by hash of seed and id"}
    if units.segments == "auto":  # their number is not known before the end
        most = units.sample_frames // len(quotas)
        quotas = [replace(q, quota=max(q.quota, most)) if q.share == 1 else q for q in quotas]
    policy |= made_of(units)
    return quotas, {**policy, "seed": seed, "frames_wanted": units.sample_frames, "frames_in_split": total}


def _limited(units: Units) -> bool:
    """Whether the sample is limited by speaker or by silence."""
    return units.sample_by_speaker or units.sample_silence < 1


def _provenance(encoder: Encoder, policy: dict[str, Any], units: Units, seen: Drawing) -> dict[str, Any]:
    counted = {
        "frames": seen.frames,
        "utterances": seen.utterances,
        "utterances_unreadable": seen.unreadable,
        "speakers": len(seen.speakers),
    }
    if _limited(units):
        each = sorted(seen.speakers.values())
        counted["frames_per_speaker"] = [each[0], each[len(each) // 2], each[-1]]  # minimum, median, maximum
        if units.sample_silence < 1:
            counted["silence_share"] = round(seen.silent / max(seen.frames, 1), 4)
    return {**encoder.provenance, **policy, **counted}


def draw_sample(
    encoder: Encoder,
    cuts: Sequence[Path],
    alignment: Sequence[Path],
    units: Units,
    seed: int,
    normaliser: Normaliser,
    sink: Callable[[np.ndarray], None],
) -> dict[str, Any]:
    """Give `sink` the frames of the sample, (n, dim) float32, as `normaliser` makes them. Return the provenance."""
    quotas, policy = plan_sample(cuts, alignment, units, seed)
    seen = encode_quotas(encoder, quotas, units, seed, normaliser, sink)
    return {**_provenance(encoder, policy, units, seen), **normaliser.provenance}


def write_sample(
    cuts: list[Path],
    alignment: list[Path],
    out: Path,
    units: Units,
    seed: int = 0,
    speakers: Sequence[Path] = (),
) -> None:
    """Draw the frames that k-means is trained on: `features` (frames, dim) float32, under units.normalisation.

    With units.segments they are means of segments, and a row of `features` is a segment.

    Raise UserError if the train split has no aligned and readable utterance.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard
        alignment: alignment/{shard}.parquet of every shard, in the same order
        out: units/sample.safetensors to write
        seed: seed of the drawing
        speakers: units/speakers.safetensors, needed for normalisation by speaker
    """
    encoder, normaliser = open_encoder(units), Normaliser.named(units.normalisation, speakers)
    store = Store(out, int(encoder.provenance["dim"]), units.sample_gigabytes)
    store.write(draw_sample(encoder, cuts, alignment, units, seed, normaliser, store.add))
