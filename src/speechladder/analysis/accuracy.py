"""Pair accuracy as zerospeech counts it (sLM21, arXiv 2011.11588), with bootstrap intervals over ids.

A pair counts 1 if its correct item has the higher log-likelihood, 0.5 on an exact tie, else 0. The mean is taken over
the voices of an id first, then over ids, then over the seeds of the models.

The intervals and their limits:

- One seed: percentile bootstrap over ids (scipy). BCa is not used. Its jackknife grows with the square of the ids, it
  is undefined if all ids agree, and on a mean of a few hundred ids it changes only the second decimal.
- Several seeds: each resample draws ids and, independently, n - 1 of the n seeds with replacement. It draws n - 1
  because a bootstrap of n understates the variance of a mean by (n - 1) / n, which is a half for two seeds. The
  simulated coverage of a 95 % interval (300 ids, 200 trials) is 98-99 % if seeds do not differ, and 90, 92, 96 % for 2,
  3, 5 seeds that differ by a standard deviation of 0.2 logit. The interval of a single seed describes that model only:
  its coverage there is 71 %.
- Near the edge (fewer than EDGE right or EDGE wrong ids) a bootstrap collapses: if all ids are right it gives
  [100, 100]. There the interval is widened to include the Clopper-Pearson interval, with fractional counts if voices or
  ties give halves. This is conservative, since means over voices vary less than single answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.tables import SCORES, read_table

EDGE = 5.0  # right or wrong ids below which a bootstrap is not trusted
ELEMENTS = 2_000_000  # of a batch of resamples, to bound memory


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcomes:
    """What a model got right: `values` is (seeds, ids) in [0, 1], the mean over the id's voices."""

    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True)
class ScoredPairs:
    """A scores table as matched halves: a row is a (seed, id, voice); column 0 is the correct item, 1 the other."""

    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    row_seed: np.ndarray  # (rows,) index into seeds
    row_id: np.ndarray  # (rows,) index into ids
    nll: np.ndarray  # (rows, 2) nats
    tokens: np.ndarray  # (rows, 2)
    layer_nll: np.ndarray  # (rows, 2, layers) nats; layers is 0 if they were not scored

    @property
    def layers(self) -> int:
        """The number of layers that were scored, the embedding included."""
        return self.layer_nll.shape[2]

    def outcomes(self, norm: str, layer: int | None = None) -> Outcomes:
        """Right and wrong under `norm` (sum or mean), for the output of the model or of one layer."""
        nll = self.nll if layer is None else self.layer_nll[:, :, layer]
        if norm not in NORMS:
            raise ValueError(f"norm {norm!r}; allowed: {', '.join(NORMS)}")
        score = -nll if norm == "sum" else -nll / self.tokens
        right = np.where(score[:, 0] > score[:, 1], 1.0, np.where(score[:, 0] == score[:, 1], 0.5, 0.0))
        shape = (len(self.seeds), len(self.ids))
        cell = self.row_seed * shape[1] + self.row_id
        voices = np.bincount(cell, minlength=shape[0] * shape[1])
        return Outcomes(self.seeds, self.ids, (np.bincount(cell, right, len(voices)) / voices).reshape(shape))


def read_scored_pairs(path: str | Path, split: str | None = None) -> ScoredPairs:
    """Read scores/{rung}/{task}.parquet; of an official benchmark with splits, the pairs of `split` (None: all).

    Raises UserError that names the file, and the id that lacks a half or the splits that the file has.
    """
    return match_halves(select_split(read_table(path, SCORES), split, str(path)), str(path))


def select_split(table: pa.Table, split: str | None, source: str) -> pa.Table:
    """The rows of `split` and those without a split; raises UserError if the table only has other splits."""
    if split is None or not table.num_rows:
        return table
    splits = table["split"].fill_null("")
    kept = table.filter(pc.is_in(splits, value_set=pa.array(["", split])))
    if not kept.num_rows:
        there = ", ".join(sorted(splits.unique().to_pylist()))
        raise UserError(f"{source}: no pair of split '{split}' (found: {there}); see rejected.jsonl of the benchmark")
    return kept


def match_halves(table: pa.Table, source: str) -> ScoredPairs:
    """Put each correct item beside its incorrect one.

    `table` has the columns id, voice, correct, seed, nll, tokens and perhaps layer_nll. Raises UserError that names
    `source` and the id if a half is missing or occurs twice, a likelihood is not a number, an item has no tokens, the
    seeds have scored different ids, or the number of layers differs.
    """
    if not table.num_rows:
        raise UserError(f"{source}: no rows; the benchmark's items were all rejected, or scoring was cut short")
    column = {name: table[name].to_pylist() for name in ("seed", "id", "voice", "correct")}
    nll, tokens = (table[name].to_numpy().astype(float) for name in ("nll", "tokens"))
    deep = _layers(table, source)
    halves: dict[tuple[int, str, str], list[int]] = {}
    for row, (seed, name, voice, correct) in enumerate(zip(*column.values())):
        pair = halves.setdefault((seed, name, voice), [-1, -1])
        side = 0 if correct else 1
        if pair[side] >= 0:
            raise UserError(f"{source}: id '{name}', voice '{voice}', seed {seed}: two {_side(side)} items, not one")
        pair[side] = row
        if not np.isfinite(nll[row]) or not np.isfinite(deep[row]).all():
            raise UserError(f"{source}: id '{name}', voice '{voice}', seed {seed}: nll is not a finite number")
        if tokens[row] < 1:
            raise UserError(f"{source}: id '{name}', voice '{voice}', seed {seed}: an item without tokens")
    for (seed, name, voice), pair in halves.items():
        if -1 in pair:
            missing = _side(pair.index(-1))
            raise UserError(f"{source}: id '{name}', voice '{voice}', seed {seed}: the {missing} item is missing")
    keys = sorted(halves)
    seeds = tuple(sorted({key[0] for key in keys}))
    ids = tuple(sorted({key[1] for key in keys}))
    present = {key[:2] for key in keys}
    for seed in seeds:
        for name in ids:
            if (seed, name) not in present:
                raise UserError(f"{source}: id '{name}' is scored by other seeds and not by seed {seed}")
    at_seed, at_id = {s: n for n, s in enumerate(seeds)}, {i: n for n, i in enumerate(ids)}
    rows = np.array([halves[key] for key in keys])
    return ScoredPairs(
        seeds,
        ids,
        np.array([at_seed[key[0]] for key in keys]),
        np.array([at_id[key[1]] for key in keys]),
        nll[rows],
        tokens[rows],
        deep[rows],
    )


def _side(side: int) -> str:
    return ("correct", "incorrect")[side]


def _layers(table: pa.Table, source: str) -> np.ndarray:
    """The layer_nll column as (rows, layers); no layers if it is absent or empty."""
    if "layer_nll" not in table.schema.names:
        return np.empty((table.num_rows, 0))
    lists = table["layer_nll"].to_pylist()
    count = len(lists[0] or [])
    for name, values in zip(table["id"].to_pylist(), lists):
        if len(values or []) != count:
            raise UserError(f"{source}: id '{name}': {len(values or [])} layers in layer_nll, others have {count}")
    return np.array([values or [] for values in lists], dtype=float).reshape(table.num_rows, count)


def generator(seed: int, *what: object) -> np.random.Generator:
    """The random numbers for one named quantity of a run, whatever is computed before it."""
    return np.random.default_rng([seed, stable_hash(*what)])


def resampled_mean(values: np.ndarray, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means (resamples,) of `values` (seeds, ids) over drawn ids `index` (resamples, ids) and over drawn seeds.

    Each resample draws n - 1 of n seeds with replacement (see the module's docstring); one seed is not drawn.
    """
    seeds = len(values)
    means = np.stack([row[index].mean(axis=-1) for row in values])  # (seeds, resamples)
    if seeds == 1:
        return means[0]
    drawn = rng.integers(seeds, size=(seeds - 1, index.shape[0]))
    return np.take_along_axis(means, drawn, axis=0).mean(axis=0)


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], ids: int, confidence: float, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile intervals of `statistic`, which maps drawn ids (resamples, ids) to values (..., resamples).

    Returns low and high, each of shape (...). Needs at least two ids.
    """
    from scipy import stats  # its import takes half a second

    def along(index: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(np.atleast_2d(index)) if index.ndim > 1 else statistic(index[None])[..., 0]

    result = stats.bootstrap(
        (np.arange(ids),),
        along,
        n_resamples=resamples,
        batch=max(1, ELEMENTS // ids),
        vectorized=True,
        axis=-1,
        confidence_level=confidence,
        method="percentile",
        rng=rng,
    )
    return result.confidence_interval.low, result.confidence_interval.high


def clopper_pearson(right: float, ids: int, confidence: float) -> tuple[float, float]:
    """The exact binomial interval of a share (Clopper and Pearson 1934); `right` may be fractional."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if right <= 0 else float(beta.ppf(tail, right, ids - right + 1))
    high = 1.0 if right >= ids else float(beta.ppf(1 - tail, right + 1, ids - right))
    return low, high


def accuracy(outcomes: Outcomes, confidence: float, resamples: int, rng: np.random.Generator) -> Estimate:
    """The mean over ids and seeds with its interval, all in [0, 1]."""
    values = outcomes.values
    value, ids = float(values.mean()), values.shape[1]
    low = high = value
    if ids > 1:
        ends = bootstrap(lambda index: resampled_mean(values, index, rng), ids, confidence, resamples, rng)
        low, high = (float(end) for end in ends)
    if ids == 1 or ids * min(value, 1 - value) < EDGE:
        exact = clopper_pearson(ids * value, ids, confidence)
        low, high = min(low, exact[0]), max(high, exact[1])
    return Estimate(value, min(low, value), max(high, value))
