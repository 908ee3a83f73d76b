#!/usr/bin/env python3
"""Turn the speech of a shard, or of a benchmark's items, into units -> a UNITS table."""

import argparse
import os
from pathlib import Path

from speechladder.io.errors import script
from speechladder.settings import Units, add_max_rejected, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cuts", type=Path, help="cuts.{shard}.jsonl.gz; needs --alignment and --rejected")
    source.add_argument("--items", type=Path, help="benchmarks/{task}/items.parquet")
    parser.add_argument("--alignment", type=Path, help="alignment/{shard}.parquet: only aligned utterances are taken")
    parser.add_argument("--centroids", type=Path, required=True, help="centroids.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="units Parquet file to write")
    parser.add_argument("--rejected", type=Path, help="rejected.{shard}.jsonl to write")
    add_max_rejected(parser)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; other counts round differently; default 1")
    add_options(parser, Units)
    args = parser.parse_args()
    if args.cuts and not (args.alignment and args.rejected):
        parser.error("--cuts needs --alignment and --rejected")
    units = from_options(args, Units)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from speechladder.units.extract import extract_items, extract_shard

    if args.cuts:
        extract_shard(
            args.cuts, args.alignment, args.centroids, args.out, args.rejected, units, max_rejected=args.max_rejected
        )
    else:
        extract_items(args.items, args.centroids, args.out, units)


if __name__ == "__main__":
    main()
