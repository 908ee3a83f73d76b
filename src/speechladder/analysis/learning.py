"""results/learning.csv: accuracy against training tokens (PAPER.md, Fig. 1)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.analysis.accuracy import NORMS, accuracy, generator, match_halves
from speechladder.analysis.csv_tables import fixed, percent, write_csv
from speechladder.analysis.table import Scores, estimate, model_facts
from speechladder.io.errors import UserError
from speechladder.io.tables import LEARNING, read_table
from speechladder.settings import TASKS, Analysis

COLUMNS = ("rung", "task", "norm", "train_tokens", "accuracy", "low", "high")


def snapshots(table: pa.Table, source: str) -> list[tuple[float, pa.Table]]:
    """The rows of each snapshot with the tokens seen, ascending; the n-th of every seed belong together.

    Seeds may differ by some tokens at a snapshot (the mean is given), not in the number of snapshots (UserError).
    """
    seeds, tokens = table["seed"].to_numpy(), table["train_tokens"].to_numpy()
    seen = {int(seed): np.unique(tokens[seeds == seed]) for seed in np.unique(seeds)}
    counts = {seed: len(points) for seed, points in seen.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"{source}: column 'train_tokens': seeds differ in their number of snapshots {counts}")
    found = []
    for point in range(max(counts.values(), default=0)):
        mask = np.zeros(len(tokens), dtype=bool)
        for seed, points in seen.items():
            mask |= (seeds == seed) & (tokens == points[point])
        found.append((float(np.mean([points[point] for points in seen.values()])), table.filter(pa.array(mask))))
    return found


def write_learning(results: Path, rungs: Sequence[str], scores: Scores, seed: int, analysis: Analysis) -> None:
    """Write results/learning.csv in percent: the snapshots, and the final model as the last point of each curve."""
    rows = []
    for rung in rungs:
        path = results / "scores" / rung / "learning.parquet"
        table = read_table(path, LEARNING)
        final = model_facts(results, rung, scores[rung, TASKS[0]].seeds)["train_tokens"]
        for task in TASKS:
            here = snapshots(table.filter(pc.equal(table["task"], task)), str(path))
            curve = [(tokens, match_halves(part, f"{path}, {task}")) for tokens, part in here if tokens < final]
            for norm in NORMS:
                for tokens, pairs in curve:
                    rng = generator(seed, "learning", rung, task, norm)
                    found = accuracy(pairs.outcomes(norm), analysis.confidence, analysis.resamples, rng)
                    rows.append(dict(zip(COLUMNS, [rung, task, norm, fixed(tokens, 0), *map(percent, found)])))
                found = estimate(scores[rung, task], rung, task, norm, seed, analysis)
                rows.append(dict(zip(COLUMNS, [rung, task, norm, fixed(final, 0), *map(percent, found)])))
    write_csv(results / "learning.csv", COLUMNS, rows)
