"""Write benchmark items as tokens of one rung, several tasks in one call."""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from speechladder.command import script
from speechladder.io.errors import UserError


@script
def main() -> None:
    """Parse, tokenize each task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", required=True, help="folder tokens/{rung}: rung, settings and tokenizer")
    parser.add_argument("--items", nargs="+", required=True, help="benchmarks/{task}/items.parquet of each task")
    parser.add_argument("--units", nargs="*", default=[], help="benchmarks/{task}/units.parquet, in the same order")
    parser.add_argument("--out", nargs="+", required=True, help="benchmarks/{task}/{rung}.parquet, in the same order")
    args = parser.parse_args()
    units = args.units or [None] * len(args.items)
    if not len(args.items) == len(units) == len(args.out):
        raise UserError("--items, --units and --out must name the same tasks in the same order")
    from speechladder.benchmarks.tokens import tokenize_items

    for paths in zip(args.items, units, args.out):
        tokenize_items(args.tokens, *paths)


if __name__ == "__main__":
    main()
