#!/usr/bin/env python3
"""Write what your own tokenizer has to encode: audio of items and prompts, and lists of them and of the utterances."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--items", type=Path, nargs="*", default=[], help="benchmarks/{task}/items.parquet, prompts.parquet"
    )
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="cuts.{shard}.jsonl.gz of every shard")
    parser.add_argument(
        "--copy-cuts", action="store_true", help="a FLAC file for each utterance too, not read in place"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    from speechladder.units.external.listing import write_listing

    write_listing(args.items, args.cuts, args.out, args.copy_cuts)


if __name__ == "__main__":
    main()
