"""results/baselines.csv: what the tasks give away without a language model.

Each baseline scores the items as a model does, by a negative log-likelihood that is summed or divided by the tokens:

- length: the number of tokens, so the shorter item is preferred. Its mean is one for every item, so it has none.
- unigram, bigram: tokens alone, and given the token before.
- 5-gram: tokens given the four before. Where a rung repeats tokens (a share of RUNS of them or more, as at 50 Hz) it is
  a 5-gram over runs, times the probability of each run's length given its token and the token before.

They are trained on the rung's training tokens, with the smoothing of analysis.ngram. A model that is not above them has
not shown that it learnt more than counts. A task that length or single tokens solve does not measure what it is named
after.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from speechladder.analysis.accuracy import ScoredPairs, accuracy, generator, match_halves, select_split
from speechladder.analysis.csv_tables import interval_columns, percent_cells, write_csv
from speechladder.analysis.ngram import NONE, CountModel
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import ITEM_NORMS, ItemNorm
from speechladder.io.errors import UserError
from speechladder.io.tables import ITEM_TOKENS, ITEMS, SCORES, read_table
from speechladder.rungs.data import TokenData
from speechladder.settings import Analysis

BASELINES = ("length", "unigram", "bigram", "5-gram")
COLUMNS = ("rung", "task", "baseline", *(column for norm in ITEM_NORMS for column in interval_columns(norm)))
LONGEST = 5  # tokens of the longest n-gram
RUNS = 0.2  # share of tokens that repeat the one before, from which runs are modelled
# The most training speech and the most tokens that are counted, because counts are sorted in memory: 25 h at 50 Hz are
# 4.5 M tokens. The limit is in seconds, so that every rung counts the same utterances; the other one holds only for
# external units of more than 110 a second.
MOST_SECONDS, MOST_TOKENS = 90_000.0, 10_000_000


@dataclass(frozen=True)
class Sequences:
    """Token sequences end to end: `tokens` (n,), and `place` (n,) of each token in its sequence, from 0."""

    tokens: np.ndarray
    place: np.ndarray

    @classmethod
    def join(cls, tokens: np.ndarray, lengths: np.ndarray) -> "Sequences":
        """From tokens end to end and the length of each sequence."""
        ends = np.cumsum(lengths)
        return cls(tokens.astype(np.int64), np.arange(len(tokens)) - np.repeat(ends - lengths, lengths))

    @property
    def number(self) -> np.ndarray:
        """(n,) the sequence of each token."""
        return np.cumsum(self.place == 0) - 1

    @property
    def predicted(self) -> np.ndarray:
        """(n,) whether a token is predicted, which the first of a sequence, `<s>`, is not."""
        return self.place > 0

    def before(self, count: int) -> list[np.ndarray]:
        """`count` arrays (n,): the token before each, the second before, and so on; NONE before the sequence."""
        return [np.where(self.place >= k, np.roll(self.tokens, k), NONE) for k in range(1, count + 1)]

    def runs(self) -> tuple["Sequences", np.ndarray]:
        """The sequences with each run of equal tokens written once, and the length of each run."""
        (before,) = self.before(1)
        starts = np.flatnonzero(self.tokens != before)
        lengths = np.diff([*starts, len(self.tokens)])
        counts = np.bincount(self.number[starts])
        return Sequences.join(self.tokens[starts], counts), lengths


Scorer = Callable[[Sequences], np.ndarray]  # sequences -> (sequences,) nats


def train_ngram(train: Sequences, vocabulary: int, order: int) -> Scorer:
    """An n-gram over tokens; before any token was seen all are equally likely."""
    model = CountModel(*_events(train, order), lambda events: np.full(len(events), 1 / vocabulary))

    def score(items: Sequences) -> np.ndarray:
        return _summed(items, model.probabilities(*_events(items, order)))

    return score


def train_run_ngram(train: Sequences, vocabulary: int, order: int) -> Scorer:
    """An n-gram over runs, with the length of each run given its token and the token before.

    A run never follows a run of the same token, so the n-gram leaves the token before out of its distribution. Before
    any length was seen, lengths are geometric with the mean of all runs. Together it is a distribution over tokens.
    """
    runs, lengths = train.runs()
    model = CountModel(*_events(runs, order), lambda events: np.full(len(events), 1 / vocabulary))
    stop = 1 / lengths[runs.predicted].mean()
    durations = CountModel(*_durations(runs, lengths), lambda events: stop * (1 - stop) ** (events - 1.0))

    def score(items: Sequences) -> np.ndarray:
        runs, lengths = items.runs()
        events, contexts = _events(runs, order)
        same = model.probabilities(contexts[0], contexts)
        chance = model.probabilities(events, contexts) / (1 - same)
        return _summed(runs, chance * durations.probabilities(*_durations(runs, lengths)))

    return score


def _events(sequences: Sequences, order: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The predicted tokens, and the order - 1 tokens before each."""
    kept = sequences.predicted
    return sequences.tokens[kept], [context[kept] for context in sequences.before(order - 1)]


def _durations(runs: Sequences, lengths: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The lengths of the predicted runs, and the token and the token before of each."""
    kept = runs.predicted
    return lengths[kept], [context[kept] for context in (runs.tokens, *runs.before(1))]


def _summed(sequences: Sequences, probabilities: np.ndarray) -> np.ndarray:
    """(sequences,) nats, from the probability of each predicted token."""
    number = sequences.number
    return np.bincount(number[sequences.predicted], -np.log(probabilities), minlength=number[-1] + 1)


def repeats(sequences: Sequences) -> bool:
    """Whether the rung repeats tokens, so that runs are modelled."""
    (before,) = sequences.before(1)
    return bool(np.mean(sequences.tokens == before) >= RUNS)


def train_baselines(train: Sequences, vocabulary: int) -> dict[str, Scorer]:
    """The scorers of BASELINES."""
    longest = train_run_ngram if repeats(train) else train_ngram
    return {
        "length": lambda items: np.bincount(items.number[items.predicted]).astype(np.float64),
        "unigram": train_ngram(train, vocabulary, 1),
        "bigram": train_ngram(train, vocabulary, 2),
        "5-gram": longest(train, vocabulary, LONGEST),
    }


def read_training(folder: Path) -> tuple[Sequences, int]:
    """The training tokens of a rung, of evenly spread utterances (MOST_SECONDS, MOST_TOKENS), and its vocabulary size.

    Raises UserError if there are none.
    """
    data = TokenData(folder, "train")
    if not len(data):
        raise UserError(f"{folder}: no training utterance; raise corpus.hours")
    step = int(np.ceil(max(data.seconds.sum() / MOST_SECONDS, data.lengths.sum(dtype=np.int64) / MOST_TOKENS, 1)))
    chosen = np.arange(0, len(data), step)
    tokens = np.concatenate([data.utterance(number) for number in chosen])
    return Sequences.join(tokens, data.lengths[chosen].astype(np.int64)), data.meta["vocab_size"]


def read_item_tokens(results: Path, rung: str, task: str, split: str | None) -> tuple[pa.Table, Sequences]:
    """The items of a task (columns that ITEMS and SCORES share) and their tokens on a rung, in the same order.

    Raises UserError if the two tables hold different items.
    """
    path = results / "benchmarks" / task / "items.parquet"
    items = read_table(path, ITEMS, [name for name in SCORES.names if name in ITEMS.names])
    written = results / "benchmarks" / task / f"{rung}.parquet"
    tokens = read_table(written, ITEM_TOKENS)
    if not items["item"].equals(tokens["item"]):
        raise UserError(f"{written}: other items than {path}; run tokenize_items again")
    table = select_split(items.append_column("tokens", tokens["tokens"]), split, str(path))
    column = table["tokens"].combine_chunks()
    lengths = column.value_lengths().to_numpy().astype(np.int64)
    return table.drop_columns("tokens"), Sequences.join(column.flatten().to_numpy(), lengths)


def score_pairs(items: pa.Table, sequences: Sequences, scorer: Scorer, source: str) -> ScoredPairs:
    """The items under a baseline, in the form of a model's scores."""
    tokens = np.bincount(sequences.number[sequences.predicted])
    columns = {"seed": np.zeros(len(items), np.int32), "nll": scorer(sequences), "tokens": tokens}
    for name, values in columns.items():
        items = items.append_column(name, pa.array(values))
    return match_halves(items, source)


def write_baselines(
    results: Path, rungs: Sequence[str], analysis: Analysis, splits: Sequence[str] = (), seed: int = 0
) -> None:
    """Write results/baselines.csv: what length and n-grams get on each task, in percent, with intervals over ids.

    Needs no model: it reads tokens/{rung}, benchmarks/{task}/items.parquet and benchmarks/{task}/{rung}.parquet.

    Args:
        results: folder with tokens and benchmarks, and of the table
        rungs: rungs in the order of the table
        splits: splits of sLM21, of which the first is scored, as in table.csv
        seed: the seed of the run, for the resampling
    """
    rows = []
    for rung in rungs:
        scorers = train_baselines(*read_training(results / "tokens" / rung))
        for task in TASKS:
            items, sequences = read_item_tokens(results, rung, task, splits[0] if splits else None)
            for name, scorer in scorers.items():
                pairs = score_pairs(items, sequences, scorer, f"{rung}, {task}")
                cells = _cells(
                    pairs, ITEM_NORMS[:1] if name == "length" else ITEM_NORMS, analysis, seed, rung, task, name
                )
                rows.append({"rung": rung, "task": task, "baseline": name} | cells)
    write_csv(results / "baselines.csv", COLUMNS, rows)


def _cells(pairs: ScoredPairs, norms: Sequence[ItemNorm], analysis: Analysis, seed: int, *what: str) -> dict[str, str]:
    """The accuracy under `norms` with its interval; the cells of other norms are empty."""
    found = dict.fromkeys(ITEM_NORMS)
    for norm in norms:
        rng = generator(seed, "baselines", *what, norm)
        found[norm] = accuracy(pairs.outcomes(norm), analysis.confidence, analysis.resamples, rng)
    return {name: cell for norm in ITEM_NORMS for name, cell in percent_cells(norm, found[norm]).items()}
