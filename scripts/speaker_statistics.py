#!/usr/bin/env python3
"""Mean and variance of each speaker's features -> units/speakers.safetensors; of items' voices -> units/voices."""

import argparse
import os
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Units, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--cuts", type=Path, nargs="+", help="cuts.{shard}.jsonl.gz of every shard; needs --alignment")
    source.add_argument("--items", type=Path, nargs="+", help="items.parquet of tasks, or prompts; needs --speakers")
    parser.add_argument("--alignment", type=Path, nargs="+", help="{shard}.parquet, in the order of --cuts")
    parser.add_argument("--speakers", type=Path, help="speakers.safetensors, whose voices need nothing more")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing; default 0")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; other counts round differently; default 1")
    add_options(parser, Units)
    args = parser.parse_args()
    units = from_options(args, Units)
    if (args.cuts and not args.alignment) or (args.items and not args.speakers):
        parser.error("--cuts needs --alignment, --items needs --speakers")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from speechladder.units.speakers import write_speakers, write_voices

    if args.cuts:
        write_speakers(args.cuts, args.alignment, args.out, units, args.seed)
    else:
        write_voices(args.items, args.speakers, args.out, units, args.seed)


if __name__ == "__main__":
    main()
