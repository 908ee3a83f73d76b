"""Let the models of one rung go on from each prompt: -> continuation/{rung}/tokens.parquet."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from speechladder.command import script
from speechladder.settings import Continuation, add_options, from_options


@script
def main() -> None:
    """Parse, continue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", required=True, type=Path, help="folders lm/{rung}/seed{n}, all seeds")
    parser.add_argument("--tokens", required=True, type=Path, help="folder tokens/{rung}: rung, settings and tokenizer")
    parser.add_argument("--prompts-file", required=True, type=Path, help="continuation/prompts.parquet")
    parser.add_argument("--units", nargs="?", type=Path, help="continuation/units.parquet, for rungs of units")
    parser.add_argument("--out", required=True, type=Path, help="continuation/{rung}/tokens.parquet")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is sampled; default: 0")
    add_options(parser, Continuation)
    args = parser.parse_args()
    options = from_options(args, Continuation)
    from speechladder.continuation.generate import continue_rung

    continue_rung(args.models, args.tokens, args.prompts_file, args.units, args.out, options, args.seed)


if __name__ == "__main__":
    main()
