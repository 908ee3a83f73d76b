"""The run's own recogniser: trigrams, pronunciations and voices of the train split -> folder continuation/asr."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from speechladder.command import script


@script
def main() -> None:
    """Parse, build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", nargs="+", required=True, type=Path, help="corpus/cuts.{shard}.jsonl.gz")
    parser.add_argument("--alignments", nargs="*", default=[], type=Path, help="alignment/{shard}.parquet of the cuts")
    parser.add_argument("--corpus", choices=("world", "local"), default="world", help="whose words; default: world")
    parser.add_argument("--out", required=True, type=Path, help="folder continuation/asr")
    args = parser.parse_args()

    from speechladder.continuation.asr.pocketsphinx import build

    build(args.cuts, args.alignments, args.out, args.corpus)


if __name__ == "__main__":
    main()
