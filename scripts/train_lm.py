"""Train the language model of one rung: tokens/{rung} -> lm/{rung}/seed{n}, an ordinary HF folder.

Interrupted, the same command goes on from its last checkpoint (kept beside the output until it is there). With
--processes N it starts N processes by torchrun, one per GPU; on several nodes start it by torchrun itself:
torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 scripts/train_lm.py ...
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost a shared machine more than they give

from speechladder.command import script
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
    if not options.init:  # which may be a hub's
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from speechladder.lm.launch import LAUNCHED, is_worker, launch

    if options.processes > 1 and not is_worker():
        launch(Path(__file__).resolve(), sys.argv[1:], options.processes, args.out)
        return
    from speechladder.lm.train import INTERRUPTED, train

    try:
        train(args.tokens, args.out, args.seed, options)
    except SystemExit as stop:
        if stop.code != INTERRUPTED or LAUNCHED not in os.environ:
            raise


if __name__ == "__main__":
    main()
