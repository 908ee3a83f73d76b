"""Train the run's own judge: text that no rung sees -> continuation/judge.

Interrupted, the same command goes on from its last checkpoint (kept beside the output until it is there).
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost a shared machine more than they give

from speechladder.command import script
from speechladder.settings import LM, Continuation, Tokens, add_options, from_options


@script
def main() -> None:
    """Parse, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, type=Path, help="folder with train.txt and valid.txt")
    parser.add_argument("--out", required=True, type=Path, help="folder continuation/judge to write: tokens, model")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order; default: 0")
    add_options(parser, Continuation)
    add_options(parser, LM)
    add_options(parser, Tokens)
    args = parser.parse_args()
    settings, lm, tokens = (from_options(args, section) for section in (Continuation, LM, Tokens))
    os.environ["OMP_NUM_THREADS"] = str(lm.threads)
    if settings.asr != "whisper":  # whose normaliser may be a hub's
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from speechladder.continuation.asr import normaliser
    from speechladder.continuation.judge.run import train_judge

    train_judge(args.text, args.out, args.seed, settings, lm, tokens, normaliser(settings))


if __name__ == "__main__":
    main()
