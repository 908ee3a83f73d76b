#!/usr/bin/env python
"""Train the Montreal Forced Aligner's acoustic model on the run's own train split -> the folder it is run with."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="corpus/cuts.{shard}.jsonl.gz, all shards")
    parser.add_argument("--models", type=Path, required=True, help="folder alignment/mfa_dictionary")
    parser.add_argument("--hours", type=float, required=True, help="speech to train on at most")
    parser.add_argument("--jobs", type=int, default=1, help="processes of MFA (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder alignment/mfa")
    args = parser.parse_args()

    from speechladder.alignment.mfa.train import train

    train(args.cuts, args.models, args.hours, args.out, args.jobs)


if __name__ == "__main__":
    main()
