#!/usr/bin/env python3
"""Take the units of your own tokenizer: deal them to shards, then take a shard's, or those of items -> UNITS tables."""

import argparse
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Units, add_max_rejected, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--deal", action="store_true", help="deal --path to the shards of --cuts -> the folder --out")
    what.add_argument("--dealt", type=Path, help="that folder: take the units of --shard")
    what.add_argument(
        "--items", type=Path, nargs="+", help="benchmarks/{task}/items.parquet or continuation/prompts.parquet"
    )
    parser.add_argument(
        "--cuts", type=Path, nargs="+", help="cuts.{shard}.jsonl.gz of every shard in order, or of --shard"
    )
    parser.add_argument("--shard", type=int, help="number of the shard")
    parser.add_argument("--alignment", type=Path, help="alignment/{shard}.parquet: only aligned utterances are taken")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="what to write, one for each of --items")
    parser.add_argument("--rejected", type=Path, help="rejected.{shard}.jsonl to write")
    add_max_rejected(parser)
    add_options(parser, Units)
    args = parser.parse_args()
    units = from_options(args, Units)
    if units.source != "given":
        parser.error("--source given and --path are needed")
    if len(args.out) != len(args.items or [0]):
        parser.error("--out needs as many files as there are --items")
    if not args.items and not args.cuts:
        parser.error("--cuts is needed")
    from speechladder.units.external.read import files_of

    if args.deal:
        from speechladder.units.external.partition import deal

        deal(files_of(units.path), args.cuts, args.out[0])
        return
    from speechladder.units.external.load import take_items, take_shard

    if args.items:
        field = "units.items_path" if units.items_path else "units.path"
        take_items(args.items, args.out, files_of(units.items_path or units.path, field), units)
        return
    if args.shard is None or not args.alignment or not args.rejected:
        parser.error("--dealt needs --shard, --alignment and --rejected")
    files = args.cuts[0], args.alignment, args.out[0], args.rejected
    take_shard(args.dealt, args.shard, *files, units, args.max_rejected)


if __name__ == "__main__":
    main()
