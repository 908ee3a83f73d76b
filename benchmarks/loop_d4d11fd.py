"""The training loop of commit d4d11fd with its shipped settings, for benchmarks/learning.py.

AdamW at 3e-3, 320 steps of 4 x 1024 tokens, warm-up of 40 steps, cosine to a tenth. Attention goes through all windows
at once in blocks of queries; the keys of a block begin at the earliest document of all windows. Kept as it was.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, PreTrainedModel

from speechladder.lm.batches import IGNORE, Batch
from speechladder.lm.model import autocast
from speechladder.settings import LM

NAME = "packed_d4d11fd"
SETTINGS = LM(
    optimizer="adamw",
    schedule="cosine",
    lr=3e-3,
    min_lr_ratio=0.1,
    warmup_steps=40,
    max_steps=320,
    max_passes=14,
    run_curriculum=0.0,
    window=1024,
    batch_windows=4,
    weight_decay=0.1,
    clip=1.0,
)
QUERY_BLOCK = 128


@dataclass(frozen=True)
class Block:
    """Queries [first, last) of every window. They see the keys [low, last) where `bias` (B, 1, queries, keys) is 0."""

    first: int
    last: int
    low: int
    bias: torch.Tensor


def attention_blocks(starts: torch.Tensor, dtype: torch.dtype) -> list[Block]:
    """Blocks for windows in which token t sees the tokens from starts[:, t] to itself; `starts` is (B, T) int64."""
    T = starts.shape[1]
    order = torch.arange(T)
    blocks = []
    for first in range(0, T, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, T)
        begins = starts[:, first:last, None]
        low = int(begins.min()) // QUERY_BLOCK * QUERY_BLOCK
        keys = order[low:last]
        hidden = (keys > order[first:last, None]) | (keys < begins)
        bias = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, -torch.inf)
        blocks.append(Block(first, last, low, bias[:, None]))
    return blocks


class PackedAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(d) + bias) v over blocks; q, k, v (B, heads, T, d) of one dtype -> (B, heads, T, d)."""

    @staticmethod
    def forward(ctx, q, k, v, blocks):
        B, H, T, D = q.shape
        q = q * D**-0.5
        out = torch.empty(B, T, H, D, dtype=q.dtype, device=q.device).transpose(1, 2)
        weights = []
        for b in blocks:
            scores = q[:, :, b.first : b.last] @ k[:, :, b.low : b.last].transpose(-1, -2)
            p = torch.softmax(scores.add_(b.bias), -1)
            out[:, :, b.first : b.last] = p @ v[:, :, b.low : b.last]
            weights.append(p)
        ctx.blocks = blocks
        ctx.save_for_backward(q, k, v, *weights)
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, *weights = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for b, p in zip(ctx.blocks, weights):
            queries, keys = slice(b.first, b.last), slice(b.low, b.last)
            g = grad[:, :, queries]
            dv[:, :, keys] += p.transpose(-1, -2) @ g
            d = g @ v[:, :, keys].transpose(-1, -2)
            d = torch._softmax_backward_data(d, p, -1, d.dtype)
            dq[:, :, queries] = d @ k[:, :, keys]
            dk[:, :, keys] += d.transpose(-1, -2) @ q[:, :, queries]
        return dq.mul_(q.shape[-1] ** -0.5), dk, dv, None


def _attend(module, q, k, v, mask, blocks=None, **options):
    q, k = q.to(v.dtype), k.to(v.dtype)
    with torch.autocast(q.device.type, enabled=False):
        return PackedAttention.apply(q, k, v, blocks).transpose(1, 2), None


AttentionInterface.register(NAME, _attend)


class Loop:
    """A model with the optimiser and the step of d4d11fd, on a CPU."""

    def __init__(self, model: PreTrainedModel, precision: str) -> None:
        self.model, self.precision = model, precision
        model.set_attn_implementation(NAME)
        matrices = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        groups = [
            {"params": matrices, "weight_decay": SETTINGS.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=SETTINGS.lr, betas=(0.9, 0.95), fused=True)

    def step(self, batch: Batch, lr: float) -> None:
        """Do one optimiser step on `batch` at rate `lr`."""
        inputs, targets, positions, starts = map(torch.from_numpy, batch)
        blocks = attention_blocks(starts, torch.bfloat16 if self.precision == "bf16" else torch.float32)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(torch.device("cpu"), self.precision):
            logits = self.model(input_ids=inputs, position_ids=positions, use_cache=False, blocks=blocks).logits
        losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")
        (losses / int((targets != IGNORE).sum())).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), SETTINGS.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()


def learning_rate(step: int, total: int) -> float:
    """Linear warm-up, then a cosine to min_lr_ratio."""
    warmup, low = SETTINGS.warmup_steps, SETTINGS.min_lr_ratio
    if step < warmup:
        return SETTINGS.lr * (step + 1) / warmup
    share = (step - warmup + 1) / (total - warmup)
    return SETTINGS.lr * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * share)))
