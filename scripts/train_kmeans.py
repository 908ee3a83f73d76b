#!/usr/bin/env python3
"""Train the k-means codebook -> units/centroids.safetensors."""

import argparse
import os
from pathlib import Path

from speechladder.io.errors import script
from speechladder.settings import Units, add_options, from_options


@script
def main() -> None:
    """Parse, call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=Path, required=True, help="sample.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="centroids.safetensors to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first centroids; default 0")
    add_options(parser, Units)
    args = parser.parse_args()
    units = from_options(args, Units)
    os.environ["OMP_NUM_THREADS"] = "1"
    from speechladder.units.codebook import train

    train(args.sample, args.out, units.clusters, units.iterations, units.max_points_per_centroid, args.seed)


if __name__ == "__main__":
    main()
