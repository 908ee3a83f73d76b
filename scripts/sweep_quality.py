#!/usr/bin/env python3
"""Quality of all codebooks of a layer on the same speech, encoded once -> units_sweep/layer{n}/quality.json."""

import argparse
import os
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Sweep, Units, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="cuts.{shard}.jsonl.gz of every shard")
    parser.add_argument("--alignment", type=Path, nargs="+", required=True, help="{shard}.parquet, in the same order")
    parser.add_argument("--codebooks", nargs="+", required=True, metavar="NAME=FILE", help="the layer's codebooks")
    parser.add_argument("--speakers", type=Path, nargs="*", default=[], help="speakers.safetensors, where needed")
    parser.add_argument("--out", type=Path, required=True, help="quality.json to write")
    parser.add_argument("--minutes", type=float, default=Sweep().minutes, help="speech looked at (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the utterances looked at; default 0")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; other counts round differently; default 1")
    add_options(parser, Units)
    args = parser.parse_args()
    units = from_options(args, Units)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from speechladder.units.diagnostics.sweep import measure

    codebooks = {name: Path(file) for name, _, file in (word.partition("=") for word in args.codebooks)}
    speech = args.cuts, args.alignment
    measure(*speech, codebooks, args.speakers, args.out, units, args.minutes, args.seed)


if __name__ == "__main__":
    main()
