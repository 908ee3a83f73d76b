"""Select the utterances that every rung sees: those that have a transcript, an alignment and units."""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechladder.command import script
from speechladder.settings import add_max_rejected


@script
def main() -> None:
    """Parse, select."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", nargs="+", required=True, help="corpus/cuts.{shard}.jsonl.gz, all shards in order")
    parser.add_argument("--alignment", nargs="+", required=True, help="alignment/{shard}.parquet, in the same order")
    parser.add_argument("--units", nargs="+", required=True, help="units/{shard}.parquet, in the same order")
    parser.add_argument("--out", required=True, help="tokens/utterances.parquet")
    parser.add_argument("--rejected", required=True, help="tokens/rejected.jsonl")
    add_max_rejected(parser)
    args = parser.parse_args()
    from speechladder.rungs.utterances import select

    select(args.cuts, args.alignment, args.units, args.out, args.rejected, args.max_rejected)


if __name__ == "__main__":
    main()
