#!/usr/bin/env python3
"""Train the k-means codebook -> units/centroids.safetensors, and its objectives -> units/kmeans.jsonl."""

import argparse
import os
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Units, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=Path, required=True, help="sample.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="centroids.safetensors to write")
    parser.add_argument("--log", type=Path, help="the objective of every iteration of every start, JSON lines to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first centroids; default 0")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of kmeans: torch; default 1")
    parser.add_argument("--kmeans-device", help="kmeans: torch: cpu, cuda, cuda:1; default: cuda where there is one")
    add_options(parser, Units)
    args = parser.parse_args()
    units = from_options(args, Units)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from speechladder.units.codebook import train

    train(
        args.sample,
        args.out,
        units.clusters,
        units.iterations,
        units.max_points_per_centroid,
        args.seed,
        log=args.log,
        backend=units.kmeans,
        init=units.kmeans_init,
        restarts=units.kmeans_restarts,
        precision=units.kmeans_precision,
        device=args.kmeans_device,
    )


if __name__ == "__main__":
    main()
