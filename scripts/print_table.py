"""Print results/table.csv in the terminal, and say where the figures are."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    """Parse, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="default: results")
    args = parser.parse_args()

    from speechladder.report.terminal import show

    show(args.results)


if __name__ == "__main__":
    main()
