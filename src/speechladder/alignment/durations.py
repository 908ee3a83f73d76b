"""How long each phone lasts in the training speech, and phones laid over a recording by it where no aligner finds them.

Between the silent edges of the recording, L seconds apart, phone i of n lasts

    t_i = max(d_i * f, SHORTEST),  the factor f such that the t_i add up to L,

where d_i is the mean duration of that phone (stress aside) in the train split, and the mean of all phones for one that
the train split has not. There are no pauses within.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.alignment.pocketsphinx import SHORTEST, AlignmentError
from speechladder.alignment.quality import PhoneStatistics
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.io.columns import SpanColumn
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.spans import Span
from speechladder.io.tables import ALIGNMENT, read_table

MOST = 20_000  # utterances that the means are taken over: two million phones
FRAME = SAMPLE_RATE // 100  # samples whose loudness is looked at together
SILENT = 1e-3  # root mean square, -60 dB of full scale: below it nothing is said
QUIET = 10 ** (-40 / 20)  # of the loudest frame: below it, at the edges, speech has not begun or is over


@dataclass(frozen=True)
class Durations:
    """Mean seconds of each phone without stress, and of all of them; `stress`: whether the training phones have it."""

    phones: dict[str, float]
    mean: float
    stress: bool = True

    @classmethod
    def load(cls, path: str | Path) -> "Durations":
        """Read alignment/durations.json; raises UserError naming the file and the field."""
        found = read_json(path)
        try:
            means = {str(phone): float(row["seconds"]) for phone, row in found["phones"].items()}
            mean, stress = float(found["mean"]), bool(found["stress"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: field {error} is missing or malformed; delete it and run again") from None
        return cls(means, mean, stress)

    def spread(self, words: Sequence[tuple[str, Sequence[str]]], samples: np.ndarray) -> tuple[list[Span], list[Span]]:
        """Words and phones of a recording by the formula above.

        words: each with its ARPAbet phones, whose stress is kept. samples: (n,) float32 at 16 kHz. Returns (words,
        phones with SIL), the phones contiguous from 0 to n / 16000. Raises AlignmentError where nothing is said or
        there is less time than the phones need.
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
    """(n,) durations in the proportions of `means`, none below SHORTEST, that add up to `total`."""
    held = np.zeros(len(means), bool)
    while True:
        left = total - held.sum() * SHORTEST
        out = np.where(held, SHORTEST, means * (left / max(means[~held].sum(), 1e-9)))
        short = ~held & (out < SHORTEST)
        if not short.any():
            return out
        held |= short


def speech_edges(samples: np.ndarray) -> tuple[float, float]:
    """Where speech begins and ends, in seconds: the first and the last 10 ms within 40 dB of the loudest.

    Raises AlignmentError where no 10 ms reach -60 dB of full scale.
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


def measure(cuts: Sequence[str | Path], alignments: Sequence[str | Path], out: str | Path, most: int = MOST) -> None:
    """Write alignment/durations.json: mean seconds and count of each phone over the train split.

    `alignments` are the tables of `cuts`, shard by shard. At most `most` utterances are looked at, shards in an order
    drawn by hash, so that the largest corpus takes a minute. Raises UserError where no train utterance is aligned.
    """
    if len(cuts) != len(alignments):
        raise UserError(f"{len(cuts)} files of cuts and {len(alignments)} alignments; give those of the same shards")
    found, seen, stress = PhoneStatistics(), 0, False
    for _, paths in sorted(enumerate(zip(cuts, alignments)), key=lambda shard: stable_hash("durations", shard[0])):
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
        raise UserError(f"{', '.join(map(str, alignments[:3]))}: no aligned utterance of the train split")
    total = sum(count[phone] for phone in phones)
    means = {phone: {"seconds": round(seconds[phone] / count[phone], 6), "count": count[phone]} for phone in phones}
    mean = round(sum(seconds[phone] for phone in phones) / total, 6)
    write_json(out, {"utterances": seen, "mean": mean, "stress": stress, "phones": means})
