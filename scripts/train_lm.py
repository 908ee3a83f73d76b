"""Train the language model of one rung: tokens/{rung} -> lm/{rung}/seed{n}, an ordinary HF folder.

Interrupted, the same command goes on from its last checkpoint (kept beside the output until it is there).
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost a shared machine more than they give
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from speechladder.io.errors import script
from speechladder.settings import LM, add_options, from_options


@script
def main() -> None:
    """Parse, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", required=True, type=Path, help="folder tokens/{rung}")
    parser.add_argument("--out", required=True, type=Path, help="folder lm/{rung}/seed{n} to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order; default: 0")
    add_options(parser, LM)
    args = parser.parse_args()
    options = from_options(args, LM)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    from speechladder.lm.train import train

    train(args.tokens, args.out, args.seed, options)


if __name__ == "__main__":
    main()
