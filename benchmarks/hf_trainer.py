"""The Trainer of transformers on documents of lm_training: SDPA attention, fused AdamW, bf16 if lm uses it.

Padded rows are one document each, ROWS of them padded to the longest, as in slamkit without flash-attention (its
DataCollatorForLanguageModeling). Windows are documents end to end, in steps of the same size as those of lm, with
causal attention across documents: the fastest way to feed the Trainer, but not the same computation.
"""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from speechladder.lm.batches import PAD
from speechladder.settings import LM

ROWS = 8  # of a batch of documents: per_device_train_batch_size of slamkit


class Rows:
    """The rows of `steps` steps, (n,) int64 each, with `batch` rows at once and `parts` batches in a step."""

    def __init__(self, documents: Any, settings: LM, padded: bool, at_once: int, steps: int) -> None:
        """`at_once`: windows that fit into memory, at most."""
        self.padded, self.steps, self.batch, self.parts = padded, steps, ROWS, 1
        order = np.random.default_rng(1).permutation(len(documents.lengths))
        spans = ((documents.offsets[i], documents.lengths[i]) for i in order)
        rows = [documents.tokens[begin : begin + length].astype(np.int64) for begin, length in spans]
        if not padded:
            stream, window = np.concatenate(rows), settings.window
            rows = list(stream[: len(stream) // window * window].reshape(-1, window))
            self.parts = -(-settings.batch_windows // at_once)
            self.batch = settings.batch_windows // self.parts
        self.rows = [rows[i % len(rows)] for i in range(self.batch * self.parts * steps)]

    def collate(self, some: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """A batch, with a mask if rows are padded."""
        width = max(map(len, some))
        ids = torch.full((len(some), width), PAD)
        for row, own in zip(ids, some):
            row[: len(own)] = torch.from_numpy(own)
        real = torch.arange(width) < torch.tensor([len(r) for r in some])[:, None]
        out = {"input_ids": ids, "labels": torch.where(real, ids, -100)}
        return out | ({"attention_mask": real.long()} if self.padded else {})

    def arguments(self, lr: float, bf16: bool, cuda: bool, recompute: bool) -> dict[str, Any]:
        """TrainingArguments, but for the folder."""
        return {
            "max_steps": self.steps, "per_device_train_batch_size": self.batch,
            "gradient_accumulation_steps": self.parts, "bf16": bf16, "use_cpu": not cuda,
            "optim": "adamw_torch_fused", "learning_rate": lr, "lr_scheduler_type": "cosine", "max_grad_norm": 1.0,
            "weight_decay": 0.1, "adam_beta2": 0.95, "logging_steps": 10**6, "save_strategy": "no", "report_to": [],
            "disable_tqdm": True, "gradient_checkpointing": recompute, "remove_unused_columns": False,
            "dataloader_num_workers": 4 if cuda else 0,  # 4 as in slamkit; one core has no room for them
        }  # fmt: skip


def tokens_per_second(model: Any, data: Rows, arguments: dict[str, Any], warm: int, now: Callable[[], float]) -> float:
    """Real tokens/s after `warm` steps; `now` reads the clock."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Stop(TrainerCallback):
        began, ended = 0.0, 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == warm:
                self.began = now()
            if state.global_step == data.steps:
                self.ended = now()

    stop = Stop()
    model.set_attn_implementation("sdpa")
    with tempfile.TemporaryDirectory() as folder:
        given = TrainingArguments(output_dir=folder, **arguments)
        Trainer(model, given, data_collator=data.collate, train_dataset=data.rows, callbacks=[stop]).train()
    # the sampler shuffles, so the mean of all rows stands for the rows between the two readings
    mean = float(np.mean([len(row) for row in data.rows]))
    return mean * data.batch * data.parts * (data.steps - warm) / (stop.ended - stop.began)
