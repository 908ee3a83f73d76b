"""results/bit_budget.csv: the validation loss of each rung in bits per second of speech, split along a chain of rungs.

The loss of a model is an upper bound on the entropy of what its rung writes down. The rungs of the chain write down
more and more: words, their phones, the time of the phones, units in one flat voice, units in the voices of the run. A
part is the difference of two such bounds, on the same validation utterances. It is no entropy itself, and can be
negative. What it cannot tell stands in docs/artefacts.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from speechladder.analysis.causes import RUN, Row, phones_of
from speechladder.analysis.csv_tables import fixed, write_csv
from speechladder.analysis.table import Scores, model_facts
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.settings.causes import ALL, FLAT, PHONES, SPEECH, TEXTS

PARTS = ("words", "phones_given_words", "timing", "residue", "voice_and_channel")
UNSPLIT = "unsplit"
COLUMNS = ("kind", "name", "seeds", "bits_per_second", "bits_min", "bits_max", *PARTS, UNSPLIT)
# The parts of a rung. Another rung leaves out something that a link of the chain has, such as durations.
CHAINS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(TEXTS, PARTS[:1]),
    **dict.fromkeys(("phone-raw", "phone-bpe"), PARTS[:2]),
    **dict.fromkeys(("phone-repeat-even", PHONES), PARTS[:3]),
    **dict.fromkeys(("phone-confused", "unit-vote"), PARTS[:4]),
    "unit-phone": (*PARTS[:2], "residue"),
    SPEECH: PARTS,
}
_OTHER = (*PARTS[:2], UNSPLIT)


class Loss(NamedTuple):
    """The validation loss of the models of a row in bits per second, a value for each seed."""

    kind: str
    name: str
    rung: str
    bits: Sequence[float]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(self.bits) / len(self.bits)


def write_bit_budget(
    results: Path, links: Sequence[str], rows: Sequence[Row], scores: Scores, seeds: Sequence[int], out: Path
) -> None:
    """Write `out`: the loss of the rungs `links` of the run and of the rows of causes.csv, with its parts.

    `links` are those of settings.causes.LINKS that the run has, with models of `seeds`. The parts of a row add up to
    its loss. A part that no model bounds is empty, and what is left stands in `unsplit`.
    """
    names = {row.name for row in rows}
    losses = [_loss(Row("rung", r, "", "", results, r), seeds) for r in links if r not in names]
    losses += [_loss(row, scores[row.name, next(iter(TASKS))].seeds) for row in rows if row.name != RUN]
    means = {loss.name: loss.mean for loss in losses}
    table = []
    for loss in losses:
        cells = {"kind": loss.kind, "name": loss.name, "seeds": str(len(loss.bits))}
        cells |= dict(zip(COLUMNS[3:6], (fixed(bits, 3) for bits in (loss.mean, min(loss.bits), max(loss.bits)))))
        parts = split(loss, means)
        table.append(cells | {part: fixed(parts.get(part), 3) for part in (*PARTS, UNSPLIT)})
    write_csv(out, COLUMNS, table)


def _loss(row: Row, seeds: Sequence[int]) -> Loss:
    bits = [model_facts(row.results, row.rung, [seed])["valid_bits_per_second"] for seed in seeds]
    return Loss(row.kind, row.name, row.rung, bits)


def split(loss: Loss, means: Mapping[str, float]) -> dict[str, float]:
    """The parts of a row's loss, from the mean losses of all rows by name. They add up to its mean.

    The text rung with the lower loss bounds the words. Timing is measured in the row's own speech where that has a
    phone-repeat, otherwise in the flat voice. The residue of discretisation is what units in one flat voice cost more
    than the phones of these frames.
    """
    own = PHONES if loss.kind == "rung" else phones_of(ALL if loss.name.startswith(ALL) else FLAT)
    flat, timed = (means.get(name) for name in (phones_of(FLAT), own))
    known = flat is not None and timed is not None and FLAT in means
    upto = {
        "words": min((means[rung] for rung in TEXTS if rung in means), default=None),
        "phones_given_words": means.get("phone-raw"),
        "timing": timed,
        "residue": timed + means[FLAT] - flat if known else None,
    }
    chain = PARTS[:4] if loss.name == FLAT else CHAINS.get(loss.rung, _OTHER)
    parts, before = {}, 0.0
    for part in chain:
        bound = loss.mean if part == chain[-1] else upto[part]
        if bound is None:
            return parts | {UNSPLIT: loss.mean - before}
        parts[part], before = bound - before, bound
    return parts
