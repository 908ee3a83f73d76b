"""results/factors.csv: what each step of the ladder costs, pair by pair (the paper's factors, arXiv 2412.17048).

A step compares two rungs on the ids that both scored. Each bootstrap resample draws ids once for both rungs, and seeds
for each rung (analysis.accuracy), so the interval is that of a paired difference. If fewer than EDGE ids changed, the
bootstrap collapses, and the interval is widened by the exact intervals of the gained and of the lost share.

An id is a pair, or a crossed two of pairs (analysis.accuracy).

A step that starts at the floor, a rung whose interval in table.csv is not wholly above 50 %, is flagged and has no
relative change: what is near chance cannot be lost.

The p-value is that of a two-sided sign-flip permutation test over ids. McNemar's test does not apply, since the outcome
of an id is a mean over voices and seeds and not 0 or 1. With one voice, one seed and no ties, the test is McNemar's
exact test up to the number of permutations. The p-value describes these models, and the interval includes the spread of
seeds. With R resamples a p-value is never below 1 / (R + 1), and it has as many decimals as R has digits. `p_holm` is
adjusted by Holm (1979) over the steps of one task and norm that the table has.
"""

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speechladder.analysis.accuracy import (
    EDGE,
    ELEMENTS,
    Estimate,
    Outcomes,
    bootstrap,
    clopper_pearson,
    generator,
    resampled_mean,
)
from speechladder.analysis.csv_tables import fixed, percent, write_csv
from speechladder.analysis.table import Scores, estimate_accuracy, starts_at_floor
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.settings import Analysis

STEPS = (  # factor, from, to
    ("A-bpe", "text-bpe", "phone-bpe"),
    ("A-raw", "text-raw", "phone-raw"),
    ("B", "phone-raw", "phone-repeat"),
    ("C", "phone-repeat", "speech-hubert"),
    ("dedup", "speech-hubert", "speech-hubert-dedup"),
)
COLUMNS = (
    "factor", "task", "norm", "from_rung", "to_rung", "ids", "from_accuracy", "to_accuracy",
    "difference", "difference_low", "difference_high", "floor", "relative", "relative_low", "relative_high",
    "p_value", "p_holm",
)  # fmt: skip


class Step(NamedTuple):
    """A paired comparison. Accuracies and differences are shares; `relative` is (to - from) / from, or None."""

    ids: int
    start: float
    end: float
    difference: Estimate
    relative: Estimate | None
    p_value: float


def compare(start: Outcomes, end: Outcomes, confidence: float, resamples: int, rng: np.random.Generator) -> Step:
    """Compare two rungs on the ids that both scored; raises ValueError if they share none."""
    shared = sorted(set(start.ids) & set(end.ids))
    if not shared:
        raise ValueError("no shared ids")
    before, after = (select_ids(outcomes, shared) for outcomes in (start, end))
    change = after.mean(axis=0) - before.mean(axis=0)
    a, b, n = float(before.mean()), float(after.mean()), len(shared)
    # a relative change means nothing if the first rung has hardly any right pair
    relative = b / a - 1 if n * a >= EDGE else None

    def both(index: np.ndarray) -> np.ndarray:
        x, y = resampled_mean(before, index, rng), resampled_mean(after, index, rng)
        return np.stack([y - x, y / np.maximum(x, 0.5 / n) - 1])  # a resample may have no right pair

    low, high = np.full(2, b - a), np.full(2, b - a)
    if n > 1:
        low, high = bootstrap(both, n, confidence, resamples, rng)
    else:
        low[1] = high[1] = relative or 0.0
    gained, lost = float(change.clip(min=0).sum()), float((-change).clip(min=0).sum())
    if n == 1 or gained + lost < EDGE:
        gain, loss = clopper_pearson(gained, n, confidence), clopper_pearson(lost, n, confidence)
        exact = gain[0] - loss[1], gain[1] - loss[0]
        low[0], high[0] = min(low[0], exact[0]), max(high[0], exact[1])
        if relative is not None:
            low[1], high[1] = min(low[1], exact[0] / a), max(high[1], exact[1] / a)
    return Step(
        n,
        a,
        b,
        Estimate(b - a, min(float(low[0]), b - a), max(float(high[0]), b - a)),
        None if relative is None else Estimate(relative, min(float(low[1]), relative), max(float(high[1]), relative)),
        sign_flip(change, resamples, rng),
    )


def select_ids(outcomes: Outcomes, ids: list[str]) -> np.ndarray:
    """The values (seeds, ids) of these ids, in their order."""
    at = {name: column for column, name in enumerate(outcomes.ids)}
    return outcomes.values[:, [at[name] for name in ids]]


def estimate_jointly(
    rungs: Sequence[Outcomes], combine: Callable[[np.ndarray], np.ndarray], analysis: Analysis, rng: np.random.Generator
) -> tuple[int, list[Estimate]]:
    """The number of ids that all `rungs` scored, and quantities of their accuracies with intervals.

    `combine` maps the accuracies (rungs, resamples) to quantities (quantities, resamples). Each resample draws the ids
    once for all rungs, and seeds for each of them. With one id an interval is infinite. Raises ValueError without a
    shared id.
    """
    shared = sorted(set.intersection(*(set(outcomes.ids) for outcomes in rungs)))
    if not shared:
        raise ValueError("no shared ids")
    values = [select_ids(outcomes, shared) for outcomes in rungs]
    found = combine(np.array([[own.mean()] for own in values]))[:, 0]
    if len(shared) == 1:
        return 1, [Estimate(float(value), -np.inf, np.inf) for value in found]

    def statistic(index: np.ndarray) -> np.ndarray:
        return combine(np.stack([resampled_mean(own, index, rng) for own in values]))

    low, high = bootstrap(statistic, len(shared), analysis.confidence, analysis.resamples, rng)
    ends = zip(found, np.minimum(low, found), np.maximum(high, found))
    return len(shared), [Estimate(*map(float, end)) for end in ends]


def sign_flip(change: np.ndarray, resamples: int, rng: np.random.Generator) -> float:
    """Two-sided p-value that `change` (ids,) is symmetric about 0; exact if 2**(changed ids) <= `resamples`."""
    moved = change[np.abs(change) > 1e-12]
    if len(moved) < 2:
        return 1.0
    if len(moved) < 60 and 2 ** len(moved) <= resamples:
        flips = [(np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1]
        tried = far = 0
    else:
        batch = max(1, ELEMENTS // len(moved))
        sizes = [min(batch, resamples - done) for done in range(0, resamples, batch)]
        flips = (rng.integers(2, size=(size, len(moved)), dtype=np.int8) for size in sizes)
        tried = far = 1  # the observed signs are one of the permutations, so p is never 0
    for flip in flips:
        tried += len(flip)
        far += int((np.abs((1 - 2 * flip) @ moved) >= abs(moved.sum()) - 1e-9).sum())
    return far / tried


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a family adjusted by Holm's step-down method (Scand. J. Statist. 6, 1979), in the given order."""
    adjusted, least, count = [0.0] * len(p_values), 0.0, len(p_values)
    for rank, at in enumerate(sorted(range(count), key=p_values.__getitem__)):
        least = max(least, min(1.0, (count - rank) * p_values[at]))
        adjusted[at] = least
    return adjusted


def write_factors(results: Path, rungs: Sequence[str], scores: Scores, seed: int, analysis: Analysis) -> None:
    """Write results/factors.csv for the steps whose two rungs are among `rungs`.

    Accuracies are in percent, differences in percentage points, relative changes in percent of the first rung's
    accuracy. `floor` is true if the step starts at the floor; then the relative change is empty, as it is if the first
    rung has fewer than EDGE right ids. Raises UserError if two rungs share no id.
    """
    steps = [step for step in STEPS if {*step[1:]} <= {*rungs}]
    found = {}
    for factor, start, end in steps:
        for task, norm in product(TASKS, NORMS):
            rng = generator(seed, "factors", factor, task, norm)
            halves = scores[start, task].outcomes(norm), scores[end, task].outcomes(norm)
            try:
                found[factor, task, norm] = compare(*halves, analysis.confidence, analysis.resamples, rng)
            except ValueError:
                raise UserError(f"{results}/scores/{{{start},{end}}}/{task}.parquet share no id") from None
    rows = []
    for factor, start, end in steps:
        for task, norm in product(TASKS, NORMS):
            step = found[factor, task, norm]
            family = [name for name, *_ in steps]
            adjusted = holm([found[name, task, norm].p_value for name in family])[family.index(factor)]
            floor = starts_at_floor(estimate_accuracy(scores[start, task], start, task, norm, seed, analysis))
            values = [factor, task, norm, start, end, step.ids, percent(step.start), percent(step.end)]
            values += [*map(percent, step.difference), str(floor).lower()]
            values += map(percent, step.relative) if step.relative and not floor else [""] * 3
            decimals = len(str(analysis.resamples))
            values += [fixed(p, decimals) for p in (step.p_value, adjusted)]
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_csv(results / "factors.csv", COLUMNS, rows)
