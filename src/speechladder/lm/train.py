"""The training loop: one Llama, from random weights or a text LM's, over the packed tokens of a rung.

AdamW with decay on matrices, linear warm-up and cosine, clipping, bf16 autocast where it pays; in one process or, under
torchrun, in many; validated every few steps in bits per token and bits per second of speech; stops when validation has
converged or at a limit, and writes the best validated weights. Equal inputs give equal weights on one machine,
interrupted or not; other numbers of processes or windows at once give the same up to rounding. No step draws a random
number: the order of the data is a function of seed and pass, so that a checkpoint needs no generator's state.
"""

import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from speechladder.io.errors import UserError
from speechladder.io.files import atomic
from speechladder.io.progress import progress, say
from speechladder.lm import checkpoint, flops, warm_start
from speechladder.lm.attention import resolve_attention, resolve_compile
from speechladder.lm.batches import Batches
from speechladder.lm.distributed import Ranks, gather
from speechladder.lm.memory import fit
from speechladder.lm.meter import Speed
from speechladder.lm.model import autocast, build, prepare_torch, resolve_precision
from speechladder.lm.output import write_output
from speechladder.lm.prefetch import Prefetch
from speechladder.lm.resume import copied, fingerprint, pack, restore
from speechladder.lm.schedule import WARM, State, learning_rate, plan_hours, planned_steps, snapshot_steps
from speechladder.lm.step import Trainee
from speechladder.lm.tracking import folder_for as tracked
from speechladder.lm.tracking import open_tracker
from speechladder.lm.validation import Validation
from speechladder.rungs.data import TokenData
from speechladder.settings import LM

LOGS_PER_VALIDATION = 5
INTERRUPTED = 75  # exit status after SIGTERM: a checkpoint is written, the same command goes on


def train(tokens: Path, out: Path, seed: int, settings: LM) -> dict[str, Any]:
    """Train on tokens/{rung} and write lm/{rung}/seed{n}, whole or not at all; resumes from checkpoints beside it.

    Under torchrun each of its processes calls this; the first one writes. It returns (and writes as train.json) rung,
    seed, train_tokens, steps, passes, valid_bits_per_token, valid_bits_per_second, parameters, tokens_per_second (of
    speech, not of the clock) and why it stopped; the others return {}. Raises UserError when the data cannot be trained
    on, when lm.init is no Llama, when another process is gone; SystemExit(75) after SIGTERM.
    """
    device = prepare_torch(settings.threads)
    with Ranks(device) as ranks:
        try:
            return _Run(Path(tokens), Path(out), seed, settings, device, ranks).run()
        except torch.OutOfMemoryError as error:
            advice = "set lm.micro_windows lower, lm.activation_checkpointing: on or lm.parallel: fsdp"
            raise UserError(f"the GPU has not enough memory ({str(error).splitlines()[0]}); {advice}") from None
        except RuntimeError as error:
            if ranks.size > 1 and ranks.is_loss(error):
                raise ranks.lost(error) from None
            raise


class _Run:
    """One training from here to its end: what it reads, where it is at, what it has made."""

    def __init__(self, tokens: Path, out: Path, seed: int, settings: LM, device: torch.device, ranks: Ranks) -> None:
        self.tokens, self.out, self.seed, self.device, self.ranks = tokens, out, seed, device, ranks
        self.init = settings.init
        self.settings = settings = warm_start.resolved(settings)
        data, valid = TokenData(tokens, "train"), TokenData(tokens, "valid")
        for found, split in ((data, "train"), (valid, "valid")):
            if not len(found):
                fix = "lm needs some (corpus.hours, corpus.valid_fraction)"
                raise UserError(f"{tokens}/{split}.bin: no utterances; {fix}")
        self.meta = data.meta
        self.label = f"train {self.meta['rung']} seed {seed}"
        self.precision = resolve_precision(settings.precision, device)
        self.batches = Batches(data, seed, settings.window, settings.batch_windows)
        self.total = planned_steps(settings, self.batches)
        self.validation = Validation(valid, settings.valid_seconds)
        self.folder = checkpoint.folder_for(out)
        self.fingerprint = fingerprint(settings, seed, self.precision, device, data, valid) if ranks.first else {}
        self.state, self.best = State(), {}

        model = build(settings, self.meta, seed)
        vocabulary, bf16 = self.meta["vocab_size"], self.precision == "bf16"
        memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
        memory = ranks.least(memory) if memory else None  # all lay it out alike: fsdp waits in every micro-batch
        self.fit = fit(settings, vocabulary, ranks.size, bf16, memory)
        self.flex = resolve_attention(settings.attention, device, model.model.layers[0].self_attn.head_dim) == "flex"
        self.parameters = sum(p.numel() for p in model.parameters())
        attended = float(self.batches.at(0).positions.mean()) + 1  # windows cut documents, and positions begin again
        self.flops = flops.train_flops(settings, vocabulary, 2 * attended)
        self.ceiling = ranks.size * flops.matmul_ceiling(device.type, self.precision)
        compiled = resolve_compile(settings.compile, self.flex)
        self.trainee = Trainee(
            model, settings, device, self.precision, self.fit.parallel, ranks.size, self.fit.recompute, compiled
        )

    def say(self, text: str) -> None:
        """A line on stderr, once."""
        if self.ranks.first:
            say(text)

    def run(self) -> dict[str, Any]:
        """Everything."""
        self.say(
            f"{self.label}: {self.parameters:,} parameters, {self.flops:.4g} FLOP per token (6 P + 12 L d c, see "
            f"lm/flops.py), {self.batches.tokens_per_pass:,} tokens per pass, at most {self.total} steps of "
            f"{self.batches.tokens_per_step:,} tokens, {self.precision}\n{self.label}: {self.ranks.size} x "
            f"{self.device.type} ({self.fit.parallel}), {self.fit}; matrix products {self.ceiling / 1e12:.4g} TFLOP/s"
        )
        self._resume()
        stopped = self._loop()
        if not self.ranks.first:
            return {}
        summary = self._finish(stopped)
        checkpoint.remove(self.folder)
        return summary

    def snapshots(self, state: State) -> dict[int, str]:
        """The learning curve's files by step, as far as the plan in `state` tells."""
        total = state.total if self.settings.max_hours else self.total
        steps = snapshot_steps(self.settings.learning_points, total) if total else set()
        per_step = self.batches.tokens_per_step
        return {step: f"{step * per_step}.safetensors" for step in steps if step > state.planned_at}

    def _resume(self) -> None:
        found = None
        if self.ranks.first and self.settings.resume == "auto":
            found = checkpoint.find(self.folder, self.fingerprint, lambda state: self.snapshots(State(**state)))
        step = int(self.ranks.told(found or 0)[0])
        if step:
            tensors, state = checkpoint.load(self.folder, step)
            self.state = State(**state)
            best = restore(self.trainee, tensors)
            self.best = best if self.ranks.first else {}
            self.say(f"resuming from step {step}")
        if self.ranks.first:
            checkpoint.start(self.folder, step)

    def _weights(self) -> dict[str, torch.Tensor]:
        return gather(self.trainee.model.state_dict(), self.ranks.first, copied)

    def _save(self, writer: checkpoint.Writer) -> None:
        """Take a copy of everything, and have it written while training goes on."""
        tensors = pack(self.trainee, self.best, self.ranks.first)
        if self.ranks.first:
            place, state, keep = (self.folder, self.state.step), asdict(self.state), self.settings.keep_checkpoints
            writer(lambda: checkpoint.save(*place, tensors, state, self.fingerprint, keep))

    def _loop(self) -> str:
        """Train until something ends it; returns what: converged, limit or hours."""
        s, state, ranks, trainee = self.settings, self.state, self.ranks, self.trainee
        total, snapshots = state.total or self.total, self.snapshots(state)
        earlier, begun = state.seconds, time.perf_counter()
        over, per_step = False, self.batches.tokens_per_step
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float32
        dealing = (ranks.rank, ranks.size, self.fit.micro, self.flex, kind, self.device.type == "cuda")
        with (
            self._log() as record,
            _sigterm() as came,
            self._progress((total - state.step) * per_step) as meter,
            checkpoint.Writer() as writer,
            Prefetch(self.batches, state.step, *dealing) as data,
        ):
            feed, speed = iter(data), Speed(self.device, self.flops, self.ceiling)
            while state.step < total and state.stale < s.patience and not over:
                lr = learning_rate(s, state.step, total)
                loss = trainee.step(next(feed), lr)
                state.step += 1
                state.seconds = earlier + time.perf_counter() - begun
                speed.tokens += per_step
                meter.advance(per_step)
                interrupted, over = ranks.agree(bool(came), bool(s.max_hours) and state.seconds >= s.max_hours * 3600)
                if s.max_hours and not state.total and state.step % WARM == 0:
                    state.warm_seconds = state.warm_seconds or state.seconds
                    (planned,) = ranks.told(plan_hours(s, state, total))
                    if planned:
                        state.total, state.planned_at = int(planned), state.step
                        total = state.total
                        snapshots = self.snapshots(state)
                        self.say(f"{self.label}: {total} steps fit lm.max_hours: {s.max_hours:g}")
                validate = state.step % s.valid_every == 0 or state.step == total or bool(over)
                if validate or state.step % max(1, s.valid_every // LOGS_PER_VALIDATION) == 0:
                    row = {"step": state.step, "tokens": state.step * per_step, "lr": lr}
                    row |= {"loss": ranks.total(loss).item()} | speed.row(data)
                    if validate:
                        with speed.paused():
                            row |= self._validate()
                        meter.advance(0, f"loss {row['loss']:.3f}, valid {row['valid_bits_per_token']:.3f} bits/token")
                    record(row)
                with speed.paused(saving=True):
                    if state.step in snapshots:
                        self._snapshot(snapshots[state.step])
                    if state.step % s.checkpoint_every == 0 or interrupted:
                        self._save(writer)
                if interrupted:
                    self.say(f"{self.label}: interrupted at step {state.step}; the same command goes on from there")
                    sys.exit(INTERRUPTED)
        return "converged" if state.stale >= s.patience else "hours" if over else "limit"

    def _progress(self, tokens: int) -> AbstractContextManager[Any]:
        """The bar, of one process."""
        quiet = SimpleNamespace(advance=lambda amount, note="": None)
        return progress(self.label, tokens, "tokens/s") if self.ranks.first else nullcontext(quiet)

    @contextmanager
    def _log(self) -> Iterator[Any]:
        """Yields what takes the rows of the log: the one place that sees each."""
        if not self.ranks.first:
            yield lambda row: None
            return
        name = f"{self.meta['rung']} seed {self.seed}"
        tracker = open_tracker(
            self.settings.tracking, tracked(self.out), name, self.settings.model_dump(), self.state.step
        )
        with (self.folder / "log.jsonl").open("a") as file, closing(tracker):

            def record(row: dict[str, Any]) -> None:
                file.write(json.dumps(row) + "\n")
                file.flush()
                tracker.log(row, row["step"])

            yield record

    def _validate(self) -> dict[str, float]:
        state, model = self.state, self.trainee.model
        with autocast(self.device, self.precision):
            bits = self.validation.bits(model, self.ranks, dealt=self.fit.parallel == "ddp")
        if not math.isfinite(bits[0]):
            raise UserError(f"{self.label}: diverged at step {state.step}; lower lm.lr or lm.clip")
        state.stale += 1
        if bits[0] < state.best_bits:
            state.best_bits, state.best_step, state.stale = bits[0], state.step, 0
            self.best = self._weights()
        return {"valid_bits_per_token": bits[0], "valid_bits_per_second": bits[1]}

    def _snapshot(self, name: str) -> None:
        weights = self._weights()
        if self.ranks.first:
            with atomic(self.folder / "learning" / name) as path:
                save_file(weights, path, metadata={"format": "pt"})

    def _finish(self, stopped: str) -> dict[str, Any]:
        """Write the output from the best weights, validated once more in fp32."""
        state, meta, model = self.state, self.meta, self.trainee.model
        if self.fit.parallel == "fsdp":  # whose parts are no whole model any more
            self.trainee.optimizer, self.trainee.module = None, None
            # with init: rotary base, eps and width of a head come from its config.json
            model = build(self.settings, meta, self.seed).to(self.device)
        model.load_state_dict(self.best)
        bits_per_token, bits_per_second = self.validation.bits(model)
        per_step = self.batches.tokens_per_step
        summary = {
            "rung": meta["rung"],
            "seed": self.seed,
            "train_tokens": state.step * per_step,
            "steps": state.step,
            "passes": state.step * per_step / self.batches.tokens_per_pass,
            "best_step": state.best_step,
            "best_tokens": state.best_step * per_step,
            "valid_bits_per_token": bits_per_token,
            "valid_bits_per_second": bits_per_second,
            "parameters": self.parameters,
            "flops_per_token": self.flops,
            "tokens_per_second": meta["tokens_per_second"],
            "vocab_size": meta["vocab_size"],
            "precision": self.precision,
            "init": self.init,
            "stopped": stopped,
        }
        write_output(model, self.tokens, self.folder, self.out, summary, self.settings, meta)
        return summary


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


def load_snapshot(model: LlamaForCausalLM, path: Path) -> None:
    """Put a learning snapshot's weights into a model that `lm.model.load` gave."""
    model.load_state_dict(load_file(path))
