#!/usr/bin/env python
"""Make the utterances of a shard: generated and spoken (world), or a folder read in place (local)."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechladder import settings
from speechladder.io.errors import UserError, script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=int, required=True, help="which shard, from 0")
    parser.add_argument("--cuts", type=Path, required=True, help="corpus/cuts.{shard}.jsonl.gz")
    parser.add_argument("--rejected", type=Path, required=True, help="corpus/rejected.{shard}.jsonl")
    parser.add_argument("--audio", type=Path, help="corpus/audio/{shard}, a folder (world)")
    parser.add_argument("--truth", type=Path, help="corpus/truth.{shard}.parquet (world)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world (%(default)s)")
    settings.add_options(parser, settings.Corpus)
    args = parser.parse_args()
    section = settings.from_options(args, settings.Corpus)

    if section.name == "local":
        from speechladder.corpora.local import build_shard as build_local

        build_local(section, args.shard, args.cuts, args.rejected)
    else:
        if not args.audio or not args.truth:
            raise UserError("--audio and --truth: the world needs a folder for its audio and a file for its truth")
        from speechladder.corpora.world_speech import build_shard as build_world

        build_world(section, args.seed, args.shard, args.cuts, args.audio, args.truth, args.rejected)


if __name__ == "__main__":
    main()
