"""Segments of speech as units: each segment's features are averaged, and the nearest centroid of the mean is its unit.

The segments are phones, syllables or words of the alignment (`segment_times`), or they are found in the features
without labels (`find_segments`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import torch

from speechladder.alignment.frames import at_frames
from speechladder.corpora.phones import SIL
from speechladder.corpora.syllables import syllable_starts
from speechladder.io.columns import SpanColumn
from speechladder.io.spans import Span
from speechladder.settings import Units
from speechladder.units.decode import Job
from speechladder.units.stream import Quantiser

LONGEST = 50  # frames of a segment that is found in the features; a longer pause is several segments

Kind = Literal["phone", "syllable", "word"]
Times = Callable[[str], np.ndarray | None]  # id of an utterance or item -> start times of its segments


def segment_times(words: Sequence[Span], phones: Sequence[Span], kind: Kind) -> np.ndarray:
    """(segments,) float64: the start of each segment of an alignment, in seconds.

    A pause is a segment, whatever the kind. `phones` are contiguous and in order. A phone belongs to the first word
    that has not ended at its centre.
    """
    starts: list[float] = []
    ends = np.array([word.end for word in words[:-1]])
    owners = np.searchsorted(ends, [(phone.start + phone.end) / 2 for phone in phones], side="left")
    numbered = ((-1 if phone.label == SIL else int(word), phone) for word, phone in zip(owners, phones, strict=True))
    for word, group in groupby(numbered, key=lambda pair: pair[0]):
        own = [phone for _, phone in group]
        if kind == "word" or word < 0:
            firsts = [0]
        else:
            firsts = range(len(own)) if kind == "phone" else syllable_starts([phone.label for phone in own])
        starts += [own[first].start for first in firsts]
    return np.array(starts)


def aligned_times(table: pa.Table, kind: str, key: str = "id") -> Times:
    """The start times of the segments of each row of a table with the columns `key`, `words` and `phones`."""
    rows = {name: row for row, name in enumerate(table[key].to_pylist())}
    words, phones = SpanColumn(table["words"]), SpanColumn(table["phones"])
    return lambda name: segment_times(words[rows[name]], phones[rows[name]], kind)


def find_segments(features: torch.Tensor, penalty: float) -> np.ndarray:
    """(frames,) bool: where segments begin, found in features (frames, dim) without labels.

    The segmentation has the lowest sum of squared distances of frames to the mean of their segment, plus a cost for
    each segment, among all with segments of at most LONGEST frames. Dynamic programming finds it (B. Jackson et al., An
    algorithm for optimal partitioning of data on an interval, 2005). H. Kamper, arXiv 2202.11929, segments speech in
    the same way, with distances to a codebook and a cost that falls with duration. The cost of a segment here is
    `penalty` times the mean squared distance of the utterance's frames to their mean, so that it does not depend on the
    scale of the features.
    """
    frames = len(features)
    starts = np.zeros(frames, bool)
    if not frames:
        return starts
    costs, variance = _segment_costs(features)
    best, last = np.zeros(frames + 1), np.zeros(frames + 1, np.int64)
    for end in range(1, frames + 1):
        longest = min(LONGEST, end)
        totals = costs[end, :longest] + best[end - longest : end][::-1]
        last[end] = shortest = int(totals.argmin()) + 1
        best[end] = totals[shortest - 1] + penalty * variance
    end = frames
    while end:
        end -= int(last[end])
        starts[end] = True
    return starts


def _segment_costs(features: torch.Tensor) -> tuple[np.ndarray, float]:
    """(costs, variance): the sum of squared distances to their mean, of the frames of a segment and of one frame.

    costs[end, n - 1] is that of the segment of n frames before `end`, (frames + 1, LONGEST) float64.
    """
    wide = features.double()
    wide = wide - wide.mean(0)
    sums, squares = (torch.cat([x.new_zeros(1, x.shape[1]), x.cumsum(0)]) for x in (wide, (wide**2).sum(1)[:, None]))
    costs = wide.new_zeros(len(wide) + 1, LONGEST)
    for n in range(1, min(LONGEST, len(wide)) + 1):
        within = (squares[n:] - squares[:-n])[:, 0] - ((sums[n:] - sums[:-n]) ** 2).sum(1) / n
        costs[n:, n - 1] = within.clamp_min(0)
    return costs.cpu().numpy(), float(squares[-1, 0] / len(wide))


def starts_of(features: torch.Tensor, units: Units, times: np.ndarray | None) -> np.ndarray:
    """(frames,) bool: where the segments of an utterance with these features (frames, dim) begin.

    `times` are the start times of the alignment's segments, which `units.segments: auto` does not need. A segment that
    holds no centre of a frame is left out.
    """
    if times is None:
        return find_segments(features, units.segment_penalty)
    return np.diff(at_frames(times, len(features)), prepend=-1) > 0


def pool(features: torch.Tensor, starts: np.ndarray) -> torch.Tensor:
    """(segments, dim) float32: the mean of the features (frames, dim) of each segment; `starts` (frames,) bool."""
    at = torch.from_numpy(np.cumsum(starts) - 1).to(features.device)
    sums = features.new_zeros(int(starts.sum()), features.shape[1], dtype=torch.float64)
    sums.index_add_(0, at, features.double())
    return (sums / at.bincount(minlength=len(sums))[:, None]).float()


def needs_alignment(units: Units) -> bool:
    """Whether the segments are those of the alignment."""
    return units.segments in get_args(Kind)


def made_of(units: Units) -> dict[str, Any]:
    """What the provenance of a sample says about segments; nothing if the units are frames."""
    fields = {"frame": (), "auto": ("segments", "segment_penalty")}.get(units.segments, ("segments",))
    return {name: getattr(units, name) for name in fields}


@dataclass(frozen=True)
class SegmentQuantiser:
    """Map features to the units of segments; `quantiser` normalises the features and has the centroids."""

    quantiser: Quantiser
    units: Units
    times: Times

    def __call__(self, features: list[torch.Tensor], jobs: list[Job]) -> torch.Tensor:
        """(2, frames) int32: the unit of the segment of each frame, and 1 where a segment begins."""
        whole, starts = [], []
        for values, job in zip(features, jobs, strict=True):
            normalised = self.quantiser.normaliser.apply(values, job.speaker)
            whole.append(normalised)
            starts.append(starts_of(normalised, self.units, self.times(job.id)))
        first = np.concatenate(starts)
        found = self.quantiser.nearest(pool(torch.cat(whole), first))
        begins = torch.from_numpy(first).to(found.device)
        return torch.stack([found[begins.cumsum(0) - 1], begins.int()])


def collapse(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(units, durations), both (segments,) uint16, from the (2, frames) uint16 of a SegmentQuantiser."""
    units, begins = found
    first = np.flatnonzero(begins)
    return units[first], np.diff(first, append=len(units)).astype(np.uint16)
