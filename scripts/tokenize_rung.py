"""Write a corpus as tokens of one rung: tokenizer, uint16 tokens per split, their index and figures."""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from speechladder.command import script
from speechladder.settings import Tokens, Units, add_options, from_options


@script
def main() -> None:
    """Parse, pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rung", required=True, help="name of a registered rung")
    parser.add_argument("--utterances", required=True, help="tokens/utterances.parquet")
    parser.add_argument("--cuts", nargs="+", required=True, help="corpus/cuts.{shard}.jsonl.gz, all shards in order")
    parser.add_argument("--alignment", nargs="+", required=True, help="alignment/{shard}.parquet, in the same order")
    parser.add_argument("--units", nargs="+", required=True, help="units/{shard}.parquet, in the same order")
    parser.add_argument("--clusters", type=int, default=Units().clusters, help="units.clusters, the codebook's size")
    parser.add_argument("--out", required=True, help="folder tokens/{rung}")
    add_options(parser, Tokens)
    args = parser.parse_args()
    from speechladder.rungs.pack import pack

    options = from_options(args, Tokens)
    pack(args.rung, args.utterances, args.cuts, args.alignment, args.units, args.out, options, args.clusters)


if __name__ == "__main__":
    main()
