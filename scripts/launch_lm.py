#!/usr/bin/env python
"""Start scripts/train_lm.py as the machine or the SLURM job allows.

One process is started by plain python, several on one node by torchrun, and several nodes by srun with a torchrun on
each node. The arguments after -- go to train_lm.py:

    python scripts/launch_lm.py --processes 8 -- --tokens results/tokens/text-bpe --out results/lm/text-bpe/seed0
"""

import argparse
import os
import shlex
import socket
from pathlib import Path

from speechladder.command import script
from speechladder.lm.launch import launch_command, read_allocation


@script
def main() -> None:
    """Parse, and replace this process by the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, help="processes in all (default: one for each GPU of the job, else 1)")
    parser.add_argument(
        "--host", default=socket.gethostname(), help="name by which other nodes reach this one (default: %(default)s)"
    )
    parser.add_argument(
        "--trainer", type=Path, default=Path(__file__).with_name("train_lm.py"), help="the script to start"
    )
    parser.add_argument("--show", action="store_true", help="print the command and start nothing")
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENT", help="arguments of train_lm.py")
    args = parser.parse_args()
    words = launch_command(args.trainer, args.arguments, read_allocation(os.environ), args.host, args.processes)
    if args.show:
        print(shlex.join(words))
        return
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
