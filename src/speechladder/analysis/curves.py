"""results/layers.csv and learning.csv: accuracy against layers and training tokens (the paper's Figs. 1-3)."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.analysis.accuracy import accuracy, generator, match_halves
from speechladder.analysis.csv_tables import fixed, percent, write_csv
from speechladder.analysis.table import Scores
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.tables import LEARNING, read_table
from speechladder.settings import Analysis

LAYERS_COLUMNS = ("rung", "task", "norm", "layer", "accuracy", "low", "high")
LEARNING_COLUMNS = ("rung", "task", "norm", "train_tokens", "accuracy", "low", "high")


def write_layers(results: Path, rungs: Sequence[str], scores: Scores, seed: int, analysis: Analysis) -> None:
    """Write results/layers.csv in percent; layer 0 is the embedding. Without scores of layers it has only a header."""
    rows = []
    for rung in rungs:
        for task in TASKS:
            pairs = scores[rung, task]
            for norm in NORMS:
                for layer in range(pairs.layers):
                    # each layer starts the same generator, so all see the same resamples and the curve is smooth
                    rng = generator(seed, "layers", rung, task, norm)
                    outcomes = pairs.outcomes(norm, layer)
                    found = accuracy(outcomes, analysis.confidence, analysis.resamples, rng)
                    rows.append(dict(zip(LAYERS_COLUMNS, [rung, task, norm, layer, *map(percent, found)])))
    write_csv(results / "layers.csv", LAYERS_COLUMNS, rows)


def curve_points(table: pa.Table) -> list[tuple[float, pa.Table]]:
    """The points of one task's curve as (tokens seen, rows), ascending; the last point is that of the kept weights.

    Snapshots are taken at planned steps, and a point holds the snapshots of all seeds. A step that one seed lacks,
    because that seed converged earlier, is left out. The kept weights may come from a different step in each seed.
    Their point lies at the mean of these steps, and later snapshots are left out.
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
    """Write results/learning.csv in percent; it has only the header if the learning curve was not scored.

    Every point of a curve, that of the kept weights included, uses the same pairs in the same voice. These are fewer
    pairs than those of table.csv, so that the curve does not jump at its end.
    """
    rows = []
    for rung in rungs:
        path = results / "scores" / rung / "learning.parquet"
        table = read_table(path, LEARNING)
        for task in TASKS:
            here = curve_points(table.filter(pc.equal(table["task"], task)))
            curve = [(tokens, match_halves(part, f"{path}, {task}")) for tokens, part in here]
            for norm in NORMS:
                for tokens, pairs in curve:
                    # each point starts the same generator, so all see the same resamples and the curve is smooth
                    rng = generator(seed, "learning", rung, task, norm)
                    found = accuracy(pairs.outcomes(norm), analysis.confidence, analysis.resamples, rng)
                    rows.append(dict(zip(LEARNING_COLUMNS, [rung, task, norm, fixed(tokens, 0), *map(percent, found)])))
    write_csv(results / "learning.csv", LEARNING_COLUMNS, rows)
