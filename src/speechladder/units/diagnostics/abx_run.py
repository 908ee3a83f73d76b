"""ABX of a run: which speech it is measured on, and the figures of features and of units for units/quality.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.audio import AudioError, frame_count
from speechladder.io.files import write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import Units
from speechladder.units.diagnostics import abx
from speechladder.units.encoder import open_encoder
from speechladder.units.normalise import Normaliser

SPEAKERS = 8  # who speak, a like part of the minutes each


@dataclass(frozen=True)
class Speech:
    """Utterances of a few speakers with their phones, and their triphones in groups."""

    cuts: list[Cut]
    groups: list[list[abx.Token]]

    @property
    def counts(self) -> dict[str, Any]:
        """For the record."""
        return {
            "speakers": len({cut.speaker for cut in self.cuts}),
            "minutes": round(sum(cut.duration for cut in self.cuts) / 60, 2),
            "contexts": len(self.groups),
            "triphones": sum(map(len, self.groups)),
        }


def _drawn(cuts: list[Path], alignments: list[Path], minutes: float, seed: int) -> list[tuple[int, Cut]]:
    """Aligned utterances of the speakers first by hash, each speaker's by hash, up to its part of the minutes; with the
    place of their shard. No more is held than one shard's ids and those speakers' cuts."""
    held: dict[str, list[tuple[int, Cut]]] = {}
    for shard, (path, alignment) in enumerate(zip(cuts, alignments, strict=True)):
        known = set(read_table(alignment, ALIGNMENT, columns=["id"])["id"].to_pylist())
        for cut in read_cuts(path):
            if cut.id not in known:
                continue
            held.setdefault(cut.speaker, []).append((shard, cut))
            if len(held) > SPEAKERS:  # who is among the first of all is among the first so far: nobody is missed
                del held[max(held, key=lambda speaker: stable_hash("abx", seed, speaker))]
    out = []
    for speaker in sorted(held):
        ordered = sorted(held[speaker], key=lambda found: stable_hash("abx", seed, found[1].id))
        ends = np.cumsum([cut.duration for _, cut in ordered])
        out += ordered[: int(np.searchsorted(ends, 60 * minutes / len(held))) + 1]
    return out


def speech(cuts: list[Path], alignments: list[Path], minutes: float, seed: int) -> Speech:
    """Draw utterances of every split that are aligned; `minutes` together at most, and little more."""
    found = _drawn(cuts, alignments, minutes, seed)
    drawn = [cut for _, cut in found]
    phones: dict[str, list[Span]] = {}
    for shard in sorted({shard for shard, _ in found}):
        wanted = {cut.id for place, cut in found if place == shard}
        table = read_table(alignments[shard], ALIGNMENT, columns=["id", "phones"])
        for row, name in enumerate(table["id"].to_pylist()):
            if name in wanted:
                phones[name] = from_rows(table["phones"][row].as_py())
    tokens = [
        token
        for at, cut in enumerate(drawn)
        for token in abx.tokens_of(at, phones[cut.id], frame_count(round(cut.duration * SAMPLE_RATE)), cut.speaker)
    ]
    return Speech(drawn, abx.choose(tokens, seed))


def encoded(encoder: Any, given: Speech) -> dict[int, np.ndarray]:
    """Features (frames, dim) of the utterances that can be read, by their place."""
    samples: dict[int, np.ndarray] = {}
    for at, cut in enumerate(given.cuts):
        try:
            found = cut.samples()
        except AudioError:
            continue
        if len(found) >= RECEPTIVE_FIELD:
            samples[at] = found
    return dict(zip(samples, encoder.encode(list(samples.values())), strict=True))


def _figures(given: Speech, frames: dict[int, np.ndarray], cost: abx.Cost, dedup: bool = False) -> dict[str, Any]:
    def pieces(token: abx.Token) -> np.ndarray:
        found = frames[token.utterance][token.first : token.last]
        return found[np.flatnonzero(np.diff(found, prepend=-1))] if dedup else found

    def whole(token: abx.Token) -> bool:  # an utterance may be missing, or a frame shorter than its cut says
        return token.utterance in frames and token.last <= len(frames[token.utterance])

    return abx.errors([[token for token in group if whole(token)] for group in given.groups], pieces, cost)


def features_of(encoder: Any, normaliser: Normaliser, given: Speech) -> dict[str, Any]:
    """ABX of an encoder's features, normalised as the units will be."""
    found = encoded(encoder, given)
    return of_features(given, {at: normaliser.apply(values, given.cuts[at].speaker) for at, values in found.items()})


def write_features(
    cuts: list[Path], alignments: list[Path], out: Path, units: Units, seed: int, speakers: Sequence[Path] = ()
) -> None:
    """Write units/abx.json: ABX of the features under `units.normalisation`, on `units.abx_minutes` of speech."""
    given = speech(cuts, alignments, units.abx_minutes, seed)
    found = features_of(open_encoder(units), Normaliser.of(units.normalisation, speakers), given)
    write_json(out, {"features": found})


def of_features(given: Speech, features: dict[int, np.ndarray]) -> dict[str, Any]:
    """ABX of features (frames, dim) of utterances by their place."""
    return _figures(given, features, abx.angles)


def of_units(
    given: Speech, units: dict[int, np.ndarray], centroids: np.ndarray | None, dedup: bool = False
) -> dict[str, Any]:
    """ABX of units (frames,) of utterances by their place: as symbols, and by the angle of their centroids.

    `dedup`: each run of a unit counts once.
    """
    wide = {at: values.astype(np.int64) for at, values in units.items()}
    out = {"symbols": _figures(given, wide, abx.same_or_not, dedup)}
    if centroids is not None:
        out["centroids"] = _figures(given, wide, abx.looked_up(abx.angles(centroids)), dedup)
    return out
