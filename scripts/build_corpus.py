#!/usr/bin/env python
"""Make the utterances of a shard: generated and spoken (world), or read in place from folders, tars and manifests."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechladder import settings
from speechladder.command import script
from speechladder.io.errors import UserError


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=int, required=True, help="which shard, from 0")
    parser.add_argument("--cuts", type=Path, required=True, help="corpus/cuts.{shard}.jsonl.gz")
    parser.add_argument("--rejected", type=Path, required=True, help="corpus/rejected.{shard}.jsonl")
    parser.add_argument("--audio", type=Path, help="corpus/audio/{shard}, a folder (world)")
    parser.add_argument("--truth", type=Path, help="corpus/truth.{shard}.parquet (world)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world (%(default)s)")
    parser.add_argument("--manifest", type=Path, help="corpus/manifest, a folder (libriheavy)")
    for name, text in (
        ("roots", "folders with the audio (librispeech, libriheavy)"),
        ("tars", "tars with the audio, read in place (libriheavy)"),
        ("indexes", "tables of their members, in the same order (libriheavy)"),
    ):
        parser.add_argument(f"--{name}", type=Path, nargs="*", default=[], help=text)
    settings.add_options(parser, settings.Corpus)
    args = parser.parse_args()
    section = settings.from_options(args, settings.Corpus)

    if section.name == "libriheavy":
        from speechladder.corpora.libriheavy import Recordings, build_shard

        if not args.manifest or len(args.tars) != len(args.indexes):
            raise UserError("--manifest, --indexes: libriheavy needs its manifest, and an index for each of --tars")
        recordings = Recordings(args.roots, dict(zip(map(str, args.tars), args.indexes)))
        build_shard(section, args.shard, args.manifest, recordings, args.cuts, args.rejected)
    elif section.name != "world":
        from speechladder.corpora.local import build_shard as build_local

        build_local(section, args.shard, args.cuts, args.rejected, args.roots or None)
    else:
        if not args.audio or not args.truth:
            raise UserError("--audio and --truth: the world needs a folder for its audio and a file for its truth")
        from speechladder.corpora.world_speech import build_shard as build_world

        build_world(section, args.seed, args.shard, args.cuts, args.audio, args.truth, args.rejected)


if __name__ == "__main__":
    main()
