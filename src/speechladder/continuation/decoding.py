"""Sampling from a Llama with a cache of keys and values.

The loop calls transformers' model with an attention function of this module (`_attend`). All samples of a prompt share
its keys and values, which are computed once; new keys and values go into preallocated buffers. transformers' `generate`
repeats the prompt's cache for each sample and has no random stream of its own for each row. benchmarks/generation.py
compares the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import AttentionInterface, PreTrainedModel

from speechladder.io.progress import no_progress
from speechladder.lm.architectures.base import parts_of
from speechladder.lm.attention import Block, PackedAttention, attention_blocks, default_scale
from speechladder.lm.batches import padded
from speechladder.rungs.tokenizers import BOS, EOS, PAD, UNK

NEVER = [PAD, BOS, UNK]  # ids that are never sampled
GPU_STEPS = 16  # steps on a GPU between two looks at whether all rows have ended, for each of which the GPU is waited


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    temperature: float,
    top_p: float,
    batch: int,
    advance: Callable[[float], object] = no_progress,
) -> list[list[tuple[list[int], bool]]]:
    """Sample continuations: for each prompt and sample the new ids, and whether `</s>` ended them (it is not included).

    `prompts` are ids that begin with `<s>`, `uniforms` is (prompts, samples, tokens) in [0, 1), `batch` the number of
    rows at once. The model is converted to float64. A token attends to at most `config.train_window` tokens, as in
    training and scoring, however long the prompt is. `advance` is called with the number of tokens that a step adds, or
    GPU_STEPS of them on a GPU.
    """
    model = model.double().eval()
    model.set_attn_implementation("shared-prompt")
    _, samples, _ = uniforms.shape
    across, together = min(samples, batch), max(1, batch // samples)
    out: list[list[tuple[list[int], bool]]] = [[] for _ in prompts]
    for begin in range(0, len(prompts), together):
        some = prompts[begin : begin + together]
        for first in range(0, samples, across):
            numbers = uniforms[begin : begin + together, first : first + across]
            drawn = _decode(model, some, numbers, temperature, top_p, advance).reshape(*numbers.shape[:2], -1)
            for said, rows in zip(out[begin:], drawn.tolist()):
                said += [(row[: row.index(EOS)], True) if EOS in row else (row, False) for row in rows]
    return out


def _decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    temperature: float,
    top_p: float,
    advance: Callable[[float], object],
) -> np.ndarray:
    """Ids (prompts x samples, tokens) of one batch; those after a row's first `</s>` are meaningless."""
    parts, (_, samples, steps) = parts_of(model), uniforms.shape
    device = parts.head.weight.device
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    ids_PT = torch.from_numpy(padded([np.asarray(p) for p in prompts])).to(device)
    cache = _Cache(lengths, samples, steps, model.config.train_window)
    states_PTC = parts.body(input_ids=ids_PT, use_cache=False, cache=cache).last_hidden_state
    # padding is on the right, so that causal attention ignores it and positions count from each prompt's `<s>`
    states_RC = states_PTC[torch.arange(len(prompts), device=device), lengths - 1].repeat_interleave(samples, 0)
    numbers_RN = torch.from_numpy(uniforms.reshape(-1, steps)).to(device)
    positions_R, drawn = lengths.repeat_interleave(samples), []
    going_R = torch.ones(len(positions_R), dtype=torch.bool, device=device)
    added, every = torch.zeros((), dtype=torch.int64, device=device), 1 if device.type == "cpu" else GPU_STEPS
    for step in range(steps):
        token_R = sample(parts.head(states_RC), numbers_RN[:, step], temperature, top_p)
        drawn.append(token_R)
        added += going_R.sum()
        going_R &= token_R != EOS
        if step + 1 == steps or (step + 1) % every == 0:
            new, going = torch.stack([added, going_R.sum()]).tolist()
            advance(new)
            if step + 1 == steps or not going:
                break
            added.zero_()
        cache.step = step
        position = (positions_R + step)[:, None]
        result = parts.body(input_ids=token_R[:, None], position_ids=position, use_cache=False, cache=cache)
        states_RC = result.last_hidden_state[:, 0]
    return torch.stack(drawn, 1).cpu().numpy()


def sample(logits: torch.Tensor, numbers: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Sample (R,) ids from the nucleus of softmax(logits (R, V) / temperature), by `numbers` (R,) in [0, 1).

    An id is the inverse of the nucleus' distribution function at its number. The nucleus is the smallest set of most
    likely ids with a total probability of `top_p` (Holtzman et al. 2020); ids of equal probability are taken in order.
    """
    logits = logits.double() / temperature
    for id in NEVER:  # a list as the index would be sent to the device for every token
        logits[:, id] = -torch.inf
    p, order = torch.softmax(logits, -1).sort(dim=-1, descending=True, stable=True)
    upto = p.cumsum(-1)
    last = ((upto - p < top_p) & (p > 0)).sum(-1, keepdim=True) - 1  # place of the least likely id of the nucleus
    wanted = numbers[:, None] * upto.gather(-1, last)
    return order.gather(-1, torch.searchsorted(upto, wanted, right=True).minimum(last))[:, 0]


@dataclass
class _Cache:
    """Keys and values by layer: (P, heads, T, d) of P prompts, (P, heads, samples, tokens, d) of their samples."""

    lengths: torch.Tensor  # (P,) of the prompts
    samples: int
    room: int  # largest number of new tokens
    window: int  # tokens that a token attends to, itself included
    step: int | None = None  # index of the new token that is the model's input; None while prompts are
    blocks: list[Block] = field(default_factory=list)  # of the prompts' attention, the same in every layer
    prompts: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    new: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)


def _attend(module, q, k, v, mask, cache=None, scaling=None, **_):
    """Attention with a _Cache, for transformers' AttentionInterface: q (rows, heads, T, d) -> (rows, T, heads, d)."""
    q = default_scale(q, scaling)
    if cache.step is None:
        return _prefill(module, q, k, v, cache).transpose(1, 2), None
    (kp, vp), (kn, vn), now = cache.prompts[module.layer_idx], cache.new[module.layer_idx], cache.step
    P, G, T, D = kp.shape
    S = cache.samples
    for buffer, value in ((kn, k), (vn, v)):
        buffer[:, :, :, now] = value.view(P, S, G, D).transpose(1, 2)
    q = q.view(P, S, G, -1, D).transpose(1, 2) * D**-0.5  # (P, G, S, heads of a group, D): heads of a group share keys
    seen = slice(max(0, now + 1 - cache.window), now + 1)
    order, ends = torch.arange(T, device=q.device), cache.lengths[:, None]
    hidden = (order >= ends) | (order <= ends + now - cache.window)
    old = (q.reshape(P, G, -1, D) @ kp.transpose(-1, -2)).masked_fill_(hidden[:, None, None], -torch.inf)
    own = q @ kn[:, :, :, seen].transpose(-1, -2)
    weights = torch.softmax(torch.cat([old.view(*own.shape[:-1], T), own], -1), -1)
    out = (weights[..., :T].reshape(P, G, -1, T) @ vp).view(q.shape) + weights[..., T:] @ vn[:, :, :, seen]
    return out.transpose(1, 2).reshape(P * S, 1, -1, D), None


def _prefill(module, q, k, v, cache):
    """Causal attention over the prompts; keeps their keys and values in the cache."""
    P, G, T, D = k.shape
    k, v = k.contiguous(), v.contiguous()  # otherwise each step's product would copy them
    cache.prompts[module.layer_idx] = k, v
    cache.new[module.layer_idx] = tuple(k.new_empty(P, G, cache.samples, cache.room, D) for _ in "kv")
    if not cache.blocks:  # made on the host, which reads where each block begins
        starts = (torch.arange(T) - cache.window + 1).clamp(min=0)[None]
        cache.blocks = [block.to(q.device) for block in attention_blocks(starts, q.dtype)]
    groups = q.shape[1] // G
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    return PackedAttention.apply(q, k, v, cache.blocks)


AttentionInterface.register("shared-prompt", _attend)
