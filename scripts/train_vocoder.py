"""Train the run's own vocoder: cuts and units of the train split -> the folder continuation/vocoder."""

import argparse
import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # the thread count is part of the weights' bits
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from speechladder.command import script
from speechladder.settings import Continuation, add_options, from_options


@script
def main() -> None:
    """Parse, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", nargs="+", required=True, type=Path, help="corpus/cuts.{shard}.jsonl.gz, all shards")
    parser.add_argument("--units", nargs="+", required=True, type=Path, help="units/{shard}.parquet, all shards")
    parser.add_argument("--out", required=True, type=Path, help="folder continuation/vocoder to write")
    parser.add_argument("--clusters", required=True, type=int, help="units.clusters")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order; default: 0")
    add_options(parser, Continuation)
    args = parser.parse_args()
    options = from_options(args, Continuation)
    from speechladder.continuation.vocoder.train import train_vocoder

    train_vocoder(args.cuts, args.units, args.out, options, args.clusters, args.seed)


if __name__ == "__main__":
    main()
