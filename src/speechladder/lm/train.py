"""The training loop: one Llama from random weights over the packed tokens of a rung.

AdamW with decay on matrices, linear warm-up and cosine, clipping, bf16 autocast where it pays; validated every few
steps in bits per token and bits per second of speech; stops when validation has converged or at a limit, and writes
the best validated weights. Equal inputs give equal weights on one machine, interrupted or not.
"""

import hashlib
import json
import math
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from speechladder.io.errors import UserError
from speechladder.io.files import atomic, atomic_folder, write_json
from speechladder.io.progress import progress, say
from speechladder.lm import checkpoint
from speechladder.lm.batches import IGNORE, Batches
from speechladder.lm.card import write_card
from speechladder.lm.likelihood import sequence_nll
from speechladder.lm.model import attention_blocks, autocast, build, prepare_torch, resolve_precision
from speechladder.rungs.data import TokenData
from speechladder.settings import LM, VERSIONS

BETAS = (0.9, 0.95)  # TinyLlama's
VALID_BATCH_TOKENS = 4096  # with padding
LOGS_PER_VALIDATION = 5
INTERRUPTED = 75  # exit status after SIGTERM: a checkpoint is written, the same command goes on


@dataclass
class State:
    """What a run is at, apart from tensors. Steps are counted from 1 when they are done."""

    step: int = 0
    best_step: int = 0
    best_bits: float = math.inf  # bits per token
    stale: int = 0  # validations since the best


def train(tokens: Path, out: Path, seed: int, settings: LM) -> dict[str, Any]:
    """Train on tokens/{rung} and write lm/{rung}/seed{n}, whole or not at all; resumes from checkpoints beside it.

    Returns (and writes as train.json) rung, seed, train_tokens, steps, passes, valid_bits_per_token,
    valid_bits_per_second, parameters, tokens_per_second (of speech, not of the clock) and why it stopped.
    Raises UserError when the data cannot be trained on, SystemExit(75) after SIGTERM.
    """
    tokens, out = Path(tokens), Path(out)
    device = prepare_torch(settings.threads)
    precision = resolve_precision(settings.precision, device)
    train_data, valid_data = TokenData(tokens, "train"), TokenData(tokens, "valid")
    for data, split in ((train_data, "train"), (valid_data, "valid")):
        if not len(data):
            raise UserError(f"{tokens}/{split}.bin: no utterances; lm needs some (corpus.hours, corpus.valid_fraction)")
    meta = train_data.meta
    batches = Batches(train_data, seed, settings.window, settings.batch_windows)
    total = planned_steps(settings, batches)
    model = build(settings, meta, seed).to(device)
    optimizer = _optimizer(model, settings)
    parameters = sum(p.numel() for p in model.parameters())
    say(
        f"train {meta['rung']} seed {seed}: {parameters:,} parameters, {batches.tokens_per_pass:,} tokens per pass, "
        f"at most {total} steps of {batches.tokens_per_step:,} tokens, {precision}"
    )

    folder = checkpoint.folder_for(out)
    fingerprint = _fingerprint(settings, seed, precision, device, train_data, valid_data)
    state, best = State(), {}
    points = snapshot_steps(settings.learning_points, total)
    snapshots = {step: f"{step * batches.tokens_per_step}.safetensors" for step in points}
    found = checkpoint.load(folder, fingerprint, snapshots)
    if found:
        state, best = _restore(model, optimizer, *found)
        say(f"resuming from step {state.step}")
    checkpoint.start(folder, state.step)
    validation = _Validation(valid_data, settings.valid_seconds)

    def save() -> None:
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | {f"best.{k}": v for k, v in best.items()}
        for number, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in moments.items()}
        checkpoint.save(folder, state.step, tensors, asdict(state), fingerprint)

    label = f"train {meta['rung']} seed {seed}"
    ahead = (total - state.step) * batches.tokens_per_step
    with (
        (folder / "log.jsonl").open("a") as log,
        _sigterm() as interrupted,
        progress(label, ahead, "tokens/s") as meter,
    ):
        begun, trained = time.perf_counter(), 0  # the clock of the log's tokens/s leaves validation out
        while state.step < total and state.stale < settings.patience:
            lr = learning_rate(settings, state.step, total)
            loss = _step(model, optimizer, batches, state.step, lr, settings.clip, precision)
            state.step += 1
            trained += batches.tokens_per_step
            meter.advance(batches.tokens_per_step)
            validate = state.step % settings.valid_every == 0 or state.step == total
            if validate or state.step % max(1, settings.valid_every // LOGS_PER_VALIDATION) == 0:
                row = {
                    "step": state.step,
                    "tokens": state.step * batches.tokens_per_step,
                    "loss": loss.item(),
                    "lr": lr,
                }
                row["tokens_per_second"] = round(trained / (time.perf_counter() - begun), 1)
                if validate:
                    with autocast(device, precision):
                        bits = validation.bits(model)
                    if not math.isfinite(bits[0]):
                        raise UserError(f"{label}: diverged at step {state.step}; lower lm.lr or lm.clip")
                    row |= {"valid_bits_per_token": bits[0], "valid_bits_per_second": bits[1]}
                    state.stale += 1
                    if bits[0] < state.best_bits:
                        state.best_bits, state.best_step, state.stale = bits[0], state.step, 0
                        best = {k: v.clone() for k, v in model.state_dict().items()}
                    meter.advance(0, f"loss {row['loss']:.3f}, valid {bits[0]:.3f} bits/token")
                log.write(json.dumps(row) + "\n")
                log.flush()
                begun, trained = time.perf_counter(), 0
            if state.step in snapshots:
                with atomic(folder / "learning" / snapshots[state.step]) as path:
                    save_file(dict(model.state_dict()), path, metadata={"format": "pt"})
            if state.step % settings.checkpoint_every == 0 or interrupted:
                save()
            if interrupted:
                say(f"{label}: interrupted at step {state.step}; the same command goes on from there")
                sys.exit(INTERRUPTED)

    model.load_state_dict(best)
    bits_per_token, bits_per_second = validation.bits(model)  # once more, in fp32
    summary = {
        "rung": meta["rung"],
        "seed": seed,
        "train_tokens": state.step * batches.tokens_per_step,
        "steps": state.step,
        "passes": state.step * batches.tokens_per_step / batches.tokens_per_pass,
        "best_step": state.best_step,
        "best_tokens": state.best_step * batches.tokens_per_step,
        "valid_bits_per_token": bits_per_token,
        "valid_bits_per_second": bits_per_second,
        "parameters": parameters,
        "tokens_per_second": meta["tokens_per_second"],
        "vocab_size": meta["vocab_size"],
        "precision": precision,
        "stopped": "converged" if state.stale >= settings.patience else "limit",
    }
    _write(model, tokens, folder, out, summary, settings, meta)
    checkpoint.remove(folder)
    return summary


def planned_steps(settings: LM, batches: Batches) -> int:
    """Steps of the whole cosine: the smaller of the step limit and the pass limit, at least one."""
    by_passes = settings.max_passes * batches.tokens_per_pass / batches.tokens_per_step
    return max(1, min(settings.max_steps, math.ceil(by_passes)))


def snapshot_steps(points: int, total: int) -> set[int]:
    """Steps of the learning curve's snapshots: a half, a quarter, ... of the plan; its end is the model itself."""
    return {total >> k for k in range(1, points + 1) if total >> k}


def learning_rate(settings: LM, step: int, total: int) -> float:
    """Rate of the step after `step` done: linear warm-up (of at most half the run), then cosine to min_lr_ratio."""
    warmup = min(settings.warmup_steps, total // 2)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    share = (step - warmup + 1) / (total - warmup)
    low = settings.min_lr_ratio
    return settings.lr * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * share)))


def _optimizer(model: LlamaForCausalLM, settings: LM) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=BETAS, fused=True)


def _step(
    model: LlamaForCausalLM,
    optimizer: torch.optim.AdamW,
    batches: Batches,
    step: int,
    lr: float,
    clip: float,
    precision: str,
) -> torch.Tensor:
    """One optimiser step over the batch of `step`; its mean loss in nats per predicted token, detached."""
    device = model.lm_head.weight.device
    inputs, targets, positions, starts = (torch.from_numpy(a).to(device) for a in batches.at(step))
    blocks = attention_blocks(starts, torch.bfloat16 if precision == "bf16" else torch.float32)
    model.train()
    with autocast(device, precision):
        logits = model(input_ids=inputs, position_ids=positions, use_cache=False, blocks=blocks).logits
    loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return loss.detach()


class _Validation:
    """The validation documents: the same of every rung, since they are chosen by their seconds of speech."""

    def __init__(self, data: TokenData, seconds: float) -> None:
        order = np.random.default_rng(0).permutation(len(data))
        before = np.cumsum(data.seconds[order]) - data.seconds[order]
        chosen = order[before < seconds]
        self.documents = [np.asarray(data.utterance(i)) for i in chosen]
        self.tokens = sum(len(d) - 1 for d in self.documents)  # <s> is given
        self.seconds = float(data.seconds[chosen].sum())

    def bits(self, model: LlamaForCausalLM) -> tuple[float, float]:
        """Bits per predicted token (</s> included) and bits per second of speech."""
        bits = float(sequence_nll(model, self.documents, VALID_BATCH_TOKENS).sum()) / math.log(2)
        return bits / self.tokens, bits / self.seconds


def _fingerprint(settings: LM, seed: int, precision: str, device: torch.device, *splits: TokenData) -> dict[str, Any]:
    """What a checkpoint must agree on, field by field, to be gone on from."""
    fields = {
        f"lm.{k}": v for k, v in settings.model_dump(mode="json").items() if k not in ("seeds", "checkpoint_every")
    }
    data = hashlib.sha256()
    for split in splits:
        for array in (split.lengths, split.seconds, split.tokens):
            data.update(np.ascontiguousarray(array))
    about = {"seed": seed, "precision": precision, "device": device.type, "torch": torch.__version__}
    rung = {"rung": splits[0].meta["rung"], "vocab_size": splits[0].meta["vocab_size"], "data": data.hexdigest()}
    return fields | about | rung | {"version": VERSIONS["lm"]}


def _restore(
    model: LlamaForCausalLM, optimizer: torch.optim.AdamW, tensors: dict[str, torch.Tensor], state: dict[str, Any]
) -> tuple[State, dict[str, torch.Tensor]]:
    """Load a checkpoint into model and optimiser; returns its State and the best weights."""
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts[part][key] = tensor
    model.load_state_dict(parts["model"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return State(**state), parts["best"]


@contextmanager
def _sigterm() -> Iterator[list[int]]:
    """Yield a list that is empty until SIGTERM came."""
    came: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    except ValueError:  # not in the main thread: nothing to catch
        yield came
        return
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(
    model: LlamaForCausalLM,
    tokens: Path,
    running: Path,
    out: Path,
    summary: dict[str, Any],
    settings: LM,
    meta: dict[str, Any],
) -> None:
    """Write the output folder: HF model and tokenizer, card, train.json, log and snapshots."""
    with atomic_folder(out) as folder:
        model.save_pretrained(folder)
        shutil.copytree(tokens / "tokenizer", folder, dirs_exist_ok=True)
        shutil.copyfile(running / "log.jsonl", folder / "log.jsonl")
        if (running / "learning").is_dir():
            shutil.copytree(running / "learning", folder / "learning")
        write_json(folder / "train.json", summary)
        write_card(folder / "README.md", summary, settings, meta)


def load_snapshot(model: LlamaForCausalLM, path: Path) -> None:
    """Put a learning snapshot's weights into a model that `lm.model.load` gave."""
    model.load_state_dict(load_file(path))
