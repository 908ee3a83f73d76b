"""Draw the report's figures (SVG and PNG) from the tables in the results folder."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    """Parse, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder with table.csv and the other tables")
    args = parser.parse_args()

    from speechladder.report import figures

    figures.draw_all(args.results, args.results / "figures")


if __name__ == "__main__":
    main()
