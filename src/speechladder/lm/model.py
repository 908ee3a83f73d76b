"""The language model: transformers' LlamaForCausalLM from random weights, and attention over packed documents.

A training window holds several documents end to end (or a part of one), and no token attends across documents.
torch's own attention would spend most of a step on pairs that are masked (measured on one CPU thread, bf16, eight
windows of 512: 62 ms per layer forward and backward against 20), so `PackedAttention` goes through the window in
blocks of queries and touches only the keys from the start of the earliest document on, up to the block's end.
transformers' attention interface takes it in; what is saved is an ordinary Llama.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from speechladder.io.devices import claim
from speechladder.settings import LM

MAX_POSITIONS = 4096  # at least; rotary positions are relative and have no table, so this is a declaration
QUERY_BLOCK = 128  # fastest of 64, 128 and 256
INIT_STD = 0.02  # transformers' and TinyLlama's


def build(settings: LM, meta: dict[str, Any], seed: int) -> LlamaForCausalLM:
    """A Llama with weights drawn from `seed`, for the vocabulary and special ids of tokens/{rung}/meta.json."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=meta["vocab_size"],
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=max(MAX_POSITIONS, settings.window),
        rms_norm_eps=1e-5,  # as TinyLlama
        initializer_range=INIT_STD,
        tie_word_embeddings=False,
        use_cache=True,
        pad_token_id=meta["pad_id"],
        bos_token_id=meta["bos_id"],
        eos_token_id=meta["eos_id"],
        train_window=settings.window,  # ours: no prediction was trained on more context than this
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("packed")
    return model


def load(folder: Path) -> LlamaForCausalLM:
    """A trained model in fp32, ready for `likelihood`."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    model.set_attn_implementation("packed")
    return model.eval()


@dataclass(frozen=True)
class Block:
    """Queries [first, last) of every window, which see keys [low, last) where `bias` (B, 1, queries, keys) is 0."""

    first: int
    last: int
    low: int
    bias: torch.Tensor


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
    """transformers' attention interface: packed with `blocks`, else causal over the whole row."""
    q, k = q.to(v.dtype), k.to(v.dtype)  # under autocast the rotary embedding left them in fp32
    if module.num_key_value_groups > 1:
        k, v = (x.repeat_interleave(module.num_key_value_groups, dim=1) for x in (k, v))
    with torch.autocast(q.device.type, enabled=False):
        if blocks is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            out = PackedAttention.apply(q, k, v, blocks)
    return out.transpose(1, 2), None


AttentionInterface.register("packed", _attend)


def resolve_precision(precision: str, device: torch.device) -> str:
    """'fp32' or 'bf16'; auto takes bf16 on a GPU and on a CPU that multiplies it natively."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16"
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.is_file() else ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """bf16 autocast, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def prepare_torch(threads: int) -> torch.device:
    """Fix what the bits depend on, and give the device: a GPU that no other job has (io.devices), or the CPU."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormals cost a hundred times a normal product on some CPUs
    disable_progress_bar()  # transformers' bars for reading and writing one small file
    device = torch.device(claim())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
