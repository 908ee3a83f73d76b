"""The stage train_lm: one training, in this process or in several that it starts. Loads no torch by itself."""

import os
import sys
from pathlib import Path

from speechladder.lm.launch import INTERRUPTED, LAUNCHED, is_worker, launch_processes
from speechladder.settings import LM


def run_training(tokens: Path, out: Path, settings: LM, seed: int = 0, corpus: str = "") -> None:
    """Train the language model of one rung: tokens/{rung} -> lm/{rung}/seed{n}, an ordinary HF folder.

    After an interruption, the same command continues from its last checkpoint, which lies beside the output until the
    output is there. With --processes N it starts N processes by torchrun, one per GPU. On several nodes, start it by
    torchrun itself:
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 scripts/train_lm.py ...

    Args:
        tokens: folder tokens/{rung}
        out: folder lm/{rung}/seed{n} to write
        seed: seed of the weights and of the order of the data
        corpus: name of the corpus, for the model card
    """
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    if not settings.init:  # lm.init may name a model of the hub
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if settings.processes > 1 and not is_worker():
        launch_processes(Path(sys.argv[0]).resolve(), sys.argv[1:], settings.processes, out)
        return
    from speechladder.lm.train import train_lm

    try:
        train_lm(tokens, out, seed, settings, corpus)
    except SystemExit as stop:
        if stop.code != INTERRUPTED or LAUNCHED not in os.environ:
            raise
