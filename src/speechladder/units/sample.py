"""The frames that k-means is trained on: drawn over the train split of all shards by a stated policy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.frames import frame_labels
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.phones import SIL
from speechladder.io.audio import AudioError, frame_count
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import Units
from speechladder.units.encoder import MIN_SAMPLES, Encoder, open_encoder
from speechladder.units.kmeans.reservoir import SHARE, SPARE, Candidate, Reservoir, Turn, pick
from speechladder.units.kmeans.store import Store
from speechladder.units.normalise import Normaliser


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
        drawn = drawn[: int(np.searchsorted(held, frames * SPARE)) + 1]
    return drawn, total


def reservoir(cuts: list[Path], alignments: list[Path], units: Units, seed: int) -> tuple[Reservoir, int]:
    """(the reservoir after all shards, frames of the whole train split), by the policy that `units` states."""
    kept, total = Reservoir(units.sample_frames, units.sample_by_speaker, units.sample_silence), 0
    for cuts_path, alignment_path in zip(cuts, alignments, strict=True):
        table = read_table(alignment_path, ALIGNMENT, columns=["id", "phones"])
        at = {name: row for row, name in enumerate(table["id"].to_pylist())}
        for cut in read_cuts(cuts_path):
            if cut.split != "train" or cut.id not in at:
                continue
            count = frame_count(round(cut.duration * SAMPLE_RATE))
            silent = None
            if units.sample_silence < 1:
                labels = frame_labels(from_rows(table["phones"][at[cut.id]].as_py()), count)
                silent = np.array([label == SIL for label in labels], bool)
            kept.add(Candidate(stable_hash("units sample", seed, cut.id), cut, count, silent))
            total += count
        kept.trim()
    return kept, total


@dataclass
class Drawing:
    """What was drawn so far, for the provenance."""

    frames: int = 0
    utterances: int = 0
    unreadable: int = 0
    silent: int = 0
    speakers: dict[str, int] = field(default_factory=dict)


def _encoded(encoder: Encoder, queue: list[Candidate], seen: Drawing) -> Iterator[tuple[Candidate, np.ndarray]]:
    """Utterances with their features, in order; where batches pay, some are encoded ahead of what is asked for."""
    window: list[tuple[Candidate, np.ndarray]] = []
    for chosen in queue:
        try:
            samples = chosen.cut.samples()
        except AudioError:
            samples = np.empty(0)
        if len(samples) < MIN_SAMPLES:
            seen.unreadable += 1  # listed with its reason when the units of its shard are extracted
            continue
        window.append((chosen, samples))
        if sum(len(s) for _, s in window) >= encoder.ahead * SAMPLE_RATE:
            yield from zip((c for c, _ in window), encoder.encode([s for _, s in window]), strict=True)
            window = []
    if window:
        yield from zip((c for c, _ in window), encoder.encode([s for _, s in window]), strict=True)


def take(
    encoder: Encoder,
    turns: Sequence[Turn],
    silence: float,
    seed: int,
    sinks: Sequence[tuple[Normaliser, Callable[[np.ndarray], None]]],
) -> Drawing:
    """Encode the turns' utterances until each turn has its quota; every sink gets the same frames, normalised its way.

    Raises UserError when none of the utterances is readable.
    """
    seen = Drawing()
    with progress("k-means sample", sum(turn.quota for turn in turns), "frames/s") as meter:
        for turn in turns:
            have = 0
            for chosen, features in _encoded(encoder, turn.candidates, seen):
                keep = pick(chosen, len(features), turn.share, silence, seed)[: turn.quota - have]
                for normaliser, sink in sinks:
                    sink(normaliser.apply(features, chosen.cut.speaker)[keep])
                have += len(keep)
                seen.frames += len(keep)
                seen.utterances += 1
                if chosen.silent is not None:
                    seen.silent += int(chosen.silent[keep[keep < len(chosen.silent)]].sum())
                seen.speakers[chosen.cut.speaker] = seen.speakers.get(chosen.cut.speaker, 0) + len(keep)
                meter.advance(len(keep))
                if have >= turn.quota:
                    break
    if not seen.utterances:
        queue = [chosen for turn in turns for chosen in turn.candidates]
        raise UserError(f"none of the {len(queue)} utterances drawn for k-means is readable, first {queue[0].cut.path}")
    return seen


def plan(cuts: list[Path], alignments: list[Path], units: Units, seed: int) -> tuple[list[Turn], dict[str, Any]]:
    """(what to encode, and the policy for the provenance). Raises UserError when the train split is empty.

    share: train utterances in the order of a seeded hash of their id; of each the same share of its frames (a half;
    more only where the split has less than twice `units.sample_frames`), drawn without replacement; until there are as
    many. So each frame of the split is as likely as any other, and as many speakers are covered as the split offers.
    reservoir: the same within each speaker, or over all, with silence capped (kmeans.reservoir).
    """
    if units.sampling == "reservoir":
        kept, total = reservoir(cuts, alignments, units, seed)
        turns = kept.turns()
        whose = "the same number of frames of every speaker" if units.sample_by_speaker else "all speakers as they come"
        words = f"reservoir over all shards, train utterances by hash of seed and id, {whose}"
        said = {"policy": words, "silence_cap": units.sample_silence, "frames_available": kept.available}
    else:
        queue, total = candidates(cuts, alignments, units.sample_frames, seed)
        share = min(1.0, max(SHARE, units.sample_frames / max(total, 1)))
        turns = [Turn(queue, units.sample_frames, share)]
        said = {"policy": f"{share:.6g} of each utterance's frames, train utterances by hash of seed and id"}
    if not total or not sum(turn.quota for turn in turns):
        raise UserError(
            f"no aligned utterance of the train split in {', '.join(map(str, cuts[:3]))}: k-means has nothing to learn "
            "from; see the rejected lists of corpus and alignment"
        )
    return turns, {**said, "seed": seed, "frames_wanted": units.sample_frames, "frames_in_split": total}


def _said(encoder: Encoder, policy: dict[str, Any], units: Units, seen: Drawing) -> dict[str, Any]:
    counted = {
        "frames": seen.frames,
        "utterances": seen.utterances,
        "utterances_unreadable": seen.unreadable,
        "speakers": len(seen.speakers),
    }
    if units.sampling == "reservoir":
        each = sorted(seen.speakers.values())
        counted["frames_per_speaker"] = [each[0], each[len(each) // 2], each[-1]]  # least, median, most
        if units.sample_silence < 1:
            counted["silence_share"] = round(seen.silent / max(seen.frames, 1), 4)
    return {**encoder.provenance, **policy, **counted}


def draw(
    encoder: Encoder, cuts: list[Path], alignments: list[Path], frames: int, seed: int, **policy: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """(features (<= frames, dim) float32 in memory, provenance) as `write_sample` writes them; `policy` are fields of
    settings.Units."""
    units = Units(sample_frames=frames, clusters=2, **policy)
    turns, said = plan(cuts, alignments, units, seed)
    rows: list[np.ndarray] = []
    seen = take(encoder, turns, units.sample_silence, seed, [(Normaliser.none(), rows.append)])
    return np.concatenate(rows), _said(encoder, said, units, seen)


def write_sample(
    cuts: list[Path],
    alignments: list[Path],
    out: Path,
    units: Units,
    seed: int,
    speakers: Sequence[Path] = (),
    also: dict[str, Path] | None = None,
) -> None:
    """Write units/sample.safetensors: `features` (frames, dim) float32, under `units.normalisation`. Raises UserError.

    `speakers`: the statistics that normalisation by speaker needs. `also`: more files, by the name of their
    normalisation, with the same frames, encoded once.
    """
    encoder = open_encoder(units)
    wanted = {**(also or {}), units.normalisation: out}
    turns, policy = plan(cuts, alignments, units, seed)
    stores = {kind: Store(path, encoder.dim, units.sample_gigabytes) for kind, path in wanted.items()}
    normalisers = {kind: Normaliser.of(kind, speakers) for kind in wanted}
    sinks = [(normalisers[kind], stores[kind].add) for kind in wanted]
    seen = take(encoder, turns, units.sample_silence, seed, sinks)
    for kind, store in stores.items():
        store.write({**_said(encoder, policy, units, seen), **normalisers[kind].provenance})
