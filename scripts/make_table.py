"""Make the report's tables in --results: table, factors, layers, learning, continuation, costs, rejected (.csv)."""

import argparse
from pathlib import Path

from speechladder import settings
from speechladder.command import script


@script
def main() -> None:
    """Parse, read the scores once, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder with tokens, lm, scores, costs")
    parser.add_argument("--rungs", nargs="+", required=True, help="rungs in the table's order")
    parser.add_argument("--shards", type=int, required=True, help="shards of the corpus, for costs and rejects")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="seeds of the models, for costs")
    parser.add_argument("--seed", type=int, default=0, help="the run's seed, for the resampling. Default: 0")
    parser.add_argument("--spoken", nargs="*", default=[], help="rungs that went on speaking and were judged")
    parser.add_argument("--splits", nargs="*", default=[], help="of sLM21: slm21.csv has each, the others the first")
    settings.add_options(parser, settings.Analysis)
    args = parser.parse_args()
    analysis = settings.from_options(args, settings.Analysis)

    from speechladder.analysis import continuation, costs, factors, layers, learning, rejected, slm21, table

    scores = table.read_scores(args.results, args.rungs, args.splits[0] if args.splits else None)
    said = continuation.write_continuation(args.results, args.spoken, args.seed, analysis)
    table.write_table(args.results, args.rungs, scores, args.seed, analysis, said)
    for write in (factors.write_factors, layers.write_layers, learning.write_learning):
        write(args.results, args.rungs, scores, args.seed, analysis)
    if args.splits:
        slm21.write_slm21(args.results, args.rungs, args.splits, args.seed, analysis)
    costs.write_costs(args.results, costs.jobs_of(args.shards, args.rungs, args.seeds))
    rejected.write_rejected(args.results, args.shards)


if __name__ == "__main__":
    main()
