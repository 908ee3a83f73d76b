"""results/layers.csv: what each layer knows, through the final norm and the output head (PAPER.md, Figs. 2-3)."""

from collections.abc import Sequence
from pathlib import Path

from speechladder.analysis.accuracy import NORMS, accuracy, generator
from speechladder.analysis.csv_tables import percent, write_csv
from speechladder.analysis.table import Scores
from speechladder.settings import TASKS, Analysis

COLUMNS = ("rung", "task", "norm", "layer", "accuracy", "low", "high")


def write_layers(results: Path, rungs: Sequence[str], scores: Scores, seed: int, analysis: Analysis) -> None:
    """Write results/layers.csv in percent, layer 0 the embedding; only the header where layers were not scored."""
    rows = []
    for rung in rungs:
        for task in TASKS:
            pairs = scores[rung, task]
            for norm in NORMS:
                for layer in range(pairs.layers):
                    # one generator per curve, started anew: the layers see the same resamples, the curve is smooth
                    rng = generator(seed, "layers", rung, task, norm)
                    outcomes = pairs.outcomes(norm, layer)
                    found = accuracy(outcomes, analysis.confidence, analysis.resamples, rng)
                    rows.append(dict(zip(COLUMNS, [rung, task, norm, layer, *map(percent, found)])))
    write_csv(results / "layers.csv", COLUMNS, rows)
