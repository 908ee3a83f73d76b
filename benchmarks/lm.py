"""Training and scoring of the language models against named alternatives: the last line is one JSON object.

training_vs_hf_trainer: tokens/s of the step of lm over those of the Trainer of transformers, with the same model,
documents, precision and device. The Trainer is fed as slamkit does it without flash-attention: one document per row, 8
rows, padded; only real tokens count. training_vs_hf_trainer_windows: the same, fed with full windows and attention
across documents, which is fastest. mfu: share of the rate of bare matrix products, measured in the same run.
masking_cost: time of a step within documents over that of a step with plain causal attention, minus one. checkpoint:
cost of a checkpoint as a share of the time between two. scoring_vs_batch_one: see lm_scoring.py.
The model is that of the default run (micro) on a CPU, and TinyLlama 1.1B with window 2048 on a GPU. The Trainer needs
accelerate (pip install -e '.[bench]'). Run it alone on the machine:

    python benchmarks/lm.py --out benchmarks/measured
"""

import argparse
import importlib.util
import json
import os
import platform
import sys
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from rates import hardware

from speechladder.io.files import write_json
from speechladder.lm.model import prepare_torch
from speechladder.lm.output import commit
from speechladder.settings import MODELS


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--document", type=float, default=600.0, help="mean length of a document in tokens (600: 12 s at 50 Hz)"
    )
    parser.add_argument("--model", choices=MODELS, help="default: micro on a CPU, tinyllama-1.1b on a GPU")
    parser.add_argument("--only", choices=("training", "scoring"), help="measure only this half")
    parser.add_argument("--out", type=Path, help="folder in which to write lm-DATE-DEVICE.json too")
    args = parser.parse_args()
    if args.only != "scoring" and not importlib.util.find_spec("accelerate"):
        sys.exit("lm.py: transformers' Trainer needs accelerate: pip install -e '.[bench]', or --only scoring")
    device = prepare_torch(1)
    about = {
        "hardware": hardware(device),
        "date": date.today().isoformat(),
        "commit": commit(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }
    found: dict[str, object] = {}
    if args.only != "scoring":
        import lm_training

        training = lm_training.measure(device, args.document, args.model)
        print(
            f"training: {training['tokens_per_second']:,.0f} tokens/s, {training['mfu']:.1%} of matrix products; waits "
            f"for data {training['data_wait']:.1%}, optimiser {training['optimizer_share']:.1%} of the step.\n"
            f"limited by {training['limited_by']}"
        )
        found |= training
    if args.only != "training":
        import lm_scoring

        found |= lm_scoring.measure()
    result = found | about
    if args.out:
        write_json(args.out / f"lm-{about['date']}-{device.type}.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
