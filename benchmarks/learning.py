"""Time to words: what the training loop learns per CPU second, against the loop of d4d11fd. The last line is JSON.

learning_vs_adamw: CPU seconds of the training that d4d11fd shipped, over those that the default settings of now need to
reach its validation loss on phone-repeat, in bits per second of speech. The old training is carried out here, with its
own settings, step and attention (loop_d4d11fd.py). A schedule that is cut off before its end has not learnt what a
complete one has. So the new training is run for several numbers of steps, each time from the start with its whole
schedule: for more and more steps until one reaches the loss, then for numbers between the last two until they are
within 5 %. What counts is the fastest of those that reached the loss. Bar: 3.0.
tokens_per_second_vs_d4d11fd: tokens per CPU second of a step of now with the default settings over one of d4d11fd with
its own, in turn, the median of several rounds, both on whole documents (a curriculum's first ones are short, so their
attention is cheap). Bar: 1.3. same_settings is that ratio with the old settings for both:
optimiser, windows in a step.

Seconds are those of the CPU for steps and their data, in one thread, without validation. The world is made here, by the
workflow's own rules (units included, which every utterance of a rung needs), with a seed that no table reads; tokens of
another run can be given. Takes some fifteen minutes of two idle cores, ten of them for the trainings:

    python benchmarks/learning.py --out benchmarks/measured
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import loop_d4d11fd
import torch
from hardware import about

from speechladder.io.files import write_json
from speechladder.lm.curriculum import Curriculum, make_batches
from speechladder.lm.model import autocast, build_model, prepare_torch, resolve_precision
from speechladder.lm.prefetch import Prefetch
from speechladder.lm.schedule import learning_rate, planned_steps
from speechladder.lm.step import TrainState
from speechladder.lm.validation import Validation
from speechladder.rungs.data import TokenData
from speechladder.settings import LM

ROOT = Path(__file__).resolve().parent.parent
RUNG = "phone-repeat"
GROWTH, WITHIN = 1.4, 1.05  # factor between numbers of steps on the way up, and of the last two
ROUNDS, ROUND_TOKENS, WARM = 5, 32_768, 3


class Trained(NamedTuple):
    """A whole training: its steps, its CPU seconds, and its validation in bits per second of speech."""

    steps: int
    seconds: float
    bits: float


class Bench:
    """Both loops on the tokens of one rung."""

    def __init__(self, tokens: Path, seed: int) -> None:
        self.device, self.seed = prepare_torch(1), seed
        if self.device.type != "cpu":
            sys.exit("learning.py: measures CPU seconds; hide the GPU by CUDA_VISIBLE_DEVICES=")
        self.data, self.valid = TokenData(tokens, "train"), TokenData(tokens, "valid")
        self.precision = resolve_precision("auto", self.device)

    def old_steps(self) -> Callable[[int, int], torch.nn.Module]:
        """A function (first step, number of steps of 320) that trains a new model by the loop of d4d11fd."""
        settings = loop_d4d11fd.SETTINGS
        batches = make_batches(self.data, RUNG, self.seed, settings)
        loop = loop_d4d11fd.Loop(build_model(settings, self.data.meta, self.seed), self.precision)

        def steps(first: int, count: int) -> torch.nn.Module:
            for step in range(first, first + count):
                loop.step(batches.at(step), loop_d4d11fd.learning_rate(step, settings.max_steps))
            return loop.model

        return steps

    def new_steps(self, settings: LM) -> Callable[[int, int], torch.nn.Module]:
        """The same by the loop of now with `settings`."""
        batches = make_batches(self.data, RUNG, self.seed, settings)
        total = planned_steps(settings, batches)
        if isinstance(batches, Curriculum):
            batches.plan(total)
        model = build_model(settings, self.data.meta, self.seed)
        state = TrainState(model, settings, self.device, self.precision)
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float32

        def steps(first: int, count: int) -> torch.nn.Module:
            with Prefetch(batches, first, 0, 1, settings.batch_windows, False, kind, False) as data:
                feed = iter(data)
                for step in range(first, first + count):
                    state.train_step(next(feed), learning_rate(settings, step, total))
            return model

        return steps

    def train(self, steps: Callable[[int, int], torch.nn.Module], count: int) -> Trained:
        """One whole training: its CPU seconds, and its validation in bits per second of speech."""
        begun = time.process_time()
        model = steps(0, count)
        seconds = time.process_time() - begun
        model.set_attn_implementation("packed")
        with autocast(self.device, self.precision):
            bits = Validation(self.valid, LM().valid_seconds).bits(model)[1]
        print(f"{count:5d} steps: {seconds:6.1f} CPU seconds, {bits:.2f} bits/s", file=sys.stderr)
        return Trained(count, seconds, bits)

    def reach(self, target: float) -> tuple[Trained | None, list[Trained]]:
        """The fastest whole training of now that reaches `target`, None if none does, and all that were tried."""

        def whole(count: int) -> Trained:
            settings = LM(max_steps=count, max_passes=1e9)
            return self.train(self.new_steps(settings), count)

        most, count = LM().max_steps, LM().max_steps // 16
        tried = [whole(count)]
        while tried[-1].bits > target:
            if count == most:
                return None, tried
            count = min(most, round(count * GROWTH))
            tried.append(whole(count))
        low, high = tried[-2].steps if len(tried) > 1 else count, count
        while high > WITHIN * low:
            tried.append(whole((low + high) // 2))
            low, high = (low, tried[-1].steps) if tried[-1].bits <= target else (tried[-1].steps, high)
        return min((t for t in tried if t.bits <= target), key=lambda t: t.seconds), tried

    def rates(self) -> dict[str, list[float]]:
        """Tokens per CPU second of each round: the old loop, the new one, and the new one with the old settings."""
        old = loop_d4d11fd.SETTINGS
        new = LM(run_curriculum=0.0)
        runs = {
            "d4d11fd": (self.old_steps(), old),
            "now": (self.new_steps(new), new),
            "same_settings": (self.new_steps(old), old),
        }
        found: dict[str, list[float]] = {name: [] for name in runs}
        for steps, _ in runs.values():
            steps(0, WARM)
        for number in range(ROUNDS):
            for name, (steps, settings) in runs.items():
                per_step = settings.window * settings.batch_windows
                count = ROUND_TOKENS // per_step
                begun = time.process_time()
                steps(WARM + number * count, count)
                found[name].append(count * per_step / (time.process_time() - begun))
        return found


def make_tokens(folder: Path, seed: int, hours: float | None) -> Path:
    """tokens/phone-repeat of a world with that seed, by the rules of the workflow."""
    config = [f"rungs=[{RUNG}]", f"seed={seed}"] + ([f"corpus={{hours: {hours}}}"] if hours else [])
    target = f"results/tokens/{RUNG}"
    command = [sys.executable, "-m", "snakemake", target, "--snakefile", ROOT / "Snakefile", "--directory", folder]
    subprocess.run([*command, "--cores", "all", "--quiet", "--config", *config], check=True, stdout=sys.stderr)
    return folder / "results" / "tokens" / RUNG


def measure(tokens: Path, seed: int) -> dict[str, Any]:
    """The figures and their conditions."""
    bench = Bench(tokens, seed)
    rates = bench.rates()
    ratios = {
        name: median(new / old for new, old in zip(rates[name], rates["d4d11fd"])) for name in ("now", "same_settings")
    }
    old = bench.train(bench.old_steps(), loop_d4d11fd.SETTINGS.max_steps)
    reached, tried = bench.reach(old.bits)
    return {
        "learning_vs_adamw": round(old.seconds / reached.seconds, 2) if reached else None,
        "tokens_per_second_vs_d4d11fd": round(ratios["now"], 3),
        "same_settings": round(ratios["same_settings"], 3),
        "target_bits_per_second": round(old.bits, 3),
        "d4d11fd": {"steps": old.steps, "cpu_seconds": round(old.seconds, 1)},
        "now": {"steps": reached.steps, "cpu_seconds": round(reached.seconds, 1)} if reached else None,
        "tried": [{"steps": t.steps, "cpu_seconds": round(t.seconds, 1), "bits": round(t.bits, 3)} for t in tried],
        "tokens_per_second": {name: round(median(values)) for name, values in rates.items()},
        "train_tokens": bench.data.meta["tokens"]["train"],
        "precision": bench.precision,
        "lm_seed": seed,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, help=f"a folder tokens/{RUNG}; default: that of a world made here")
    parser.add_argument("--hours", type=float, help="hours of that world; default: as in the settings")
    parser.add_argument("--seed", type=int, default=111, help="seed of that world, and of the models")
    parser.add_argument("--out", type=Path, help="folder in which to write learning-DATE.json too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tokens = args.tokens or make_tokens(Path(folder), args.seed, args.hours)
        result = measure(tokens, args.seed)
    result |= {"world": "given tokens" if args.tokens else f"seed {args.seed}"} | about(1)
    if args.out:
        write_json(args.out / f"learning-{result['date']}.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
