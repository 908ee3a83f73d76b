"""Scoring 10,000 sWUGGY-like pairs with benchmarks.score against scoring one item at a time: one JSON line.

Both score the same items with the same model in the same precision (fp32). Ours does what `score_rung` does. The
other is a plain loop over items: `model(input_ids)` of transformers with its own attention (sdpa), log-softmax, sum. A
pair is a word and a non-word of random tokens, as long as isolated words at 50 Hz (--rate), with a common beginning
(--shared). The plain loop runs over a sample of the items (--sample), evenly spread over their lengths, and is scaled
by tokens; ours runs over all. Rounds alternate. `scoring_vs_batch_one` compares wall-clock time on a GPU and process
time on a CPU, which is more reliable on a shared machine. The script fails if the two differ in a score.

    python benchmarks/lm_scoring.py
    python benchmarks/lm_scoring.py --size tinyllama-1.1b --vocabulary 2052 --batch-tokens 65536    # on a GPU
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import date
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from generation import hardware

from speechladder.benchmarks.score import unique_nll
from speechladder.lm.model import build_model, prepare_torch
from speechladder.lm.output import commit
from speechladder.rungs.tokenizers import BOS, EOS, PAD
from speechladder.settings import LM, Scores

SIZES = {
    "micro": (128, 4, 4, 4, 352),
    "30m": (512, 8, 8, 8, 1408),
    "125m": (768, 12, 12, 12, 2048),
    "350m": (1024, 24, 16, 16, 2816),
    "tinyllama-1.1b": (2048, 22, 32, 4, 5632),
}
DIMENSIONS = ("hidden_size", "layers", "heads", "kv_heads", "intermediate_size")
TOLERANCE = 1e-4  # nats per token, between ours and one at a time
WORD_SECONDS, SPREAD = 0.75, 0.3  # of an isolated word: mean and relative standard deviation


def pairs(count: int, rate: float, vocabulary: int, shared: float) -> list[np.ndarray]:
    """2 `count` sequences `<s> tokens`, word and non-word in turn."""
    rng, out = np.random.default_rng(0), []
    for seconds in WORD_SECONDS * np.exp(rng.normal(0, SPREAD, count)):
        lengths = [max(2, round(rate * seconds * factor)) for factor in np.exp(rng.normal(0, 0.08, 2))]
        word, other = (rng.integers(4, vocabulary, length) for length in lengths)
        same = min(round(shared * len(word)), len(other) - 1)
        other[:same] = word[:same]
        out += [np.array([BOS, *ids], np.uint16) for ids in (word, other)]
    return out


@torch.no_grad()
def one_at_a_time(model: torch.nn.Module, items: list[np.ndarray]) -> np.ndarray:
    """(n,) nats, by a loop over items."""
    device, out = model.lm_head.weight.device, []
    for item in items:
        ids = torch.from_numpy(item.astype(np.int64)).to(device)[None]
        logits = model(input_ids=ids).logits
        scores = torch.log_softmax(logits[0, :-1].float(), -1)
        out.append(-scores.gather(1, ids[0, 1:, None]).sum().item())
    return np.array(out)


def timed(call: Callable[[], np.ndarray], device: torch.device) -> tuple[np.ndarray, float, float]:
    """The result of `call`, and the seconds of the clock and of the process."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def measure(
    size: str = "micro",
    count: int = 10_000,
    rate: float = 50.0,
    vocabulary: int = 104,
    shared: float = 0.25,
    sample: int = 1000,
    batch_tokens: int | None = None,
    rounds: int = 3,
    threads: int = 1,
) -> dict[str, Any]:
    """`scoring_vs_batch_one` and, under `scoring`, its conditions. Raise SystemExit if the scores differ."""
    device = prepare_torch(threads)
    batch_tokens = batch_tokens or (Scores().batch_tokens if device.type == "cpu" else 65_536)
    settings = LM(**dict(zip(DIMENSIONS, SIZES[size])))
    special = {"vocab_size": vocabulary, "pad_id": PAD, "bos_id": BOS, "eos_id": EOS}
    model = build_model(settings, special, 0).to(device).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # random weights give flat predictions; larger ones differ from each other
    items = pairs(count, rate, vocabulary, shared)
    order = np.argsort([len(item) for item in items], kind="stable")
    chosen = order[:: max(1, len(items) // sample)]
    some = [items[i] for i in chosen]
    tokens = sum(map(len, items))
    share = sum(map(len, some)) / tokens

    def ours() -> np.ndarray:
        model.set_attn_implementation("packed")
        return unique_nll(model, items, [0] * len(items), batch_tokens, False, "ours")[0][:, 0]

    def theirs() -> np.ndarray:
        model.set_attn_implementation("sdpa")
        return one_at_a_time(model, some)

    model.set_attn_implementation("sdpa")
    one_at_a_time(model, some[::10])  # kernels are compiled once per shape
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "batch_one": []}
    for _ in range(rounds):
        found, *taken = timed(ours, device)
        seconds["ours"].append(tuple(taken))
        plain, *taken = timed(theirs, device)
        seconds["batch_one"].append(tuple(value / share for value in taken))
    worst = float(np.abs((found[chosen] - plain) / np.array([len(item) - 1 for item in some])).max())
    if not worst < TOLERANCE:
        raise SystemExit(f"scores differ by up to {worst:.2g} nats per token; allowed: {TOLERANCE:g}")
    kind = 0 if device.type == "cuda" else 1
    best = {name: min(values, key=lambda value: value[kind]) for name, values in seconds.items()}
    # one ratio per round, so that a busy spell of the machine affects both
    ratios = [one[kind] / our[kind] for our, one in zip(*seconds.values())]
    conditions = {
        "rounds": [round(ratio, 2) for ratio in ratios],
        "clock": "wall" if device.type == "cuda" else "process",
        "model": size,
        "parameters": model.num_parameters(),
        "vocabulary": vocabulary,
        "precision": "fp32",
        "pairs": count,
        "tokens": tokens,
        "tokens_per_item": round(tokens / len(items), 1),
        "shared_beginning": shared,
        "batch_tokens": batch_tokens,
        "batch_one_sample": len(some),
        "batch_one_is": f"measured on {len(some)} of {len(items)} items, scaled by tokens",
        "tokens_per_second": {name: round(tokens / value[kind]) for name, value in best.items()},
        "seconds": {name: {"wall": round(w, 2), "process": round(c, 2)} for name, (w, c) in best.items()},
        "largest_difference_nats_per_token": float(f"{worst:.2g}"),
        "hardware": hardware(device, threads),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": date.today().isoformat(),
        "commit": commit(),
    }
    return {"scoring_vs_batch_one": round(float(np.median(ratios)), 2), "scoring": conditions}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="micro")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=50.0, help="tokens per second of speech; phone-raw has 11")
    parser.add_argument("--vocabulary", type=int, default=104)
    parser.add_argument("--shared", type=float, default=0.25, help="share of a word with which its non-word begins too")
    parser.add_argument("--sample", type=int, default=1000, help="items scored one at a time")
    parser.add_argument("--batch-tokens", type=int, help="scores.batch_tokens; default: 2048 on a CPU, 65536 on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    found = measure(
        args.size,
        args.pairs,
        args.rate,
        args.vocabulary,
        args.shared,
        args.sample,
        args.batch_tokens,
        args.rounds,
        args.threads,
    )
    print(json.dumps({"benchmark": "lm_scoring"} | found))


if __name__ == "__main__":
    main()
