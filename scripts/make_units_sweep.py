"""Gather the units sweep into one table, and draw factor C over its points."""

import argparse
from pathlib import Path

from speechladder.command import script
from speechladder.io.errors import UserError
from speechladder.settings import Analysis, Point, add_options, from_options


def _point(name: str) -> Point:
    try:
        return Point.parse(name)
    except ValueError as error:
        raise UserError(f"--points: {error}") from None


@script
def main() -> None:
    """Parse, combine, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the run's own results, with phone-repeat scored")
    parser.add_argument("--points", nargs="+", required=True, help="names of all points, in the order of the rows")
    parser.add_argument("--quality", type=Path, nargs="+", required=True, help="quality.json of each layer")
    parser.add_argument(
        "--trained",
        nargs="*",
        default=[],
        metavar="POINT=FOLDER",
        help="folder with lm/ and scores/ of a trained point",
    )
    parser.add_argument("--out", type=Path, required=True, help="units_sweep.csv to write")
    parser.add_argument("--figures", type=Path, required=True, help="folder for units_sweep.svg and .png")
    parser.add_argument("--split", help="of sLM21: the one that table.csv has")
    parser.add_argument("--seed", type=int, default=0, help="the run's seed, for the resampling. Default: 0")
    add_options(parser, Analysis)
    args = parser.parse_args()
    if wrong := [word for word in args.trained if "=" not in word]:
        raise UserError(f"--trained: {wrong[0]!r} is not POINT=FOLDER")

    from speechladder.analysis.units_sweep import write_units_sweep
    from speechladder.report.units_sweep import draw_units_sweep

    points = [_point(name) for name in args.points]
    trained = {name: Path(folder) for name, folder in (word.split("=", 1) for word in args.trained)}
    analysis = from_options(args, Analysis)
    write_units_sweep(args.results, points, args.quality, trained, args.out, args.seed, analysis, args.split)
    draw_units_sweep(args.out, args.figures)


if __name__ == "__main__":
    main()
