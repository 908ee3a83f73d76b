"""Muon with equal shapes made orthogonal together: one batched product in place of one product for each matrix."""

from collections import defaultdict
from typing import Any

import torch
from torch.optim._muon import _adjust_lr
from torch.optim.optimizer import ParamsT


class BatchedMuon(torch.optim.Muon):
    """torch's Muon on matrices that each process has whole: its arguments, its state and, up to rounding, its steps.

    The products of a small model's matrices are so short that calls take more of a step than arithmetic. They are
    computed in `kind`. torch always takes bf16, which a CPU without such products emulates (with AVX2 16 times slower
    than fp32).
    """

    def __init__(self, params: ParamsT, kind: torch.dtype = torch.bfloat16, **options: Any) -> None:
        super().__init__(params, **options)
        self.kind = kind

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Do one step of all matrices."""
        for group in self.param_groups:
            parameters: list[torch.Tensor] = []
            grads: list[torch.Tensor] = []
            buffers: list[torch.Tensor] = []
            self._init_group(group, parameters, grads, buffers)
            torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
            updates = torch._foreach_lerp(grads, buffers, group["momentum"]) if group["nesterov"] else buffers
            by_shape: dict[torch.Size, list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
            for parameter, update in zip(parameters, updates):
                tall = parameter.shape[0] > parameter.shape[1]
                wide = (parameter.T, update.T) if tall else (parameter, update)
                by_shape[wide[0].shape].append(wide)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            for some in by_shape.values():
                stacked = torch.stack([update for _, update in some]).to(self.kind)
                ways = orthogonal(stacked, group["ns_coefficients"], group["ns_steps"], group["eps"])
                for (parameter, _), way in zip(some, ways):
                    shape = parameter.shape if parameter.is_contiguous() else parameter.T.shape
                    parameter.add_(way, alpha=-_adjust_lr(group["lr"], group["adjust_lr_fn"], shape))


def orthogonal(
    matrices: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """(n, rows, columns), no more rows than columns -> about orthogonal rows: torch's Newton-Schulz steps."""
    a, b, c = coefficients
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
