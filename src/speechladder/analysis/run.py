"""All tables of the report from the results of a run."""

from collections.abc import Sequence
from pathlib import Path

from speechladder.analysis import continuation, costs, curves, factors, rejected, slm21, table, types
from speechladder.settings import Analysis


def write_tables(
    results: Path,
    rungs: Sequence[str],
    shards: int,
    seeds: Sequence[int],
    analysis: Analysis,
    spoken: Sequence[str] = (),
    splits: Sequence[str] = (),
    seed: int = 0,
) -> None:
    """Write the report's tables: table, factors, types, layers, learning, continuation, costs, rejected, slm21 (.csv).

    Args:
        results: folder with tokens, lm, scores and costs, and of the tables
        rungs: rungs in the order of the table
        shards: number of shards of the corpus, for costs and rejects
        seeds: seeds of the models, for costs
        spoken: rungs whose continuations were judged
        splits: splits of sLM21; slm21.csv has each of them, the other tables have the first
        seed: the seed of the run, for the resampling
    """
    scores = table.read_scores(results, rungs, splits[0] if splits else None)
    perplexities = continuation.write_continuation(results, spoken, seed, analysis)
    table.write_table(results, rungs, scores, seed, analysis, perplexities)
    for write in (factors.write_factors, types.write_types, curves.write_layers, curves.write_learning):
        write(results, rungs, scores, seed, analysis)
    if splits:
        slm21.write_slm21(results, rungs, splits, seed, analysis)
    costs.write_costs(results, costs.job_names(shards, rungs, seeds))
    rejected.write_rejected(results, shards)
