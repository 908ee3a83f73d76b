"""Tokens per second of continuation.decoding and of transformers' `generate`, as one line of JSON.

Both have the same model, prompts, batch, sampling and precision, float64; transformers is also measured in float32.
Tokens are rows times steps. CPU seconds of the process are more reliable on a shared machine than wall-clock seconds.
Without --model the model is a Llama of the default size with random weights. Run nothing else on the machine:

    python benchmarks/generation.py --model results/lm/speech-hubert/seed0
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from hardware import processor

from speechladder.continuation.decoding import NEVER, generate
from speechladder.lm.model import build_model, load_model, prepare_torch
from speechladder.lm.output import commit
from speechladder.rungs.tokenizers import BOS, EOS, PAD
from speechladder.settings import LM, Continuation

SPECIAL = {"vocab_size": 104, "pad_id": PAD, "bos_id": BOS, "eos_id": EOS}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder lm/{rung}/seed{n}; without it: random weights")
    parser.add_argument("--prompts", type=int, default=24, help="number of prompts")
    parser.add_argument("--samples", type=int, default=3, help="samples of each prompt")
    parser.add_argument("--prompt-tokens", type=int, default=230, help="mean length of a prompt")
    parser.add_argument("--tokens", type=int, default=250, help="new tokens of each sample")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    device = prepare_torch(args.threads)
    model = (load_model(args.model) if args.model else build_model(LM(), SPECIAL, 0)).to(device).eval()
    rng, options = np.random.default_rng(0), Continuation()
    lengths = rng.integers(round(0.8 * args.prompt_tokens), round(1.2 * args.prompt_tokens) + 1, args.prompts)
    prompts = [[BOS, *rng.integers(4, model.config.vocab_size, n - 1).tolist()] for n in lengths]
    numbers = rng.random((args.prompts, args.samples, args.tokens))
    rows = args.prompts * args.samples

    def ours() -> int:
        found = generate(model, prompts, numbers, options.temperature, options.top_p, rows)
        return rows * max(len(ids) + ended for samples in found for ids, ended in samples)

    def theirs(cache: str) -> Callable[[], int]:
        width = max(map(len, prompts))
        ids = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)

        def call() -> int:
            out = model.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                temperature=options.temperature,
                top_p=options.top_p,
                top_k=0,
                suppress_tokens=NEVER,
                max_new_tokens=args.tokens,
                num_return_sequences=args.samples,
                cache_implementation=cache,
                disable_compile=True,
            )
            return rows * (out.shape[1] - width)

        return call

    found = {"ours": measure(ours, device)}
    model.set_attn_implementation("sdpa")
    for precision, dtype in (("fp64", torch.float64), ("fp32", torch.float32)):
        model.to(dtype)
        for cache in ("dynamic", "static"):
            found[f"transformers_{precision}_{cache}"] = measure(theirs(cache), device)
    best = max(found[f"transformers_fp64_{cache}"]["tokens_per_cpu_second"] for cache in ("dynamic", "static"))
    about = {
        "benchmark": "generation",
        "model": str(args.model or "random"),
        "parameters": model.num_parameters(),
        "rows": rows,
        "prompt_tokens": args.prompt_tokens,
        "new_tokens": args.tokens,
        "sampling": {"temperature": options.temperature, "top_p": options.top_p},
        "precision": "fp64",
        "ratio": round(found["ours"]["tokens_per_cpu_second"] / best, 2),  # to transformers' faster cache in fp64
        "hardware": hardware(device, args.threads),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": commit(),
    }
    print(json.dumps(about | found))


def measure(call: Callable[[], int], device: torch.device) -> dict[str, float]:
    """Tokens per second of a call. A short first call is repeated, because it includes the warm-up."""
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if wall > 10:
            break
    rates = {"tokens_per_second": tokens / wall, "tokens_per_cpu_second": tokens / cpu}
    return {"tokens": tokens} | {k: round(v, 1) for k, v in rates.items()}


def hardware(device: torch.device, threads: int) -> str:
    """The name of the GPU, or of the processor with the number of its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {threads} of {os.cpu_count()} threads"


if __name__ == "__main__":
    main()
