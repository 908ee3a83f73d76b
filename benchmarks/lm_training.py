"""The training half of benchmarks/lm.py: the steps of lm against the Trainer of Hugging Face and against bare matrix
products, with the same model, documents and precision on the same device.

On a CPU, seconds are those of the process and its threads, which are more reliable than wall-clock time on a shared
machine; on a GPU they are wall-clock seconds.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from speechladder.lm import checkpoint, compute
from speechladder.lm.attention import resolve_attention
from speechladder.lm.batches import PAD, Batches
from speechladder.lm.compute import plan_memory
from speechladder.lm.model import build_model, resolve_precision
from speechladder.lm.prefetch import MicroBatch, Prefetch
from speechladder.lm.step import TrainState
from speechladder.settings import DIMENSIONS, LM

SPECIAL = {"vocab_size": 2052, "pad_id": PAD, "bos_id": 1, "eos_id": 2}
SIZES = {
    # the model of the default run; AdamW, which the Trainer has too
    "cpu": LM(optimizer="adamw", batch_windows=4, precision="auto"),
    "cuda": LM(
        model="tinyllama-1.1b", window=2048, batch_windows=32, checkpoint_every=1000, optimizer="adamw", lr=4e-4
    ),
}
STEPS = {"cpu": 8, "cuda": 10}  # of one round
ROUNDS, WARM = 3, 3
LIMIT = 240.0  # seconds after which no further round begins, so that a large model ends within ten minutes
ROWS = 8  # of a batch of the Trainer: per_device_train_batch_size of slamkit
PAPER_STEP = 128 * 2048  # tokens


class Documents:
    """Documents of random tokens in the form of rungs.data.TokenData, as long as utterances of 2 to 30 s at 50 Hz."""

    def __init__(self, count: int, mean: float, longest: int) -> None:
        rng = np.random.default_rng(0)
        self.lengths = np.clip(rng.gamma(3.0, mean / 3.0, count), 20, longest).astype(np.int32)
        self.offsets = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        self.tokens = rng.integers(4, SPECIAL["vocab_size"], int(self.lengths.sum())).astype(np.uint16)
        self.tokens[self.offsets] = SPECIAL["bos_id"]
        self.tokens[self.offsets + self.lengths - 1] = SPECIAL["eos_id"]


class Clock:
    """Seconds of this process's CPU, or of the wall clock on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def now(self) -> float:
        """Seconds since a fixed moment."""
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if self.cuda else time.process_time()


class Bench:
    """The measurements of one device."""

    def __init__(
        self,
        device: torch.device,
        mean: float,
        model: str | None = None,
        settings: LM | None = None,
        steps: int | None = None,
    ) -> None:
        """`mean`: of the documents, in tokens. `model`: one by name; `settings`: in place of those of the device."""
        self.device, self.clock = device, Clock(device)
        base = settings or SIZES[device.type]
        self.settings = base.model_copy(update=LM(model=model).model_dump(include=set(DIMENSIONS))) if model else base
        self.precision = resolve_precision("auto", device)
        self.documents = Documents(4000, mean, self.settings.window)
        lengths = self.documents.lengths.astype(np.float64)
        self.document = float((lengths**2).sum() / lengths.sum())
        self.flops = compute.train_flops(self.settings, SPECIAL["vocab_size"], self.document)
        self.ceiling = compute.matmul_ceiling(device.type, self.precision)
        memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
        self.flex = resolve_attention("auto", device, self.settings.head_width) == "flex"
        mode = compute.mode_of(self.flex, compiled=self.flex)
        given = (self.settings, SPECIAL["vocab_size"], 1, self.precision == "bf16", memory)
        self.memory = plan_memory(*given, mode)
        self.eager = plan_memory(*given, "flex")  # of the Trainer, whose layers are not compiled
        self.steps = steps or STEPS[device.type]

    def model(self) -> torch.nn.Module:
        """A model drawn on the device, because a CPU takes long for a billion weights.

        Compiled layers and the Trainer refer to themselves, so that nothing but the collector frees an earlier model.
        """
        gc.collect()
        if self.clock.cuda:
            torch.cuda.empty_cache()
        with self.device:
            return build_model(self.settings, SPECIAL, 0)

    def train_state(self) -> TrainState:
        """The model of lm with its optimiser."""
        model = self.model()
        how = {"recompute": self.memory.recompute, "compiled": self.flex}
        return TrainState(model, self.settings, self.device, self.precision, **how)

    def data(self) -> Prefetch:
        """The batches of lm."""
        kind = torch.bfloat16 if self.precision == "bf16" else torch.float32
        batches = Batches(self.documents, 0, self.settings.window, self.settings.batch_windows)
        return Prefetch(batches, 0, 0, 1, self.memory.micro, self.flex, kind, self.device.type == "cuda")

    def ours(self) -> dict[str, Any]:
        """Tokens/s of the step of lm, with the shares of waiting for data and of the optimiser."""
        state, per_step = self.train_state(), self.settings.window * self.settings.batch_windows
        with self.data() as data:
            feed = iter(data)
            for _ in range(WARM):
                state.train_step(next(feed), 1e-4)
            waited, begun = data.waited, self.clock.now()
            wall = time.perf_counter()
            for _ in range(self.steps):
                state.train_step(next(feed), 1e-4)
            taken, wall = self.clock.now() - begun, time.perf_counter() - wall
            waited = data.waited - waited
        begun = self.clock.now()
        for _ in range(self.steps):
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), 1.0)
            state.optimizer.step(1e-4)
        update = self.clock.now() - begun
        return {
            "tokens_per_second": self.steps * per_step / taken,
            "data_wait": waited / wall,
            "optimizer": update / taken,
            "memory_gb": torch.cuda.max_memory_allocated() / 1e9 if self.clock.cuda else None,
        }

    def trainer(self, padded: bool) -> float:
        """Real tokens/s of the Trainer of transformers: SDPA attention, fused AdamW, bf16 if lm uses it.

        `padded`: one document per row, ROWS rows padded to the longest, as slamkit does without flash-attention (its
        DataCollatorForLanguageModeling). Otherwise windows of documents end to end, with steps of the same size and
        causal attention across documents: the fastest way to feed it, but not the same computation.
        """
        from transformers import Trainer, TrainerCallback, TrainingArguments

        window, total = self.settings.window, WARM + self.steps
        documents = [self.documents.tokens[o : o + n] for o, n in zip(self.documents.offsets, self.documents.lengths)]
        order = np.random.default_rng(1).permutation(len(documents))
        if padded:
            rows = [documents[i].astype(np.int64) for i in order]
            batch, parts = ROWS, 1
        else:
            stream = np.concatenate([documents[i] for i in order]).astype(np.int64)
            rows = list(stream[: len(stream) // window * window].reshape(-1, window))
            parts = -(-self.settings.batch_windows // self.eager.micro)
            batch = self.settings.batch_windows // parts
        rows = [rows[i % len(rows)] for i in range(batch * parts * total)]

        def collate(some: list[np.ndarray]) -> dict[str, torch.Tensor]:
            width = max(map(len, some))
            ids = torch.full((len(some), width), PAD)
            for row, ids_ in zip(ids, some):
                row[: len(ids_)] = torch.from_numpy(ids_)
            real = torch.arange(width) < torch.tensor([len(r) for r in some])[:, None]
            out = {"input_ids": ids, "labels": torch.where(real, ids, -100)}
            return out | ({"attention_mask": real.long()} if padded else {})

        clock = self.clock

        class Stop(TrainerCallback):
            began, ended = 0.0, 0.0

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == WARM:
                    self.began = clock.now()
                if state.global_step == total:
                    self.ended = clock.now()

        model, stop = self.model(), Stop()
        model.set_attn_implementation("sdpa")
        with tempfile.TemporaryDirectory() as folder:
            cuda = self.device.type == "cuda"
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=total,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=parts,
                bf16=self.precision == "bf16",
                use_cpu=not cuda,
                optim="adamw_torch_fused",
                learning_rate=self.settings.lr,
                lr_scheduler_type="cosine",
                max_grad_norm=1.0,
                weight_decay=0.1,
                adam_beta2=0.95,
                logging_steps=10**6,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_num_workers=4 if cuda else 0,  # 4 as in slamkit; one core has no room for them
                gradient_checkpointing=self.eager.recompute,
                remove_unused_columns=False,
            )
            Trainer(model, arguments, data_collator=collate, train_dataset=rows, callbacks=[stop]).train()
        # the sampler shuffles, so the mean of all rows stands for the rows between the two readings
        return float(np.mean([len(row) for row in rows])) * batch * parts * (total - WARM) / (stop.ended - stop.began)

    def masking(self) -> float:
        """How much longer a step takes with document boundaries than with plain causal attention over the window."""

        class Plain(MicroBatch):
            def to(self, device: torch.device) -> tuple[Any, ...]:
                return *(t.to(device, non_blocking=True) for t in (self.inputs, self.targets, self.positions)), None

        state = self.train_state()
        with self.data() as data:
            work = [next(iter(data)) for _ in range(2)]
        plain = [
            type(w)([Plain(m.inputs, m.targets, m.positions, m.starts, []) for m in w.batches], w.predicted)
            for w in work
        ]
        for kind in (work, plain):
            state.train_step(kind[0], 1e-4)
        times: dict[str, list[float]] = {"within": [], "plain": []}
        for _ in range(ROUNDS * 2):
            for name, kind in (("within", work), ("plain", plain)):
                begun = self.clock.now()
                for one in kind:
                    state.train_step(one, 1e-4)
                times[name].append(self.clock.now() - begun)
        return median(times["within"]) / median(times["plain"]) - 1

    def checkpoints(self, rate: float) -> dict[str, float]:
        """The seconds of a checkpoint for which training waits, and those in which a thread writes and hashes it.

        The shares are of the time between two checkpoints at the given rate: that of the copy, for which training
        always waits, and that of both, which is the cost if no core is free.
        """
        state = self.train_state()
        with self.data() as data:
            state.train_step(next(iter(data)), 1e-4)
        best = {k: v.detach().cpu().clone() for k, v in state.model.state_dict().items()}
        begun = self.clock.now()
        tensors = checkpoint.collect_tensors(state, best, keep=True)
        copied = self.clock.now() - begun
        with tempfile.TemporaryDirectory() as folder:
            wall, begun = time.perf_counter(), time.process_time()
            checkpoint.save_checkpoint(Path(folder), 1, tensors, {}, {})
            written = time.perf_counter() - wall if self.clock.cuda else time.process_time() - begun
            size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
        between = self.settings.checkpoint_every * self.settings.window * self.settings.batch_windows / rate
        if self.device.type == "cuda":
            between = self.settings.checkpoint_every * PAPER_STEP / rate
        return {
            "gb": size / 1e9,
            "waits_seconds": copied,
            "writes_seconds": written,
            "waits_share": copied / between,
            "whole_share": (copied + written) / between,
        }


def limit(figures: dict[str, Any]) -> str:
    """What limits the speed of the step, judged by its shares."""
    if figures["data_wait"] > 0.1:
        return "data: the step waits for batches"
    if figures["mfu"] > 0.45:
        return "compute: matrix products take most of the step"
    return "memory and overhead: operations other than matrix products (element-wise, attention, optimiser) take most"


def measure(device: torch.device, mean: float = 600.0, model: str | None = None) -> dict[str, Any]:
    """All figures of a device. Up to ROUNDS rounds of lm and of the Trainer alternate; a ratio is their median."""
    bench = Bench(device, mean, model)
    rounds: list[dict[str, Any]] = []
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        if rounds and time.perf_counter() - begun > LIMIT:
            break
        ours = bench.ours()
        windows, padded = bench.trainer(padded=False), bench.trainer(padded=True)
        rounds.append(ours | {"hf_windows": windows, "hf_padded": padded})

    def middle(of: Callable[[dict[str, Any]], float]) -> float:
        return median(map(of, rounds))

    rate = middle(lambda r: r["tokens_per_second"])
    figures = {
        "training_vs_hf_trainer": middle(lambda r: r["tokens_per_second"] / r["hf_padded"]),
        "training_vs_hf_trainer_windows": middle(lambda r: r["tokens_per_second"] / r["hf_windows"]),
        "tokens_per_second": rate,
        "hf_trainer_tokens_per_second": middle(lambda r: r["hf_padded"]),
        "hf_trainer_windows_tokens_per_second": middle(lambda r: r["hf_windows"]),
        "mfu": rate * bench.flops / bench.ceiling,
        "matmul_tflops": bench.ceiling / 1e12,
        "flops_per_token": bench.flops,
        "data_wait": middle(lambda r: r["data_wait"]),
        "optimizer_share": middle(lambda r: r["optimizer"]),
        "memory_gb": rounds[-1]["memory_gb"],
        "masking_cost": bench.masking(),
        "checkpoint": bench.checkpoints(rate),
        "parameters": compute.parameters(bench.settings, SPECIAL["vocab_size"]),
        "window": bench.settings.window,
        "windows_per_step": bench.settings.batch_windows,
        "windows_at_once": bench.memory.micro,
        "mean_document": float(bench.documents.lengths.mean()),
        "precision": bench.precision,
        "rounds": [{k: v for k, v in r.items() if v is not None} for r in rounds],
    }
    return figures | {"limited_by": limit(figures)}
