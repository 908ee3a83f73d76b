"""How several runs differ: rung by rung and step by step, paired where the items are the same.

The first run is the base. A rung of another run is compared with the same rung of the base as two rungs of a run are
(analysis.factors), over the ids that both scored and that stand for the same texts. Holm's adjustment is over the rungs
of one run, task and norm. A step, such as factor C, is compared as a difference of differences: each resample draws ids
once for all four models, and seeds for each of them.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.analysis.accuracy import Outcomes, ScoredPairs, generator
from speechladder.analysis.causes import item_texts
from speechladder.analysis.csv_tables import fixed, percent, percent_cells, read_csv
from speechladder.analysis.factors import STEPS, Step, compare, estimate_jointly, holm
from speechladder.analysis.table import estimate_accuracy, read_scores, starts_at_floor
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.settings import Analysis

Row = dict[str, str]


def run_settings(results: Path) -> dict[str, Any]:
    """The settings that a run recorded; empty without a record."""
    path = results / "run.json"
    content = read_json(path) if path.is_file() else {}
    return content.get("settings", {}) if isinstance(content, dict) else {}


def run_rungs(results: Path) -> list[str]:
    """The rungs of a run's table. Raises UserError without a table."""
    return [row["rung"] for row in read_csv(results / "table.csv", ["rung"])]


def read_run(results: Path, rungs: Sequence[str]) -> dict[tuple[str, str], ScoredPairs]:
    """The scores of some rungs of a run; of sLM21 those of the split that its table shows."""
    benchmarks = run_settings(results).get("benchmarks", {})
    split = benchmarks["slm21_splits"][0] if benchmarks.get("slm21") else None
    return read_scores(results, rungs, split)


def same_trials(base: Path, other: Path, task: str) -> set[str]:
    """The ids, and names of crossed twos, of a task that stand for the same texts in both runs."""
    ours, theirs = item_texts(base, task), item_texts(other, task)
    different = {ours[name][2] for name in ours if ours[name] != theirs.get(name)}
    different |= {theirs[name][2] for name in theirs if theirs[name] != ours.get(name)}
    same = {name for name, texts in ours.items() if theirs.get(name) == texts}
    return same | ({texts[2] for texts in ours.values()} - different - {""})


def compare_run(base: Path, other: Path, analysis: Analysis, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """The rungs and the steps of `other` against those of `base`, a row for each task and norm.

    Accuracies are in percent and differences in points. Where no item is the same, differences and p-values are empty.
    Raises UserError if a table or the scores of a run are missing.
    """
    rungs = [rung for rung in run_rungs(base) if rung in run_rungs(other)]
    if not rungs:
        raise UserError(f"{other}/table.csv has no rung of {base}/table.csv; compare runs that share a rung")
    scores = read_run(base, rungs), read_run(other, rungs)
    same = {task: same_trials(base, other, task) for task in TASKS}
    rows, steps = [], []
    for task, norm in product(TASKS, NORMS):
        pairs = [[kept(scores[run][rung, task].outcomes(norm), same[task]) for run in (0, 1)] for rung in rungs]
        rows += list(_rungs(rungs, pairs, (scores[0], task, norm), analysis, seed))
        known = dict(zip(rungs, pairs))
        for factor, start, end in STEPS:
            if {start, end} <= known.keys():
                steps.append(_step(factor, [*known[start], *known[end]], task, norm, analysis, seed))
    return rows, steps


def kept(outcomes: Outcomes, names: set[str]) -> Outcomes:
    """The outcomes of these ids and twos."""
    at = [column for column, name in enumerate(outcomes.ids) if name in names]
    return Outcomes(outcomes.seeds, tuple(outcomes.ids[column] for column in at), outcomes.values[:, at])


def _rungs(
    rungs: Sequence[str], pairs: list[list[Outcomes]], of: tuple[Any, str, str], analysis: Analysis, seed: int
) -> Iterator[Row]:
    scores, task, norm = of
    found: list[Step | None] = []
    for rung, (before, after) in zip(rungs, pairs):
        shared = set(before.ids) & set(after.ids)
        random = generator(seed, "compare", rung, task, norm)
        found.append(compare(before, after, analysis.confidence, analysis.resamples, random) if shared else None)
    adjusted = iter(holm([step.p_value for step in found if step]))
    decimals = len(str(analysis.resamples))
    for rung, step in zip(rungs, found):
        floor = starts_at_floor(estimate_accuracy(scores[rung, task], rung, task, norm, seed, analysis))
        row = {
            "rung": rung,
            "task": task,
            "norm": norm,
            "ids": str(step.ids if step else 0),
            "floor": str(floor).lower(),
        }
        row |= {"from_accuracy": percent(step.start), "to_accuracy": percent(step.end)} if step else {}
        row |= percent_cells("difference", step.difference if step else None)
        yield row | {"p_holm": fixed(next(adjusted), decimals) if step else ""}


def _step(factor: str, four: list[Outcomes], task: str, norm: str, analysis: Analysis, seed: int) -> Row:
    """`four`: the start of the step in the base and in the other run, and its end in both."""
    row = {"factor": factor, "task": task, "norm": norm}
    if not set.intersection(*(set(outcomes.ids) for outcomes in four)):
        return row | percent_cells("difference", None)
    random = generator(seed, "compare steps", factor, task, norm)

    def change(values: np.ndarray) -> np.ndarray:
        return (values[3] - values[1] - (values[2] - values[0]))[None]

    _, (estimate,) = estimate_jointly(four, change, analysis, random)
    return row | percent_cells("difference", estimate)
