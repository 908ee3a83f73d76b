"""Mean durations of the phones in the training speech, and the placement of phones that no aligner finds by them.

Between the silent edges of the recording, L seconds apart, phone i of n lasts

    t_i = max(d_i * f, SHORTEST),  with the factor f for which the t_i add up to L,

where d_i is the mean duration of that phone (without regard to stress) in the train split, or the mean of all phones if
the train split does not have this phone. There are no pauses between the edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.alignment.base import SHORTEST, AlignmentError
from speechladder.alignment.phone_statistics import PhoneStatistics
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.draw import hash_order
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.io.columns import SpanColumn
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.spans import Span
from speechladder.io.tables import ALIGNMENT, read_table

MOST = 20_000  # utterances over which the means are taken: two million phones
FRAME = SAMPLE_RATE // 100  # samples of a frame whose loudness is measured
SILENT = 1e-3  # root mean square, -60 dB of full scale: a recording below it holds no speech
QUIET = 10 ** (-40 / 20)  # share of the loudest frame: frames below it at the edges are before or after the speech


@dataclass(frozen=True)
class Durations:
    """Mean seconds of each phone without stress and of all phones; `stress`: whether the training phones have it."""

    phones: dict[str, float]
    mean: float
    stress: bool = True

    @classmethod
    def load(cls, path: str | Path) -> "Durations":
        """Read alignment/durations.json; raises UserError with file and field if one is missing or malformed."""
        found = read_json(path)
        try:
            means = {str(phone): float(row["seconds"]) for phone, row in found["phones"].items()}
            mean, stress = float(found["mean"]), bool(found["stress"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: field {error} is missing or malformed; delete it and run again") from None
        return cls(means, mean, stress)

    def spread(self, words: Sequence[tuple[str, Sequence[str]]], samples: np.ndarray) -> tuple[list[Span], list[Span]]:
        """Place words and phones on a recording by the formula above.

        words: each with its ARPAbet phones, whose stress is kept. samples: (n,) float32 at 16 kHz. Returns (words,
        phones with SIL); the phones are contiguous from 0 to n / 16000. Raises AlignmentError if the recording is
        silent or shorter than the phones need.
        """
        labels = [phone for _, phones in words for phone in phones]
        if not labels or not all(phones for _, phones in words):
            raise AlignmentError("no phones")
        begin, end = speech_edges(samples)
        if end - begin < len(labels) * SHORTEST:
            raise AlignmentError("too fast: fewer frames than the phones need")
        means = np.array([self.phones.get(strip_stress(label), self.mean) for label in labels])
        ends = begin + np.cumsum(_scaled(means, end - begin))
        edges = [begin, *(round(float(e), 6) for e in ends[:-1]), end]
        phones = [Span(label, *times) for label, times in zip(labels, pairwise(edges))]
        at, spans = 0, []
        for word, own in words:
            spans.append(Span(word, phones[at].start, phones[at + len(own) - 1].end))
            at += len(own)
        seconds = len(samples) / SAMPLE_RATE
        before = [Span(SIL, 0.0, begin)] if begin > 0 else []
        after = [Span(SIL, end, seconds)] if end < seconds else []
        return spans, [*before, *phones, *after]


def _scaled(means: np.ndarray, total: float) -> np.ndarray:
    """(n,) durations in proportion to `means` that add up to `total`, none below SHORTEST."""
    held = np.zeros(len(means), bool)
    while True:
        left = total - held.sum() * SHORTEST
        out = np.where(held, SHORTEST, means * (left / max(means[~held].sum(), 1e-9)))
        short = ~held & (out < SHORTEST)
        if not short.any():
            return out
        held |= short


def speech_edges(samples: np.ndarray) -> tuple[float, float]:
    """The begin and the end of speech in seconds: the first and the last 10 ms within 40 dB of the loudest 10 ms.

    samples: (n,) float32 at 16 kHz. Raises AlignmentError if no 10 ms reach -60 dB of full scale.
    """
    count = len(samples) // FRAME
    frames = samples[: count * FRAME].astype(np.float64).reshape(count, FRAME)
    loudness = np.sqrt(np.square(frames).mean(axis=1))
    loudest = loudness.max(initial=0.0)
    if loudest < SILENT:
        raise AlignmentError("silent")
    spoken = np.flatnonzero(loudness >= max(QUIET * loudest, 1e-9))
    seconds = len(samples) / SAMPLE_RATE
    end = (spoken[-1] + 1) * FRAME / SAMPLE_RATE
    return float(spoken[0] * FRAME / SAMPLE_RATE), seconds if spoken[-1] + 1 == count else float(end)


def measure_durations(cuts: Sequence[Path], alignments: Sequence[Path], out: Path, most: int = MOST) -> None:
    """Measure the mean duration and the count of each phone over the train split.

    The shards are read in the order of a hash until there are enough utterances, so that the largest corpus takes a
    minute. Raises UserError if no utterance of the train split is aligned.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz
        alignments: alignment/{shard}.parquet, in the same order
        out: alignment/durations.json to write
        most: utterances to read at most
    """
    if len(cuts) != len(alignments):
        raise UserError(f"{len(cuts)} files of cuts and {len(alignments)} alignments; give those of the same shards")
    found, seen, stress = PhoneStatistics(), 0, False
    for _, paths in hash_order(enumerate(zip(cuts, alignments)), "durations", name=lambda shard: shard[0]):
        train = pa.array([cut.id for cut in read_cuts(paths[0]) if cut.split == "train"], pa.string())
        table = read_table(paths[1], ALIGNMENT, ["id", "phones"])
        table = table.filter(pc.is_in(table["id"], value_set=train)).slice(0, most - seen)
        seen += table.num_rows
        spans = SpanColumn(table["phones"])
        found.add(spans)
        stress |= any(name != strip_stress(name) for name in spans.names)
        if seen >= most:
            break
    count, seconds = found.counts, found.seconds
    phones = sorted(label for label in count if label != SIL)
    if not phones:
        raise UserError(
            f"{', '.join(map(str, alignments[:3]))}: no aligned utterance of the train split; the reasons are in "
            "alignment/rejected.*.jsonl"
        )
    total = sum(count[phone] for phone in phones)
    means = {phone: {"seconds": round(seconds[phone] / count[phone], 6), "count": count[phone]} for phone in phones}
    mean = round(sum(seconds[phone] for phone in phones) / total, 6)
    write_json(out, {"utterances": seen, "mean": mean, "stress": stress, "phones": means})
