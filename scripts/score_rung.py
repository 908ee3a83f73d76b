"""Score the benchmark items of one rung with its models: -> scores/{rung}/{task}.parquet and learning.parquet."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from speechladder.command import script
from speechladder.settings import Scores, add_options, from_options


@script
def main() -> None:
    """Parse, score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, type=Path, help="folders lm/{rung}/seed{n}, all seeds")
    parser.add_argument("--items", nargs="+", required=True, type=Path, help="benchmarks/{task}/items.parquet")
    parser.add_argument(
        "--tokens", nargs="+", required=True, type=Path, help="benchmarks/{task}/{rung}.parquet, same order"
    )
    parser.add_argument("--out", nargs="+", required=True, type=Path, help="scores/{rung}/{task}.parquet, same order")
    parser.add_argument("--curve", required=True, type=Path, help="scores/{rung}/learning.parquet")
    parser.add_argument("--split", default="", help="split of an official benchmark that the learning curve is of")
    add_options(parser, Scores)
    args = parser.parse_args()
    options = from_options(args, Scores)
    if not len(args.items) == len(args.tokens) == len(args.out):
        parser.error("--items, --tokens and --out belong together, one of each per task")
    from speechladder.benchmarks.score import score_rung

    score_rung(args.models, args.items, args.tokens, args.out, args.curve, options, split=args.split)


if __name__ == "__main__":
    main()
