#!/usr/bin/env python3
"""Turn the speech of a shard, or of a benchmark's items, into units -> a UNITS table."""

import argparse
import os
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Units, add_max_rejected, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cuts", type=Path, help="cuts.{shard}.jsonl.gz; needs --alignment and --rejected")
    source.add_argument("--items", type=Path, nargs="+", help="benchmarks/{task}/items.parquet, one or more")
    parser.add_argument("--alignment", type=Path, help="alignment/{shard}.parquet: only aligned utterances are taken")
    parser.add_argument("--centroids", type=Path, required=True, help="centroids.safetensors")
    parser.add_argument("--speakers", type=Path, nargs="*", default=[], help="statistics of speakers, where needed")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="units file to write, one for each input")
    parser.add_argument("--rejected", type=Path, help="rejected.{shard}.jsonl to write")
    add_max_rejected(parser)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; other counts round differently; default 1")
    add_options(parser, Units)
    args = parser.parse_args()
    if args.cuts and not (args.alignment and args.rejected):
        parser.error("--cuts needs --alignment and --rejected")
    if len(args.out) != len(args.items or [args.cuts]):
        parser.error("--out needs as many files as there are inputs")
    units = from_options(args, Units)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from speechladder.units.extract import extract_all_items, extract_shard

    book = args.centroids
    if args.cuts:
        files = args.cuts, args.alignment, book, args.out[0], args.rejected
        extract_shard(*files, units, args.max_rejected, args.speakers)
    else:
        extract_all_items(args.items, book, args.out, units, args.speakers)


if __name__ == "__main__":
    main()
