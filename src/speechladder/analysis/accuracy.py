"""Pair accuracy as zerospeech counts it (sLM21, arXiv 2011.11588), with bootstrap intervals over ids.

A pair counts 1 if its correct item has the higher log-likelihood, 0.5 on an exact tie, else 0. The mean is taken over
the voices of an id first, then over ids, then over the seeds of the models.

A crossed two is two pairs that share two beginnings and two endings: (a + A | a + B) and (b + B | b + A). What makes
ending A likely by itself, such as its length, helps one pair and harms the other, so the outcomes of the pairs are
correlated. A two is one trial: it counts 1 if the margins of its pairs add up to more than 0, 0.5 if to 0, else 0. Its
name takes the place of the id. The accuracy over single pairs (`crossed=False`), which is the field's figure, is a mean
over the pairs of a two first, and its interval resamples twos.

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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.constants import ITEM_NORMS, NORMS
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.tables import SCORES, read_table

EDGE = 5.0  # right or wrong ids below which a bootstrap is not trusted
ELEMENTS = 2_000_000  # of a batch of resamples, to bound memory
ROUNDING = 1e-12  # of the log-likelihoods of a two: margins that cancel leave no more than this


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcomes:
    """What a model got right: `values` is (seeds, ids) in [0, 1], the mean over the id's voices.

    An id is that of a pair, or the name of a two. Ids are independent of each other, so that intervals resample them.
    """

    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    values: np.ndarray


@dataclass(frozen=True)
class ScoredPairs:
    """A scores table as matched halves: a row is a (seed, id, voice); column 0 is the correct item, 1 the other."""

    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    twos: tuple[str, ...]  # of each id, the name of its two; "" for a pair that stands alone
    types: tuple[str, ...]  # of each id
    row_seed: np.ndarray  # (rows,) index into seeds
    row_id: np.ndarray  # (rows,) index into ids
    row_voice: np.ndarray  # (rows,) number of the voice
    nll: np.ndarray  # (rows, 2) nats
    tokens: np.ndarray  # (rows, 2)
    layer_nll: np.ndarray  # (rows, 2, layers) nats; layers is 0 if they were not scored
    # the same of the spans, the ends of the items after the beginning that the halves share; None if not scored
    span: tuple[np.ndarray, np.ndarray, np.ndarray] | None

    @property
    def layers(self) -> int:
        """The number of layers that were scored, the embedding included."""
        return self.layer_nll.shape[2]

    def type_of_trial(self) -> dict[str, str]:
        """Id of `outcomes` (of a pair, or name of a two) -> its type; a two of two types has both."""
        found: dict[str, set[str]] = {}
        for name, two, kind in zip(self.ids, self.twos, self.types):
            found.setdefault(two or name, set()).add(kind)
        return {trial: "/".join(sorted(kinds)) for trial, kinds in found.items()}

    def outcomes(self, norm: str, layer: int | None = None, crossed: bool = True) -> Outcomes:
        """Right and wrong under `norm` (constants.NORMS), for the output of the model or of one layer.

        The ids are twos and the pairs that stand alone. `crossed` scores a two by the sum of its margins; otherwise its
        value is the mean over its pairs.
        """
        if norm not in NORMS or (norm == "span" and self.span is None):
            raise ValueError(f"norm {norm!r}; allowed: {', '.join(ITEM_NORMS if self.span is None else NORMS)}")
        whole, tokens, deep = self.span if norm == "span" else (self.nll, self.tokens, self.layer_nll)
        nll = whole if layer is None else deep[:, :, layer]
        score = -nll if norm == "sum" else -nll / tokens
        trials = [two or name for name, two in zip(self.ids, self.twos)]
        names = tuple(dict.fromkeys(trials))
        place = {name: column for column, name in enumerate(names)}
        cell = self.row_seed * len(names) + np.array([place[name] for name in trials])[self.row_id]
        right = _right(score[:, 0] - score[:, 1])
        if crossed and any(self.twos):
            voices = int(self.row_voice.max()) + 1
            together, row = np.unique(cell * voices + self.row_voice, return_inverse=True)
            scale = np.bincount(row, np.abs(score).sum(axis=1))
            margin = np.bincount(row, score[:, 0] - score[:, 1])
            cancelled = (np.bincount(row) > 1) & (np.abs(margin) <= ROUNDING * scale)
            cell, right = together // voices, _right(np.where(cancelled, 0.0, margin))
        count = len(self.seeds) * len(names)
        values = np.bincount(cell, right, count) / np.bincount(cell, minlength=count)
        return Outcomes(self.seeds, names, values.reshape(len(self.seeds), len(names)))


def _right(margin: np.ndarray) -> np.ndarray:
    """1 where the margin is above 0, 0.5 where it is 0, else 0."""
    return np.where(margin > 0, 1.0, np.where(margin == 0, 0.5, 0.0))


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

    `table` has the columns id, voice, correct, two, seed, nll, tokens and perhaps layer_nll, those of the span and
    type. Raises UserError that names `source` and the id if a half is missing or occurs twice, a likelihood is not a
    number, an item has no tokens, the seeds have scored different ids, the number of layers differs, or one pair of a
    two is missing.
    """
    if not table.num_rows:
        raise UserError(f"{source}: no rows; the benchmark's items were all rejected, or scoring was cut short")
    column = {name: table[name].to_pylist() for name in ("seed", "id", "voice", "correct")}
    nll, tokens, deep = _counts(table, "", source)
    span = _counts(table, "span_", source) if "span_nll" in table.schema.names else None
    numbers = np.column_stack([nll, deep, *([span[0], span[2]] if span else [])])
    shortest = np.minimum(tokens, span[1]) if span else tokens
    halves: dict[tuple[int, str, str], list[int]] = {}
    for row, (seed, name, voice, correct) in enumerate(zip(*column.values())):
        pair = halves.setdefault((seed, name, voice), [-1, -1])
        side = 0 if correct else 1
        if pair[side] >= 0:
            raise UserError(f"{source}: id '{name}', voice '{voice}', seed {seed}: two {_side(side)} items, not one")
        pair[side] = row
        if not np.isfinite(numbers[row]).all():
            raise UserError(f"{source}: id '{name}', voice '{voice}', seed {seed}: nll is not a finite number")
        if not shortest[row] >= 1:
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
    two_of = _by_id(table, "two")
    kinds = _by_id(table, "type") if "type" in table.schema.names else {}
    _check_twos(keys, two_of, source)
    at_voice = {voice: n for n, voice in enumerate(sorted({key[2] for key in keys}))}
    return ScoredPairs(
        seeds,
        ids,
        tuple(two_of[name] for name in ids),
        tuple(kinds.get(name, "") for name in ids),
        np.array([at_seed[key[0]] for key in keys]),
        np.array([at_id[key[1]] for key in keys]),
        np.array([at_voice[key[2]] for key in keys]),
        *(values[rows] for values in (nll, tokens, deep)),
        span and tuple(values[rows] for values in span),
    )


def _by_id(table: pa.Table, column: str) -> dict[str, str]:
    return dict(zip(table["id"].to_pylist(), table[column].fill_null("").to_pylist()))


def _check_twos(keys: Iterable[tuple[int, str, str]], two_of: Mapping[str, str], source: str) -> None:
    """Raise UserError if a two has not two pairs in each seed and voice that has one of them; keys: seed, id, voice."""
    pairs: dict[tuple[int, str, str], list[str]] = {}
    for seed, name, voice in keys:
        if two := two_of.get(name):
            pairs.setdefault((seed, two, voice), []).append(name)
    for (seed, two, voice), found in pairs.items():
        if len(found) != 2:
            raise UserError(
                f"{source}: two '{two}', voice '{voice}', seed {seed}: {len(found)} pairs ({', '.join(found)}), not "
                "two; make the items and score again"
            )


def _side(side: int) -> str:
    return ("correct", "incorrect")[side]


def _counts(table: pa.Table, what: str, source: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """nll (rows,), tokens (rows,) and layer_nll (rows, layers) of the items, or of their spans (`span_`)."""
    nll, tokens = (table[what + name].to_numpy().astype(float) for name in ("nll", "tokens"))
    return nll, tokens, _layers(table, f"layer_{what}nll", source)


def _layers(table: pa.Table, name: str, source: str) -> np.ndarray:
    """A column of layers as (rows, layers); no layers if it is absent or empty."""
    if name not in table.schema.names:
        return np.empty((table.num_rows, 0))
    lists = table[name].to_pylist()
    count = len(lists[0] or [])
    for id, values in zip(table["id"].to_pylist(), lists):
        if len(values or []) != count:
            raise UserError(f"{source}: id '{id}': {len(values or [])} layers in {name}, others have {count}")
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
