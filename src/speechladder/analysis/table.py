"""results/table.csv: a row per rung, the ladder at a glance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechladder.analysis.accuracy import NORMS, Estimate, Pairs, accuracy, generator, read_pairs
from speechladder.analysis.continuation import cell
from speechladder.analysis.csv_tables import fixed, percent, write_csv
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.settings import TASKS, Analysis

Scores = dict[tuple[str, str], Pairs]  # by (rung, task)

FACTS = ("rung", "vocab_size", "tokens_per_second", "train_tokens", "valid_bits_per_second")
ACCURACIES = tuple(f"{task}_{norm}{end}" for task in TASKS for norm in NORMS for end in ("", "_low", "_high"))
PPL = ("ppl", "ppl_low", "ppl_high")
COLUMNS = (*FACTS, *ACCURACIES, *PPL)


def read_scores(results: Path, rungs: Sequence[str], split: str | None = None) -> Scores:
    """Every rung's scores of every task, of an official benchmark those of `split` (None: of every split).

    Raises UserError when a rung's tasks were scored by different seeds.
    """
    scores = {(r, t): read_pairs(results / "scores" / r / f"{t}.parquet", split) for r in rungs for t in TASKS}
    for rung in rungs:
        seeds = {task: scores[rung, task].seeds for task in TASKS}
        if len(set(seeds.values())) > 1:
            raise UserError(f"{results}/scores/{rung}: the tasks were scored by different seeds {seeds}; score again")
    return scores


def model_facts(results: Path, rung: str, seeds: Sequence[int]) -> dict[str, float]:
    """train_tokens and valid_bits_per_second of a rung, means over the seeds that were scored."""
    paths = [results / "lm" / rung / f"seed{seed}" / "train.json" for seed in seeds]
    found = [read_json(path) for path in paths]
    names = ("train_tokens", "valid_bits_per_second")
    return {name: sum(_number(f, name, p) for f, p in zip(found, paths)) / len(found) for name in names}


def _number(facts: Any, name: str, path: Path) -> float:
    value = facts.get(name) if isinstance(facts, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: field '{name}' is {value!r}, expected a number; delete the folder and run again")
    return value


def estimate(pairs: Pairs, rung: str, task: str, norm: str, seed: int, analysis: Analysis) -> Estimate:
    """The accuracy of one cell of the table; the same wherever it is asked for."""
    random = generator(seed, "table", rung, task, norm)
    return accuracy(pairs.outcomes(norm), analysis.confidence, analysis.resamples, random)


def write_table(
    results: Path,
    rungs: Sequence[str],
    scores: Scores,
    seed: int,
    analysis: Analysis,
    said: Mapping[str, Estimate] | None = None,
) -> None:
    """Write results/table.csv: rows in the order of `rungs`, accuracies in percent with two decimals.

    `said` is the continuation perplexity of the rungs that have one; the cells of others are empty.

    Reads tokens/{rung}/meta.json and lm/{rung}/seed{n}/train.json; raises UserError naming file and field.
    """
    rows = []
    for rung in rungs:
        meta_path = results / "tokens" / rung / "meta.json"
        meta = read_json(meta_path)
        facts = model_facts(results, rung, scores[rung, TASKS[0]].seeds)
        row = {
            "rung": rung,
            "vocab_size": fixed(_number(meta, "vocab_size", meta_path), 0),
            "tokens_per_second": fixed(_number(meta, "tokens_per_second", meta_path), 2),
            "train_tokens": fixed(facts["train_tokens"], 0),
            "valid_bits_per_second": fixed(facts["valid_bits_per_second"], 3),
        }
        for task in TASKS:
            for norm in NORMS:
                found = estimate(scores[rung, task], rung, task, norm, seed, analysis)
                row |= zip((f"{task}_{norm}{end}" for end in ("", "_low", "_high")), map(percent, found))
        row |= dict(zip(PPL, map(cell, said[rung]))) if said and rung in said else dict.fromkeys(PPL, "")
        rows.append(row)
    write_csv(results / "table.csv", COLUMNS, rows)
