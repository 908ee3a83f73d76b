#!/usr/bin/env python
"""Scores of one model on sLM21 in zerospeech's submission format: lexical/{split}.txt, syntactic/{split}.txt."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    """Parse, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slm21", required=True, type=Path, help="sLM21, a folder or .zip: which recordings there are")
    parser.add_argument("--swuggy", required=True, type=Path, help="scores/{rung}/swuggy.parquet")
    parser.add_argument("--sblimp", required=True, type=Path, help="scores/{rung}/sblimp.parquet")
    parser.add_argument("--splits", nargs="+", default=["dev"], help="default: dev")
    parser.add_argument("--seed", type=int, default=0, help="seed of the model; default: 0")
    parser.add_argument(
        "--norm", choices=("sum", "mean"), default="sum", help="log-likelihood; default: sum over tokens"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder submission/{rung}/seed{seed}")
    args = parser.parse_args()

    from speechladder.benchmarks.submission import export_slm21

    scores = {"swuggy": args.swuggy, "sblimp": args.sblimp}
    export_slm21(args.slm21, scores, args.splits, args.seed, args.norm, args.out)


if __name__ == "__main__":
    main()
