"""One optimiser step: AdamW over gradients that accumulate over micro-batches and processes."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaForCausalLM

from speechladder.lm.batches import IGNORE
from speechladder.lm.distributed import apart, lay_out
from speechladder.lm.model import autocast
from speechladder.lm.prefetch import Work
from speechladder.settings import LM

BETAS = (0.9, 0.95)  # TinyLlama's


def make_optimizer(model: LlamaForCausalLM, settings: LM) -> torch.optim.AdamW:
    """Fused AdamW with weight decay on matrices alone."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=BETAS, fused=True)


class Trainee:
    """A model with its optimiser, laid out over `ranks` processes on `device`, and the step that they do.

    `parallel` as in memory.Fit. `model` stays the plain LlamaForCausalLM (its parameters DTensors under fsdp).
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
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
        if recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})
        if compiled:
            # which would cut each compiled layer at DDP's buckets; layers are apart already
            torch._dynamo.config.optimize_ddp = False
            for layer in model.model.layers:  # one compiled layer serves all: a fraction of compiling the whole model
                layer.compile()
        self.module: nn.Module = lay_out(model, parallel, precision == "bf16")
        self.optimizer = make_optimizer(model, settings)

    def step(self, work: Work, lr: float) -> torch.Tensor:
        """One step at rate `lr`; its loss in nats per target, this process' share of it: the shares add up.

        Each micro-batch's sum of losses is divided by the targets of the whole step, in all processes, so that dealing
        windows otherwise changes nothing but rounding. Nothing here waits for a GPU.
        """
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for number, micro in enumerate(work.micros, 1):
            inputs, targets, positions, blocks = micro.to(self.device)
            with apart(self.module, last=number == len(work.micros)):
                with autocast(self.device, self.precision):
                    logits = self.module(
                        input_ids=inputs, position_ids=positions, use_cache=False, blocks=blocks
                    ).logits
                losses = F.cross_entropy(
                    logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
                )
                loss = losses / work.predicted
                # gradients are averaged over processes, whose shares of the loss add up
                (loss * self.ranks if self.ranks > 1 else loss).backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        return total
