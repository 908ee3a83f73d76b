#!/usr/bin/env python3
"""Measure the phone discriminability (ABX) of the encoder's features -> units/abx.json."""

import argparse
import os
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Units, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="cuts.{shard}.jsonl.gz of every shard")
    parser.add_argument("--alignment", type=Path, nargs="+", required=True, help="{shard}.parquet, in the same order")
    parser.add_argument("--out", type=Path, required=True, help="abx.json to write")
    parser.add_argument("--speakers", type=Path, nargs="*", default=[], help="speakers.safetensors, where needed")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing; default 0")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; other counts round differently; default 1")
    add_options(parser, Units)
    args = parser.parse_args()
    units = from_options(args, Units)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from speechladder.units.diagnostics.abx_run import write_features

    write_features(args.cuts, args.alignment, args.out, units, args.seed, args.speakers)


if __name__ == "__main__":
    main()
