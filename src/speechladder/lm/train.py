"""The training loop: one language model, from random weights or those of a text LM, on the packed tokens of a rung.

Muon or AdamW with decay on matrices, linear warm-up, a schedule that ends where training does, clipping, bf16 autocast
where it is fast; in one process or, under torchrun, in several. The model is validated every few steps in bits per
token and bits per second of speech. Training stops when validation has converged or at a limit, and writes the best
validated weights. Equal inputs give equal weights on one machine, interrupted or not; other numbers of processes or
windows at once give the same weights up to rounding. No step draws a random number: the order of the data is a function
of seed and pass, so a checkpoint needs no state of a generator.
"""

import math
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from speechladder.io.errors import UserError
from speechladder.io.files import atomic
from speechladder.io.progress import progress, say
from speechladder.lm import checkpoint, compute, warm_start
from speechladder.lm.attention import resolve_attention, resolve_compile
from speechladder.lm.curriculum import Curriculum, make_batches
from speechladder.lm.distributed import Ranks, gather
from speechladder.lm.launch import INTERRUPTED, catch_sigterm
from speechladder.lm.meter import Speed
from speechladder.lm.model import autocast, build_model, prepare_torch, resolve_precision
from speechladder.lm.output import write_output
from speechladder.lm.prefetch import Prefetch
from speechladder.lm.schedule import WARM, Counters, learning_rate, plan_hours, planned_steps, snapshot_steps
from speechladder.lm.step import TrainState
from speechladder.lm.tracking import open_log, open_tracker, tracking_folder
from speechladder.lm.validation import Validation
from speechladder.rungs.data import TokenData
from speechladder.settings import LM

LOGS_PER_VALIDATION = 5
SAMPLED_STEPS = 20  # spread over the training: how many tokens a token attends to


def train_lm(tokens: Path, out: Path, seed: int, settings: LM, corpus: str = "") -> dict[str, Any]:
    """Train on tokens/{rung} and write lm/{rung}/seed{n}, whole or not at all; resume from checkpoints beside it.

    Under torchrun each of its processes calls this; the first one writes. It returns (and writes as train.json) rung,
    seed, train_tokens, steps, passes, valid_bits_per_token, valid_bits_per_second, parameters, tokens_per_second (of
    speech, not of the clock) and why it stopped; the others return {}. `corpus` is named in the model card. Raise
    UserError if the data cannot be trained on, if lm.init is of another architecture, or if another process is gone;
    SystemExit(75) after SIGTERM.
    """
    device = prepare_torch(settings.threads)
    with Ranks(device) as ranks:
        try:
            return _Run(Path(tokens), Path(out), seed, settings, device, ranks, corpus).run()
        except torch.OutOfMemoryError as error:
            advice = "set lm.micro_windows lower, lm.activation_checkpointing: on or lm.parallel: fsdp"
            raise UserError(f"the GPU has not enough memory ({str(error).splitlines()[0]}); {advice}") from None
        except RuntimeError as error:
            if ranks.size > 1 and ranks.is_connection_error(error):
                raise ranks.connection_lost(error) from None
            raise


class _Run:
    """One training from its current state to its end: inputs, state, results."""

    def __init__(
        self, tokens: Path, out: Path, seed: int, settings: LM, device: torch.device, ranks: Ranks, corpus: str
    ) -> None:
        self.tokens, self.out, self.seed, self.device, self.ranks = tokens, out, seed, device, ranks
        self.init, self.corpus = settings.init, corpus
        self.settings = settings = warm_start.resolve_init(settings)
        if settings.attention == "flex" or settings.compile == "on":  # an error before data are read
            kind = resolve_attention(settings.attention, device, settings.head_width)
            resolve_compile(settings.compile, kind == "flex")
        data, valid = _read_tokens(tokens)
        self.meta = data.meta
        self.label = f"train {self.meta['rung']} seed {seed}"
        self.precision = resolve_precision(settings.precision, device)
        self.batches = make_batches(data, self.meta["rung"], seed, settings)
        self.total = planned_steps(settings, self.batches)
        if isinstance(self.batches, Curriculum):
            self.batches.plan(self.total)
        worth = compute.worth_compiling(settings, self.meta["vocab_size"], self.total)
        self.flex = resolve_attention(settings.attention, device, settings.head_width, worth) == "flex"
        self.compiled = resolve_compile(settings.compile, self.flex, worth)
        self.validation = Validation(valid, settings.valid_seconds)
        self.folder = checkpoint.checkpoint_folder(out)
        self.fingerprint = (
            checkpoint.fingerprint(settings, seed, self.precision, device, data, valid) if ranks.first else {}
        )
        self.counters, self.best = Counters(), {}
        self._lay_out(build_model(settings, self.meta, seed))

    def _lay_out(self, model: PreTrainedModel) -> None:
        """Decide how the model is trained on these devices, and put it there."""
        settings, device, ranks = self.settings, self.device, self.ranks
        vocabulary, bf16 = self.meta["vocab_size"], self.precision == "bf16"
        memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
        # all processes need the same layout: fsdp waits in every micro-batch
        memory = ranks.minimum(memory) if memory else None
        mode = compute.mode_of(self.flex, self.compiled)
        self.memory = compute.plan_memory(settings, vocabulary, ranks.size, bf16, memory, mode)
        self.parameters = sum(p.numel() for p in model.parameters())
        # windows cut documents, and positions begin again; a curriculum makes documents longer
        sampled = np.unique(np.linspace(0, self.total - 1, SAMPLED_STEPS, dtype=int))
        attended = float(np.mean([self.batches.at(int(step)).positions.mean() for step in sampled])) + 1
        self.flops = compute.train_flops(settings, vocabulary, 2 * attended)
        self.ceiling = ranks.size * compute.matmul_ceiling(device.type, self.precision)
        how = (self.memory.parallel, ranks.size, self.memory.recompute, self.compiled)
        self.state = TrainState(model, settings, device, self.precision, *how)

    def say(self, text: str) -> None:
        """Print a line on stderr, in one process only."""
        if self.ranks.first:
            say(text)

    def run(self) -> dict[str, Any]:
        """Train to the end, and return the content of train.json."""
        self.say(
            f"{self.label}: {self.parameters:,} parameters, {self.flops:.4g} FLOP per token (6 P + 12 L d c, see "
            f"lm/compute.py), {self.batches.tokens_per_pass:,} tokens per pass, at most {self.total} steps of "
            f"{self.batches.tokens_per_step:,} tokens, {self.precision}\n{self.label}: {self.ranks.size} x "
            f"{self.device.type} ({self.memory.parallel}), {self.memory}; matrix products "
            f"{self.ceiling / 1e12:.4g} TFLOP/s"
        )
        self._resume()
        stopped = self._loop()
        if not self.ranks.first:
            return {}
        summary = self._finish(stopped)
        checkpoint.remove_checkpoints(self.folder)
        return summary

    def snapshots(self, counters: Counters) -> dict[int, str]:
        """The files of the learning curve by step, as far as they are planned in `counters`."""
        total = counters.total if self.settings.max_hours else self.total
        steps = snapshot_steps(self.settings.learning_points, total) if total else set()
        per_step = self.batches.tokens_per_step
        return {step: f"{step * per_step}.safetensors" for step in steps if step > counters.planned_at}

    def _resume(self) -> None:
        """Load the newest checkpoint, if there is one that may be resumed."""
        found = None
        if self.ranks.first and self.settings.resume == "auto":
            found = checkpoint.find_checkpoint(
                self.folder, self.fingerprint, lambda state: self.snapshots(Counters(**state))
            )
        step = int(self.ranks.broadcast(found or 0)[0])
        if step:
            tensors, counters = checkpoint.load_checkpoint(self.folder, step)
            self.counters = Counters(**counters)
            best = checkpoint.restore_tensors(self.state, tensors)
            self.best = best if self.ranks.first else {}
            self.say(f"resuming from step {step}")
        if self.ranks.first:
            checkpoint.prepare_folder(self.folder, step)

    def _weights(self) -> dict[str, torch.Tensor]:
        return gather(self.state.model.state_dict(), self.ranks.first, checkpoint.copied)

    def _save(self, writer: checkpoint.Writer) -> None:
        """Copy everything, and let it be written while training continues."""
        tensors = checkpoint.collect_tensors(self.state, self.best, self.ranks.first)
        if self.ranks.first:
            place, counters = (self.folder, self.counters.step), asdict(self.counters)
            keep = self.settings.keep_checkpoints
            writer(lambda: checkpoint.save_checkpoint(*place, tensors, counters, self.fingerprint, keep))

    def _loop(self) -> str:
        """Train until something ends it, and return what: converged, limit or hours."""
        s, counters, ranks = self.settings, self.counters, self.ranks
        total, snapshots = counters.total or self.total, self.snapshots(counters)
        earlier, begun = counters.seconds, time.perf_counter()
        over, per_step = False, self.batches.tokens_per_step
        with (
            self._log() as record,
            catch_sigterm() as came,
            self._progress((total - counters.step) * per_step) as meter,
            checkpoint.Writer() as writer,
            self._prefetch() as data,
        ):
            feed, speed = iter(data), Speed(self.device, self.flops, self.ceiling)
            while counters.step < total and counters.stale < s.patience and not over:
                lr = learning_rate(s, counters.step, total)
                loss = self.state.train_step(next(feed), lr)
                counters.step += 1
                counters.seconds = earlier + time.perf_counter() - begun
                speed.tokens += per_step
                meter.advance(per_step)
                late = bool(s.max_hours) and counters.seconds >= s.max_hours * 3600
                interrupted, over = ranks.any_flag(bool(came), late)
                if self._plan_hours(total):
                    total, snapshots = counters.total, self.snapshots(counters)
                validate = counters.step % s.valid_every == 0 or counters.step == total or bool(over)
                if validate or counters.step % max(1, s.valid_every // LOGS_PER_VALIDATION) == 0:
                    row = {"step": counters.step, "tokens": counters.step * per_step, "lr": lr}
                    row |= {"loss": ranks.total(loss).item()} | speed.row(data)
                    if validate:
                        with speed.paused():
                            row |= self._validate()
                        meter.advance(0, f"loss {row['loss']:.3f}, valid {row['valid_bits_per_token']:.3f} bits/token")
                    record(row)
                with speed.paused(saving=True):
                    if counters.step in snapshots:
                        self._snapshot(snapshots[counters.step])
                    if counters.step % s.checkpoint_every == 0 or interrupted:
                        self._save(writer)
                if interrupted:
                    self.say(
                        f"{self.label}: interrupted at step {counters.step}; the same command continues from there"
                    )
                    sys.exit(INTERRUPTED)
        return "converged" if counters.stale >= s.patience else "hours" if over else "limit"

    def _prefetch(self) -> Prefetch:
        """The data from the current step on."""
        kind, cuda = torch.bfloat16 if self.precision == "bf16" else torch.float32, self.device.type == "cuda"
        share = (self.ranks.rank, self.ranks.size, self.memory.micro)
        return Prefetch(self.batches, self.counters.step, *share, self.flex, kind, cuda)

    def _plan_hours(self, total: int) -> bool:
        """Whether lm.max_hours has just been turned into a number of steps, once for all processes."""
        s, counters = self.settings, self.counters
        if not s.max_hours or counters.total or counters.step % WARM:
            return False
        counters.warm_seconds = counters.warm_seconds or counters.seconds
        (planned,) = self.ranks.broadcast(plan_hours(s, counters, total))
        if planned:
            counters.total, counters.planned_at = int(planned), counters.step
            self.say(f"{self.label}: {counters.total} steps fit lm.max_hours: {s.max_hours:g}")
        return bool(planned)

    def _progress(self, tokens: int) -> AbstractContextManager[Any]:
        """The progress bar, in one process only."""
        quiet = SimpleNamespace(advance=lambda amount, note="": None)
        return progress(self.label, tokens, "tokens/s") if self.ranks.first else nullcontext(quiet)

    def _log(self) -> AbstractContextManager[Any]:
        """The function that takes each row of the log, in one process only."""
        if not self.ranks.first:
            return nullcontext(lambda row: None)
        s, name = self.settings, f"{self.meta['rung']} seed {self.seed}"
        tracker = open_tracker(s.tracking, tracking_folder(self.out), name, s.model_dump(), self.counters.step)
        return open_log(self.folder / "log.jsonl", tracker)

    def _validate(self) -> dict[str, float]:
        """Validate, and keep the weights if they are the best so far."""
        counters, model = self.counters, self.state.model
        with autocast(self.device, self.precision):
            bits = self.validation.bits(model, self.ranks, share=self.memory.parallel == "ddp")
        if not math.isfinite(bits[0]):
            raise UserError(f"{self.label}: diverged at step {counters.step}; lower lm.lr or lm.clip")
        # while a curriculum shortens runs, nothing that is trained on is like the validation documents
        counters.stale += counters.step > self.batches.whole_from
        if bits[0] < counters.best_bits:
            counters.best_bits, counters.best_step, counters.stale = bits[0], counters.step, 0
            self.best = self._weights()
        return {"valid_bits_per_token": bits[0], "valid_bits_per_second": bits[1]}

    def _snapshot(self, name: str) -> None:
        weights = self._weights()
        if self.ranks.first:
            with atomic(self.folder / "learning" / name) as path:
                save_file(weights, path, metadata={"format": "pt"})

    def _finish(self, stopped: str) -> dict[str, Any]:
        """Write the output from the best weights, validated once more in fp32."""
        counters, meta, model = self.counters, self.meta, self.state.model
        if self.memory.parallel == "fsdp":  # the shards are not a whole model any more
            self.state.optimizer, self.state.module = None, None
            # with lm.init, the rotary base and the norm's epsilon come from its config.json
            model = build_model(self.settings, meta, self.seed).to(self.device)
        model.load_state_dict(self.best)
        bits_per_token, bits_per_second = self.validation.bits(model)
        per_step = self.batches.tokens_per_step
        summary = {
            "rung": meta["rung"],
            "seed": self.seed,
            "train_tokens": counters.step * per_step,
            "steps": counters.step,
            "passes": self.batches.passes(counters.step),
            "best_step": counters.best_step,
            "best_tokens": counters.best_step * per_step,
            "valid_bits_per_token": bits_per_token,
            "valid_bits_per_second": bits_per_second,
            "parameters": self.parameters,
            "flops_per_token": self.flops,
            "tokens_per_second": meta["tokens_per_second"],
            "vocab_size": meta["vocab_size"],
            "precision": self.precision,
            "optimizer": self.settings.optimizer,
            "init": self.init,
            "stopped": stopped,
        }
        write_output(model, self.tokens, self.folder, self.out, summary, self.settings, meta, self.corpus)
        return summary


def _read_tokens(tokens: Path) -> tuple[TokenData, TokenData]:
    """The train and valid splits of tokens/{rung}. Raise UserError if one of them has no utterances."""
    splits = TokenData(tokens, "train"), TokenData(tokens, "valid")
    for found, split in zip(splits, ("train", "valid")):
        if not len(found):
            fix = "the language model needs some; raise corpus.hours or corpus.valid_fraction"
            raise UserError(f"{tokens}/{split}.bin: no utterances; {fix}")
    return splits
