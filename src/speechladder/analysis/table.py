"""results/table.csv: a row per rung, the ladder at a glance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechladder.analysis.accuracy import Estimate, ScoredPairs, accuracy, generator, read_scored_pairs
from speechladder.analysis.continuation import cell
from speechladder.analysis.csv_tables import (
    accuracy_columns,
    fixed,
    interval_columns,
    percent,
    percent_cells,
    write_csv,
)
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import CHANCE, NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.settings import Analysis

Scores = dict[tuple[str, str], ScoredPairs]  # by (rung, task)

FACTS = ("rung", "vocab_size", "tokens_per_second", "seeds", "train_tokens", "passes", "valid_bits_per_second")
PAIRWISE = "pairwise_"  # in the names of the columns of accuracies over single pairs
PPL = interval_columns("ppl")


def table_columns() -> tuple[str, ...]:
    """The columns of table.csv, with those of every registered task.

    `{task}_{norm}` is over twos where the pairs of the task have them; `{task}_pairwise_{norm}` is over single pairs,
    and the same where no pair has a two.
    """
    return (*FACTS, *accuracy_columns(), *accuracy_columns(kind=PAIRWISE), *PPL)


def read_scores(results: Path, rungs: Sequence[str], split: str | None = None) -> Scores:
    """The scores of every rung on every task; of an official benchmark those of `split` (None: of every split).

    Raises UserError if the tasks of a rung were scored by different seeds.
    """
    scores = {(r, t): read_scored_pairs(results / "scores" / r / f"{t}.parquet", split) for r in rungs for t in TASKS}
    for rung in rungs:
        seeds = {task: scores[rung, task].seeds for task in TASKS}
        if len(set(seeds.values())) > 1:
            raise UserError(f"{results}/scores/{rung}: the tasks were scored by different seeds {seeds}; score again")
    return scores


def model_facts(results: Path, rung: str, seeds: Sequence[int]) -> dict[str, float]:
    """train_tokens, passes and valid_bits_per_second of a rung, each the mean over these seeds."""
    paths = [results / "lm" / rung / f"seed{seed}" / "train.json" for seed in seeds]
    found = [read_json(path) for path in paths]
    names = ("train_tokens", "passes", "valid_bits_per_second")
    return {name: sum(_number(f, name, p) for f, p in zip(found, paths)) / len(found) for name in names}


def token_facts(results: Path, rung: str) -> dict[str, float]:
    """vocab_size and tokens_per_second of a rung."""
    path = results / "tokens" / rung / "meta.json"
    found = read_json(path)
    return {name: _number(found, name, path) for name in ("vocab_size", "tokens_per_second")}


def _number(facts: Any, name: str, path: Path) -> float:
    value = facts.get(name) if isinstance(facts, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: field '{name}' is {value!r}, expected a number; delete the folder and run again")
    return value


def estimate_accuracy(
    pairs: ScoredPairs, rung: str, task: str, norm: str, seed: int, analysis: Analysis, crossed: bool = True
) -> Estimate:
    """The accuracy of one cell of table.csv; other tables that show the same cell get the same value and interval."""
    random = generator(seed, "table", rung, task, norm)
    return accuracy(pairs.outcomes(norm, crossed=crossed), analysis.confidence, analysis.resamples, random)


def starts_at_floor(start: Estimate) -> bool:
    """Whether an accuracy cannot be told from chance or lies below it: its interval, as printed, is not above 50 %.

    A step from there says nothing relative to its start.
    """
    return float(percent(start.low)) <= 100 * CHANCE


def write_table(
    results: Path,
    rungs: Sequence[str],
    scores: Scores,
    seed: int,
    analysis: Analysis,
    perplexities: Mapping[str, Estimate] | None = None,
) -> None:
    """Write results/table.csv: rows in the order of `rungs`, accuracies in percent.

    `perplexities` are the continuation perplexities of the rungs that have one; the cells of the others are empty.
    Reads tokens/{rung}/meta.json and lm/{rung}/seed{n}/train.json, and raises UserError that names file and field if a
    value is missing.
    """
    rows = [table_row(results, rung, scores, seed, analysis, (perplexities or {}).get(rung)) for rung in rungs]
    write_csv(results / "table.csv", table_columns(), rows)


def table_row(
    results: Path, rung: str, scores: Scores, seed: int, analysis: Analysis, ppl: Estimate | None = None
) -> dict[str, object]:
    """The row of a rung in table.csv; see `write_table`."""
    seeds = scores[rung, next(iter(TASKS))].seeds
    facts = token_facts(results, rung) | model_facts(results, rung, seeds)
    own = {task: scores[rung, task] for task in TASKS}
    return row_cells(rung, facts, len(seeds), estimates(own, rung, seed, analysis), ppl)


def estimates(pairs: Mapping[str, ScoredPairs], rung: str, seed: int, analysis: Analysis) -> dict[str, Estimate]:
    """The accuracies of a row of table.csv, by the name of their column; `pairs` are those of each task."""
    return {
        f"{task}_{kind}{norm}": estimate_accuracy(pairs[task], rung, task, norm, seed, analysis, crossed)
        for task in TASKS
        for norm in NORMS
        for kind, crossed in (("", True), (PAIRWISE, False))
    }


def row_cells(
    rung: str, facts: Mapping[str, float], seeds: int, found: Mapping[str, Estimate], ppl: Estimate | None = None
) -> dict[str, object]:
    """The cells of a row: `facts` as `token_facts` and `model_facts` give them, `found` as `estimates` does."""
    row: dict[str, object] = {
        "rung": rung,
        "vocab_size": fixed(facts["vocab_size"], 0),
        "tokens_per_second": fixed(facts["tokens_per_second"], 2),
        "seeds": seeds,
        "train_tokens": fixed(facts["train_tokens"], 0),
        "passes": fixed(facts["passes"], 1),
        "valid_bits_per_second": fixed(facts["valid_bits_per_second"], 3),
    }
    for name, each in found.items():
        row |= percent_cells(name, each)
    return row | (dict(zip(PPL, map(cell, ppl))) if ppl else dict.fromkeys(PPL, ""))
