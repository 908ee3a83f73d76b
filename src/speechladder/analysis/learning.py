"""results/learning.csv: accuracy against training tokens (PAPER.md, Fig. 1)."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.analysis.accuracy import NORMS, accuracy, generator, match_halves
from speechladder.analysis.csv_tables import fixed, percent, write_csv
from speechladder.analysis.table import Scores
from speechladder.io.tables import LEARNING, read_table
from speechladder.settings import TASKS, Analysis

COLUMNS = ("rung", "task", "norm", "train_tokens", "accuracy", "low", "high")


def points(table: pa.Table) -> list[tuple[float, pa.Table]]:
    """The rows of each point of one task's curve with the tokens seen, ascending; the last are the weights kept.

    Snapshots are taken at planned steps: a point holds those of all seeds, and one that a seed has not, since it
    converged before, is left out. The weights kept may be of another step in each seed; their point lies at the mean,
    and snapshots from there on are left out too.
    """
    if not table.num_rows:
        return []
    seeds, seen = table["seed"].to_numpy(), table["train_tokens"].to_numpy()
    final = table["final"].to_numpy(zero_copy_only=False)
    each = np.unique(seeds)
    end = float(np.mean([seen[final & (seeds == seed)][0] for seed in each]))
    shared = reduce(np.intersect1d, [np.unique(seen[~final & (seeds == seed)]) for seed in each])
    found = [(float(at), table.filter(pa.array(~final & (seen == at)))) for at in shared if at < end]
    return [*found, (end, table.filter(pa.array(final)))]


def write_learning(results: Path, rungs: Sequence[str], scores: Scores, seed: int, analysis: Analysis) -> None:
    """Write results/learning.csv in percent; only the header where the learning curve was not scored.

    Every point of a curve is of the same pairs in the same voice, the weights kept included: fewer pairs than the
    table's, and no jump at the end by another choice of items.
    """
    rows = []
    for rung in rungs:
        path = results / "scores" / rung / "learning.parquet"
        table = read_table(path, LEARNING)
        for task in TASKS:
            here = points(table.filter(pc.equal(table["task"], task)))
            curve = [(tokens, match_halves(part, f"{path}, {task}")) for tokens, part in here]
            for norm in NORMS:
                for tokens, pairs in curve:
                    # started anew: the points see the same resamples, the curve is smooth
                    rng = generator(seed, "learning", rung, task, norm)
                    found = accuracy(pairs.outcomes(norm), analysis.confidence, analysis.resamples, rng)
                    rows.append(dict(zip(COLUMNS, [rung, task, norm, fixed(tokens, 0), *map(percent, found)])))
    write_csv(results / "learning.csv", COLUMNS, rows)
