#!/usr/bin/env python3
"""Hold the units against phones, speakers and voices -> units/quality.json."""

import argparse
import os
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="cuts.{shard}.jsonl.gz of every shard")
    parser.add_argument("--alignment", type=Path, nargs="+", required=True, help="{shard}.parquet, in the same order")
    parser.add_argument("--units", type=Path, nargs="+", required=True, help="units/{shard}.parquet, same order")
    parser.add_argument("--centroids", type=Path, help="centroids.safetensors; none for units of source: given")
    parser.add_argument("--clusters", type=int, default=0, help="how many units there are, without --centroids")
    parser.add_argument("--features-abx", type=Path, help="ABX of the features, as sample_features.py wrote it")
    parser.add_argument("--abx-minutes", type=float, default=0.0, help="speech for ABX in minutes; default 0: none")
    parser.add_argument("--items", type=Path, nargs="*", default=[], help="benchmarks/{task}/items.parquet")
    parser.add_argument("--item-units", type=Path, nargs="*", default=[], help="benchmarks/{task}/units.parquet")
    parser.add_argument("--out", type=Path, required=True, help="quality.json to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the utterances looked at; default 0")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if len(args.items) != len(args.item_units):
        parser.error("--items and --item-units must name the same tasks")
    if not (args.centroids or args.clusters):
        parser.error("--centroids or --clusters is needed")
    items = {i.parent.name: (i, u) for i, u in zip(args.items, args.item_units, strict=True)}
    if args.centroids:
        from speechladder.units.diagnostics.quality import write_quality

        write_quality(
            cuts=args.cuts,
            alignments=args.alignment,
            units=args.units,
            codebook=args.centroids,
            items=items,
            out=args.out,
            seed=args.seed,
            abx_minutes=args.abx_minutes,
            features_abx=args.features_abx,
        )
    else:
        from speechladder.units.external.quality import write_given_quality

        write_given_quality(
            args.cuts, args.alignment, args.units, args.clusters, items, args.out, args.seed, args.abx_minutes
        )


if __name__ == "__main__":
    main()
