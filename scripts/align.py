#!/usr/bin/env python
"""Align the words and phones of a shard: cuts -> alignment/{shard}.parquet and alignment/rejected.{shard}.jsonl."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechladder import settings
from speechladder.io.errors import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, required=True, help="corpus/cuts.{shard}.jsonl.gz")
    parser.add_argument("--truth", type=Path, help="corpus/truth.{shard}.parquet, for --aligner truth")
    parser.add_argument("--out", type=Path, required=True, help="alignment/{shard}.parquet")
    parser.add_argument("--rejected", type=Path, required=True, help="alignment/rejected.{shard}.jsonl")
    parser.add_argument("--models", type=Path, help="alignment/mfa, for --aligner mfa")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the aligner (%(default)s)")
    settings.add_max_rejected(parser)
    settings.add_options(parser, settings.Alignment)
    args = parser.parse_args()

    from speechladder.alignment.run import align_shard

    section = settings.from_options(args, settings.Alignment)
    align_shard(args.cuts, args.truth, section, args.max_rejected, args.out, args.rejected, args.jobs, args.models)


if __name__ == "__main__":
    main()
