#!/usr/bin/env python
"""Pre-train hubert-micro: iterations of masked prediction on natural and synthetic speech; resumes where it was killed.

The shipped weights come from --recipe src/speechladder/assets/hubert-micro/recipe.yaml --data ../shared/data
"""

import argparse
import os
from pathlib import Path

# the thread count is part of the weights' bits
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from speechladder.command import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="recipe.yaml: data, sizes, iterations, seed")
    parser.add_argument("--data", type=Path, required=True, help="what the recipe's data paths are relative to")
    parser.add_argument("--work", type=Path, required=True, help="synthetic speech, targets, checkpoints, models")
    parser.add_argument("--out", type=Path, help="where the last iteration's HF folder goes as well")
    args = parser.parse_args()

    from speechladder.units.pretrain import run

    run(args.recipe, args.data, args.work, args.out)


if __name__ == "__main__":
    main()
