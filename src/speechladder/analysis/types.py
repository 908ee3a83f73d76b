"""results/types.csv: the accuracy of each type of a task, so that no average hides a type below chance.

The types are the phenomena of sBLIMP, the lengths of the words of sWUGGY, the halves of Topic-SC, or what an official
benchmark or a file of pairs calls type. The accuracies of table.csv are means over ids, so a type weighs as much as it
has ids. The world's phenomena have the same number, up to one.
"""

from collections.abc import Sequence
from pathlib import Path

from speechladder.analysis.accuracy import Outcomes, accuracy, generator
from speechladder.analysis.csv_tables import percent, write_csv
from speechladder.analysis.table import Scores
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import CHANCE, NORMS
from speechladder.settings import Analysis

COLUMNS = ("rung", "task", "type", "norm", "n", "accuracy", "low", "high", "below_chance")


def write_types(results: Path, rungs: Sequence[str], scores: Scores, seed: int, analysis: Analysis) -> None:
    """Write results/types.csv in percent; `n` counts pairs, or twos.

    `below_chance` is true if the interval, as printed, lies wholly below 50.
    """
    rows = []
    for rung in rungs:
        for task in TASKS:
            pairs = scores[rung, task]
            types, outcomes = pairs.type_of_trial(), {norm: pairs.outcomes(norm) for norm in NORMS}
            for kind in sorted(set(types.values())):
                for norm, found in outcomes.items():
                    columns = [column for column, name in enumerate(found.ids) if types[name] == kind]
                    own = Outcomes(found.seeds, tuple(found.ids[c] for c in columns), found.values[:, columns])
                    rng = generator(seed, "types", rung, task, kind, norm)
                    cells = [*map(percent, accuracy(own, analysis.confidence, analysis.resamples, rng))]
                    below = str(float(cells[-1]) < 100 * CHANCE).lower()
                    rows.append(dict(zip(COLUMNS, [rung, task, kind, norm, len(columns), *cells, below], strict=True)))
    write_csv(results / "types.csv", COLUMNS, rows)
