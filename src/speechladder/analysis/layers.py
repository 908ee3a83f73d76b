"""results/layers.csv: the accuracy of each layer through the final norm and the output head (the paper's Figs. 2-3)."""

from collections.abc import Sequence
from pathlib import Path

from speechladder.analysis.accuracy import accuracy, generator
from speechladder.analysis.csv_tables import percent, write_csv
from speechladder.analysis.table import Scores
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.settings import Analysis

COLUMNS = ("rung", "task", "norm", "layer", "accuracy", "low", "high")


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
                    rows.append(dict(zip(COLUMNS, [rung, task, norm, layer, *map(percent, found)])))
    write_csv(results / "layers.csv", COLUMNS, rows)
