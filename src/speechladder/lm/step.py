"""One optimiser step over gradients that accumulate over micro-batches and processes."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from speechladder.lm import fused
from speechladder.lm.architectures.base import parts_of
from speechladder.lm.batches import IGNORE
from speechladder.lm.distributed import gradient_sync, lay_out
from speechladder.lm.model import autocast
from speechladder.lm.optimizer import Optimizer
from speechladder.lm.prefetch import Step
from speechladder.settings import LM


class TrainState:
    """A model with its optimiser, laid out over `ranks` processes on `device`, and the step that trains it.

    `parallel` is as in compute.MemoryPlan. `model` stays the plain model (its parameters are DTensors under fsdp).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        settings: LM,
        device: torch.device,
        precision: str,
        parallel: str = "none",
        ranks: int = 1,
        recompute: bool = False,
        compiled: bool = False,
    ) -> None:
        self.model, self.device, self.precision, self.ranks = model.to(device), device, precision, ranks
        self.clip = settings.clip
        if device.type == "cpu" and parallel != "fsdp" and not compiled:
            fused.install(model)
        if recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})
        if compiled:
            # DDP would otherwise cut each compiled layer at its buckets; layers are compiled separately anyway.
            torch._dynamo.config.optimize_ddp = False
            for layer in parts_of(model).layers:  # one compiled layer serves all, much faster than the whole model
                layer.compile()
        self.module: nn.Module = lay_out(model, parallel, precision == "bf16")
        self.optimizer = Optimizer(model, settings, precision)

    def train_step(self, step: Step, lr: float) -> torch.Tensor:
        """Do one step at rate `lr` and return this process's share of its loss in nats per target; the shares add up.

        `lr` takes the place of lm.lr, and parameters with a rate of their own follow in proportion. The sum of losses
        of each micro-batch is divided by the targets of the whole step in all processes, so distributing windows
        differently changes the result only by rounding. Nothing here waits for a GPU.
        """
        self.model.train()
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(step.batches, 1):
            inputs, targets, positions, blocks = batch.to(self.device)
            with gradient_sync(self.module, last=number == len(step.batches)):
                with autocast(self.device, self.precision):
                    logits = self.module(
                        input_ids=inputs, position_ids=positions, use_cache=False, blocks=blocks
                    ).logits
                losses = F.cross_entropy(
                    logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
                )
                loss = losses / step.predicted
                # gradients are averaged over processes, whose shares of the loss add up
                (loss * self.ranks if self.ranks > 1 else loss).backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step(lr)
        return total
