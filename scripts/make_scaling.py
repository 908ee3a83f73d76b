"""Gather the models of several sizes and shares of the data into scaling.csv, fit power laws, draw them."""

import argparse
from itertools import product
from pathlib import Path

from speechladder.command import script
from speechladder.io.errors import UserError
from speechladder.settings import TASKS, Analysis, add_options, from_options


@script
def main() -> None:
    """Parse, gather, fit, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rungs", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", required=True, help="names of scaling.sizes")
    parser.add_argument("--fractions", nargs="+", type=float, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True, help="of the models of each point")
    parser.add_argument(
        "--tokens", nargs="+", type=Path, required=True, help="token folders: for each rung, each size, each fraction"
    )
    parser.add_argument("--models", nargs="+", type=Path, required=True, help="in the same order, all seeds of a point")
    parser.add_argument("--scores", nargs="+", type=Path, required=True, help="in the same order, all tasks of a point")
    parser.add_argument("--split", help="split of an official benchmark; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals")
    parser.add_argument("--out", type=Path, required=True, help="scaling.csv to write")
    parser.add_argument("--fits", type=Path, required=True, help="scaling_fits.csv to write")
    parser.add_argument("--figures", type=Path, required=True, help="folder for scaling.svg and .png")
    add_options(parser, Analysis)
    args = parser.parse_args()
    points = list(product(args.rungs, args.sizes, args.fractions))
    for name, each in (("tokens", 1), ("models", len(args.seeds)), ("scores", len(TASKS))):
        if len(getattr(args, name)) != each * len(points):
            raise UserError(f"--{name} names {len(getattr(args, name))} paths; {each} for each of {len(points)} points")

    from speechladder.analysis.scaling import Point, write_fits, write_scaling
    from speechladder.report.scaling import draw_scaling

    analysis, seeds, tasks = from_options(args, Analysis), len(args.seeds), len(TASKS)
    found = [
        Point(*point, args.tokens[n], args.models[n * seeds :][:seeds], args.scores[n * tasks :][:tasks])
        for n, point in enumerate(points)
    ]
    write_scaling(found, args.out, args.seed, analysis, args.split)
    write_fits(args.out, args.fits, analysis.confidence)
    draw_scaling(args.out, analysis.confidence, args.figures)


if __name__ == "__main__":
    main()
