"""Gather the runs over the variability dial into one table, and draw it."""

import argparse
from pathlib import Path

from speechladder.command import script
from speechladder.io.errors import UserError


@script
def main() -> None:
    """Parse, combine, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="table.csv of each run")
    parser.add_argument("--dial", type=int, nargs="+", required=True, help="corpus.variability of each run")
    parser.add_argument("--out", type=Path, required=True, help="variability.csv to write")
    parser.add_argument("--figures", type=Path, required=True, help="folder for variability.svg and .png")
    args = parser.parse_args()
    if len(args.tables) != len(args.dial):
        raise UserError(f"--tables names {len(args.tables)} files and --dial {len(args.dial)} settings; one for each")

    from speechladder.analysis.variability import combine
    from speechladder.report import figures

    combine(zip(args.dial, args.tables), args.out)
    figures.draw_variability(args.out, args.figures)


if __name__ == "__main__":
    main()
