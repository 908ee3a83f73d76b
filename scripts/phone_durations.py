#!/usr/bin/env python
"""Mean durations of the training phones: cuts and alignments -> alignment/durations.json."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    """Parse, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", nargs="+", required=True, type=Path, help="corpus/cuts.{shard}.jsonl.gz")
    parser.add_argument(
        "--alignments", nargs="+", required=True, type=Path, help="alignment/{shard}.parquet, same order"
    )
    parser.add_argument("--out", required=True, type=Path, help="alignment/durations.json")
    args = parser.parse_args()

    from speechladder.alignment.durations import measure

    measure(args.cuts, args.alignments, args.out)


if __name__ == "__main__":
    main()
