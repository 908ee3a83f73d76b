"""Attention within documents that are packed into windows.

A training window holds several documents end to end (or a part of one), and no token attends across documents. torch's
own attention under a mask would spend most of a step on pairs that are masked (measured on one CPU thread, bf16, eight
windows of 512: 62 ms per layer forward and backward against 20). So there are two that skip them: `PackedAttention`
goes through the window in blocks of queries and touches only the keys from the start of the earliest document on, up
to the block's end; on a GPU torch's compiled flex_attention does the same with a BlockMask. transformers' attention
interface takes both in under the name "packed"; what is saved is an ordinary Llama.

Shapes: B windows, T tokens, H heads, D width of a head.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface

from speechladder.io.errors import UserError

QUERY_BLOCK = 128  # fastest of 64, 128 and 256; flex_attention's own default too
FLEX_HEAD = 16  # the least width of a head that flex_attention's kernels take; a power of two


@dataclass(frozen=True)
class Block:
    """Queries [first, last) of every window, which see keys [low, last) where `bias` (B, 1, queries, keys) is 0."""

    first: int
    last: int
    low: int
    bias: torch.Tensor

    def to(self, device: torch.device) -> "Block":
        """The same on a device."""
        return replace(self, bias=self.bias.to(device, non_blocking=True))


Blocks = list[Block] | BlockMask


def attention_blocks(starts: torch.Tensor, dtype: torch.dtype) -> list[Block]:
    """Blocks for windows in which token t sees the tokens from starts[:, t] to itself; `starts` is (B, T)."""
    T = starts.shape[1]
    order = torch.arange(T, device=starts.device)
    blocks = []
    for first in range(0, T, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, T)
        begins = starts[:, first:last, None]
        # whole blocks of keys: oneDNN compiles and caches a kernel per shape, a thousand of them if every length occurs
        low = int(begins.min()) // QUERY_BLOCK * QUERY_BLOCK
        keys = order[low:last]
        hidden = (keys > order[first:last, None]) | (keys < begins)
        bias = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)
        blocks.append(Block(first, last, low, bias[:, None]))
    return blocks


class FlexBlocks:
    """What a BlockMask of such windows is made of, computed on the CPU so that a GPU has nothing to wait for.

    Of each block of 128 queries by 128 keys: does any query see any key, and does every one see all (then the kernel
    needs no mask)?
    """

    def __init__(self, starts: np.ndarray) -> None:
        B, T = starts.shape
        count = -(-T // QUERY_BLOCK)
        rows = np.arange(count)
        padding = np.full((B, count * QUERY_BLOCK - T), T)
        edges = np.concatenate([starts, padding], 1).reshape(B, count, QUERY_BLOCK)
        low = edges.min(-1) // QUERY_BLOCK  # (B, blocks of queries): the first block of keys that is seen
        high = edges.max(-1)  # the latest start; a block that reaches beyond the window sees none wholly
        columns = rows[None, None, :]
        seen = (columns >= low[:, :, None]) & (columns <= rows[None, :, None])
        full = seen & (columns < rows[None, :, None]) & (columns * QUERY_BLOCK >= high[:, :, None])
        partly = torch.from_numpy(seen & ~full)[:, None]
        wholly = torch.from_numpy(full)[:, None]
        self.length = T
        self.starts = torch.from_numpy(starts.astype(np.int32))
        self.tensors = [*_dense_to_ordered(partly), *_dense_to_ordered(wholly)]
        self.tensors += [*_dense_to_ordered(partly.mT), *_dense_to_ordered(wholly.mT)]

    def pin_memory(self) -> "FlexBlocks":
        """Its tensors in pinned memory, from which a GPU copies while it computes."""
        self.starts, self.tensors = self.starts.pin_memory(), [t.pin_memory() for t in self.tensors]
        return self

    def to(self, device: torch.device) -> BlockMask:
        """The BlockMask on a device."""
        starts = self.starts.to(device, non_blocking=True)

        def same_document(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return (q >= k) & (k >= starts[b, q])

        names = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices")
        names += ("q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")
        tensors = dict(zip(names, (t.to(device, non_blocking=True) for t in self.tensors)))
        length = (self.length, self.length)
        return BlockMask(length, **tensors, BLOCK_SIZE=(QUERY_BLOCK, QUERY_BLOCK), mask_mod=same_document)


def _dense_to_ordered(seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(..., n, m) of truths: how many of each row, int32 (..., n), and their columns first, int32 (..., n, m)."""
    columns = torch.argsort(seen.to(torch.int8), dim=-1, descending=True, stable=True)
    return seen.sum(-1).to(torch.int32), columns.to(torch.int32).contiguous()


@cache
def _flex() -> Any:
    return torch.compile(flex_attention)


class PackedAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(d) + bias) v over blocks; q, k, v (B, heads, T, d) of one dtype -> (B, heads, T, d)."""

    @staticmethod
    def forward(ctx, q, k, v, blocks):
        B, H, T, D = q.shape
        q = q * D**-0.5
        out = torch.empty(B, T, H, D, dtype=q.dtype, device=q.device).transpose(1, 2)
        weights, differentiated = [], any(ctx.needs_input_grad)
        for b in blocks:
            scores = q[:, :, b.first : b.last] @ k[:, :, b.low : b.last].transpose(-1, -2)
            p = torch.softmax(scores.add_(b.bias), -1)
            out[:, :, b.first : b.last] = p @ v[:, :, b.low : b.last]
            if differentiated:
                weights.append(p)
        if differentiated:
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
            d = p * (d - (d * p).sum(-1, keepdim=True)) if FUSED is None else FUSED(d, p, -1, d.dtype)
            dq[:, :, queries] = d @ k[:, :, keys]
            dk[:, :, keys] += d.transpose(-1, -2) @ q[:, :, queries]
        return dq.mul_(q.shape[-1] ** -0.5), dk, dv, None


FUSED = getattr(torch, "_softmax_backward_data", None)  # the kernel behind softmax's own backward


def _attend(module, q, k, v, mask, blocks=None, **_):
    """transformers' attention interface: within documents with `blocks`, else causal over the whole row."""
    q, k = q.to(v.dtype), k.to(v.dtype)  # under autocast the rotary embedding left them in fp32
    shared = module.num_key_value_groups > 1
    with torch.autocast(q.device.type, enabled=False):
        if isinstance(blocks, BlockMask):
            attend = _flex() if q.is_cuda else flex_attention
            return attend(q, k, v, block_mask=blocks, enable_gqa=shared).transpose(1, 2), None
        if shared:
            k, v = (x.repeat_interleave(module.num_key_value_groups, dim=1) for x in (k, v))
        if blocks is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            out = PackedAttention.apply(q, k, v, blocks)
    return out.transpose(1, 2), None


AttentionInterface.register("packed", _attend)


def resolve_compile(compile: str, flex: bool) -> bool:
    """Whether layers are compiled; auto: with flex_attention. PackedAttention, whose blocks have other shapes in each
    batch, would be compiled anew for each."""
    if compile == "on" and not flex:
        raise UserError("lm.compile: on needs flex_attention, and so a GPU; set it to auto")
    return flex and compile != "off"


def resolve_attention(attention: str, device: torch.device, head: int) -> str:
    """'packed' or 'flex' for heads of width `head`; auto takes flex on a GPU where its kernels take such a head."""
    fits = head >= FLEX_HEAD and head & (head - 1) == 0
    if attention == "auto":
        return "flex" if device.type == "cuda" and fits else "packed"
    if attention == "flex" and device.type != "cuda":
        raise UserError("lm.attention: flex needs a GPU, and there is none; set it to auto")
    if attention == "flex" and not fits:
        raise UserError(f"lm.attention: flex needs heads of 16, 32, 64, ... dimensions, not {head}; set it to auto")
    return attention
