"""Choose the utterances and frames of a sample: the utterances with the lowest hashes of seed and id (bottom-k).

The cuts and alignments of the shards are read once, and nothing is encoded before the choice is made. For each speaker
the sample keeps the utterances with the lowest hashes that the speaker's quota may need. Quotas only fall while
speakers are added, so a dropped utterance is never needed later. The choice does not depend on how the corpus is
divided into shards.

- by speaker: every speaker's quota is the same number of frames. A speaker with fewer gives all, and the others give
  more.
- silence: of an utterance, the number of frames aligned as SIL is limited so that their share stays below the cap.
"""

from dataclasses import dataclass, field

import numpy as np

from speechladder.corpora.cuts import Cut

SHARE = 0.5  # of an utterance's frames; half of them costs twice the encoding and covers twice the utterances
SPARE = 1.2  # factor on what is needed, since some audio turns out to be unreadable


@dataclass(frozen=True)
class Candidate:
    """An utterance. `order` is its place in the drawing order, a hash of seed and id.

    `silent` (frames,) bool marks the frames that the alignment calls SIL; None if silence is not limited. If units are
    segments, `frames` counts segments, and `times` (segments,) has their starts in seconds, if they are aligned.
    """

    order: int
    cut: Cut
    frames: int
    silent: np.ndarray | None = None
    times: np.ndarray | None = None


@dataclass
class SpeakerQuota:
    """A speaker's utterances in drawing order, the frames wanted of them together, and the share of each."""

    candidates: list[Candidate]
    quota: int
    share: float


def allowed(silent: int, voiced: int, cap: float) -> int:
    """How many of `silent` frames may be added to `voiced` ones so that their share is at most `cap`."""
    return silent if cap >= 1 else min(silent, int(cap / (1 - cap) * voiced + 1e-9))


def quota_level(available: list[int], frames: int) -> float:
    """The largest quota of a speaker, such that speakers with `available` frames give `frames` together (or all)."""
    left = float(frames)
    for rank, count in enumerate(sorted(available)):
        if count * (len(available) - rank) >= left:
            return left / (len(available) - rank)
        left -= count
    return float(max(available, default=0))


@dataclass
class BottomKSample:
    """A choice of `frames` frames. `by_speaker`, and `silence` (the cap; 1 is no cap), are explained in the module."""

    frames: int
    by_speaker: bool = False
    silence: float = 1.0
    _kept: dict[str, list[tuple[int, Candidate]]] = field(default_factory=dict)
    _available: dict[str, int] = field(default_factory=dict)

    @property
    def available(self) -> int:
        """Frames of all utterances so far that may be taken."""
        return sum(self._available.values())

    def _usable(self, candidate: Candidate) -> int:
        silent = 0 if candidate.silent is None else int(candidate.silent.sum())
        voiced = candidate.frames - silent
        return voiced + allowed(silent, voiced, self.silence)

    def add(self, candidate: Candidate) -> None:
        """Add an utterance. `trim` drops those that cannot be needed any more."""
        speaker, usable = candidate.cut.speaker if self.by_speaker else "", self._usable(candidate)
        self._kept.setdefault(speaker, []).append((usable, candidate))
        self._available[speaker] = self._available.get(speaker, 0) + usable

    def _level(self) -> float:
        return quota_level(list(self._available.values()), self.frames)

    def trim(self) -> None:
        """Keep the first utterances of each speaker that the quota, which can only fall from now on, may need."""
        wanted = self._level() * SPARE
        for speaker, held in self._kept.items():
            held.sort(key=lambda row: (row[1].order, row[1].cut.id))
            ends = np.cumsum([usable for usable, _ in held]) * SHARE
            self._kept[speaker] = held[: int(np.searchsorted(ends, wanted)) + 1]

    def quotas(self) -> list[SpeakerQuota]:
        """The quotas of the speakers in the order of their names; without `by_speaker` a single one for all."""
        self.trim()
        out, most = [], self._level()
        for speaker in sorted(self._kept):
            quota = min(self._available[speaker], int(most + 1e-6))
            share = min(1.0, max(SHARE, quota / max(self._available[speaker], 1)))
            out.append(SpeakerQuota([candidate for _, candidate in self._kept[speaker]], quota, share))
        return out


def choose_frames(candidate: Candidate, frames: int, share: float, silence: float, seed: int) -> np.ndarray:
    """Ascending indices of the frames that are taken of an utterance whose audio has `frames` of them."""
    rng = np.random.default_rng([seed, candidate.order])
    drawn = rng.permutation(frames)
    if silence >= 1 or candidate.silent is None:
        return np.sort(drawn[: max(1, round(share * frames))])
    silent = np.zeros(frames, bool)
    known = candidate.silent[:frames]
    silent[: len(known)] = known
    voiced, quiet = drawn[~silent[drawn]], drawn[silent[drawn]]
    voiced = voiced[: round(share * len(voiced))]
    quiet = quiet[: allowed(round(share * len(quiet)), len(voiced), silence)]
    return np.sort(np.concatenate([voiced, quiet]))
