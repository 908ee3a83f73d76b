#!/usr/bin/env python
"""PNMI of an encoder's layers against MFCC + deltas on the same frames: natural speech, and speech of every voice."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from speechladder.command import script
from speechladder.io.files import write_json


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="hubert-micro", help="hubert-micro, a folder or a hub id (%(default)s)")
    parser.add_argument("--natural", type=Path, help="folder in LibriSpeech layout, aligned by PocketSphinx")
    parser.add_argument("--sentences", type=int, default=0, help="sentences of the world to speak and score as well")
    parser.add_argument("--clusters", type=int, default=100, help="k-means clusters (%(default)s)")
    parser.add_argument("--kmeans-seeds", type=int, default=3, help="k-means runs to average (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the figures, as JSON")
    args = parser.parse_args()

    from speechladder.units.diagnostics import compare

    figures = {}
    if args.natural:
        speech, rejected = compare.natural_speech(args.natural)
        figures["natural"] = compare.compare(args.encoder, speech, args.clusters, args.kmeans_seeds)
        figures["natural"]["rejected"] = rejected
    if args.sentences:
        speech = compare.world_speech(args.sentences, seed=1)
        figures["world"] = compare.compare(args.encoder, speech, args.clusters, args.kmeans_seeds)
    write_json(args.out, {"encoder": args.encoder, **figures})


if __name__ == "__main__":
    main()
