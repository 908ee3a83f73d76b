"""results/external.csv: models that others trained beside those of the run, on the same items."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from speechladder.analysis.accuracy import ScoredPairs, match_halves, read_scored_pairs, select_split
from speechladder.analysis.csv_tables import interval_columns, percent_cells, write_csv
from speechladder.analysis.table import estimate_accuracy
from speechladder.benchmarks.external.layout import version_of
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.tables import EXTERNAL_SCORES, read_table
from speechladder.settings import Analysis

COLUMNS = (
    *("model", "trained_here", "version", "task", "norm", "seeds", "ids"),
    *(*interval_columns("accuracy"), *interval_columns("pairwise")),
)


def make_external(
    scores: Sequence[Path],
    out: Path,
    analysis: Analysis,
    results: Path = Path("results"),
    rungs: Sequence[str] = (),
    seed: int = 0,
    split: str | None = None,
) -> None:
    """Write results/external.csv, in percent: a row for each model, version of the items, task and norm.

    `accuracy` is over twos where the pairs of the task have them and `pairwise` over single pairs, as in table.csv,
    whose cells the rungs of the run repeat.

    Args:
        scores: external/{name}.parquet of each model, in the order of the rows
        out: external.csv to write
        results: the run's results, with the scores of `rungs`
        rungs: rungs of the run whose models are scored, in the order of the rows
        seed: the seed of the run, for the resampling
        split: split of an official benchmark (default: all)
    """
    rows = []
    for path in scores:
        table = read_table(path, EXTERNAL_SCORES)
        for version in pc.unique(table["version"]).to_pylist():
            for task in TASKS:
                pairs = _pairs(table, version, task, split, path)
                rows += _rows((path.stem, False, version, task), f"{path.stem} {version}", pairs, seed, analysis)
    for rung in rungs:
        for task in TASKS:
            pairs = read_scored_pairs(results / "scores" / rung / f"{task}.parquet", split)
            rows += _rows((rung, True, version_of(rung), task), rung, pairs, seed, analysis)
    write_csv(out, COLUMNS, rows)


def _pairs(table: pa.Table, version: str, task: str, split: str | None, path: Path) -> ScoredPairs:
    own = table.filter(pc.and_(pc.equal(table["version"], version), pc.equal(table["task"], task)))
    source = f"{path}, {version} of {task}"
    return match_halves(select_split(own, split, source), source)


def _rows(
    of: tuple[str, bool, str, str], name: str, pairs: ScoredPairs, seed: int, analysis: Analysis
) -> Iterator[dict[str, object]]:
    """A row for each norm."""
    model, here, version, task = of
    facts = {"model": model, "trained_here": str(here).lower(), "version": version, "task": task}
    for norm in NORMS:
        crossed, single = (estimate_accuracy(pairs, name, task, norm, seed, analysis, both) for both in (True, False))
        counts = {"norm": norm, "seeds": len(pairs.seeds), "ids": len(pairs.outcomes(norm).ids)}
        yield facts | counts | percent_cells("accuracy", crossed) | percent_cells("pairwise", single)
