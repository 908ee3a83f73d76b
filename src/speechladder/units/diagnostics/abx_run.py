"""ABX of a run: the speech on which it is measured, and the figures of features and of units."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.cuts import aligned_cuts, phones_of
from speechladder.constants import RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.corpora.cuts import Cut
from speechladder.corpora.draw import Draw
from speechladder.io.audio import AudioError, frame_count
from speechladder.io.files import write_json
from speechladder.io.hashing import stable_hash
from speechladder.settings import Units
from speechladder.units.diagnostics import abx
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.normalise import Normaliser

SPEAKERS = 8  # each has the same part of the minutes


@dataclass(frozen=True)
class Speech:
    """Utterances of a few speakers, and their triphones in groups."""

    cuts: list[Cut]
    groups: list[list[abx.Token]]

    @property
    def counts(self) -> dict[str, Any]:
        """Figures that describe the speech, for units/quality.json."""
        return {
            "speakers": len({cut.speaker for cut in self.cuts}),
            "minutes": round(sum(cut.duration for cut in self.cuts) / 60, 2),
            "contexts": len(self.groups),
            "triphones": sum(map(len, self.groups)),
        }


def _draw(cuts: list[Path], alignment: list[Path], minutes: float, seed: int) -> list[tuple[int, Cut]]:
    """(index of the shard, cut) of aligned utterances of the first speakers by hash.

    Each speaker's utterances are drawn by hash too, up to the speaker's part of the minutes. Only the ids of one shard
    and the cuts of those speakers are in memory.
    """
    held: dict[str, list[tuple[int, Cut]]] = {}
    for shard, cut in aligned_cuts(cuts, alignment):
        held.setdefault(cut.speaker, []).append((shard, cut))
        if len(held) > SPEAKERS:  # the first speakers of all are always among the first so far
            del held[max(held, key=lambda speaker: stable_hash("abx", seed, speaker))]
    out = []
    for speaker in sorted(held):
        drawn: Draw[tuple[int, Cut]] = Draw(60 * minutes / len(held), "abx", seed)
        for shard, cut in held[speaker]:
            drawn.add(cut.id, cut.duration, (shard, cut))
        out += drawn.items()
    return out


def draw_speech(cuts: list[Path], alignment: list[Path], minutes: float, seed: int) -> Speech:
    """Draw aligned utterances of every split, of about `minutes` together."""
    found = _draw(cuts, alignment, minutes, seed)
    drawn = [cut for _, cut in found]
    phones = phones_of(alignment, found)
    tokens = [
        token
        for at, cut in enumerate(drawn)
        for token in abx.tokens_of(at, phones[cut.id], frame_count(round(cut.duration * SAMPLE_RATE)), cut.speaker)
    ]
    return Speech(drawn, abx.choose_groups(tokens, seed))


def encode_speech(encoder: Encoder, speech: Speech) -> dict[int, np.ndarray]:
    """Features (frames, dim) of the readable utterances, by their index."""
    samples: dict[int, np.ndarray] = {}
    for at, cut in enumerate(speech.cuts):
        try:
            found = cut.samples()
        except AudioError:
            continue
        if len(found) >= RECEPTIVE_FIELD:
            samples[at] = found
    return dict(zip(samples, encoder.encode(list(samples.values())), strict=True))


def _figures(speech: Speech, frames: dict[int, np.ndarray], cost: abx.Cost, dedup: bool = False) -> dict[str, Any]:
    """ABX of `frames` of utterances by their index. `dedup`: count each run of equal frames once."""

    def pieces(token: abx.Token) -> np.ndarray:
        found = frames[token.utterance][token.first : token.last]
        return found[np.flatnonzero(np.diff(found, prepend=-1))] if dedup else found

    def whole(token: abx.Token) -> bool:  # an utterance may be missing, or be one frame shorter than its cut says
        return token.utterance in frames and token.last <= len(frames[token.utterance])

    return abx.errors([[token for token in group if whole(token)] for group in speech.groups], pieces, cost)


def _encoder_abx(encoder: Encoder, normaliser: Normaliser, speech: Speech) -> dict[str, Any]:
    """ABX of an encoder's features, normalised as for the units."""
    found = encode_speech(encoder, speech)
    return features_abx(speech, {at: normaliser.apply(values, speech.cuts[at].speaker) for at, values in found.items()})


def write_features_abx(
    cuts: list[Path], alignment: list[Path], out: Path, units: Units, seed: int = 0, speakers: Sequence[Path] = ()
) -> None:
    """Measure the phone discriminability (ABX) of the features on units.abx_minutes of speech.

    The features are normalised by units.normalisation.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard
        alignment: alignment/{shard}.parquet of every shard, in the same order
        out: units/abx.json to write
        seed: seed of the drawing
        speakers: units/speakers.safetensors, needed for normalisation by speaker
    """
    speech = draw_speech(cuts, alignment, units.abx_minutes, seed)
    found = _encoder_abx(open_encoder(units), Normaliser.named(units.normalisation, speakers), speech)
    write_json(out, {"features": found})


def features_abx(speech: Speech, features: dict[int, np.ndarray]) -> dict[str, Any]:
    """ABX of features (frames, dim) of utterances by their index."""
    return _figures(speech, features, abx.angles)


def units_abx(
    speech: Speech, units: dict[int, np.ndarray], centroids: np.ndarray | None, dedup: bool = False
) -> dict[str, Any]:
    """ABX of units (frames,) of utterances by their index: as symbols, and by the angle between their centroids.

    `dedup`: count each run of a unit once.
    """
    wide = {at: values.astype(np.int64) for at, values in units.items()}
    out = {"symbols": _figures(speech, wide, abx.same_or_not, dedup)}
    if centroids is not None:
        out["centroids"] = _figures(speech, wide, abx.table_cost(abx.angles(centroids)), dedup)
    return out
