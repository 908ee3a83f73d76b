#!/usr/bin/env python3
"""Units of a shard, or of items, by several codebooks of one layer, encoded once -> a folder of {codebook}.parquet."""

import argparse
import os
from pathlib import Path

from speechladder.io.errors import script
from speechladder.settings import Units, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cuts", type=Path, help="cuts.{shard}.jsonl.gz; needs --shard and --utterances")
    source.add_argument("--items", type=Path, nargs="+", help="benchmarks/{task}/items.parquet, one or more")
    parser.add_argument("--shard", type=int, help="number of the shard")
    parser.add_argument("--utterances", type=Path, help="tokens/utterances.parquet: what every rung sees")
    parser.add_argument("--codebooks", type=Path, nargs="+", required=True, help="{codebook}.safetensors of the layer")
    parser.add_argument("--speakers", type=Path, nargs="*", default=[], help="speakers.safetensors, voices.safetensors")
    parser.add_argument("--out", type=Path, nargs="+", required=True, help="folder to write, one for each input")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; other counts round differently; default 1")
    add_options(parser, Units)
    args = parser.parse_args()
    if args.cuts and (args.shard is None or not args.utterances):
        parser.error("--cuts needs --shard and --utterances")
    if len(args.out) != len(args.items or [args.cuts]):
        parser.error("--out needs as many folders as there are inputs")
    units = from_options(args, Units)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from speechladder.units.sweep import extract_items, extract_shard

    books = args.codebooks, args.speakers
    if args.cuts:
        extract_shard(args.cuts, args.utterances, args.shard, *books, args.out[0], units)
    else:
        extract_items(args.items, *books, args.out, units)


if __name__ == "__main__":
    main()
