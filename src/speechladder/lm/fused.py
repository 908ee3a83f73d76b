"""A Llama layer in training on a CPU: one autograd function with a gradient by hand in place of sixty small operations.

On a CPU most of a step of a small model is no matrix product. It is copies between fp32 and bf16, norms, rotary
positions and the dispatch of operations. `LlamaLayer` computes what the layer of transformers computes, up to rounding,
from the same parameters: queries, keys and values are one product, gate and up are another, the weight of a norm is
multiplied into the matrix behind it, and each activation is converted once. The model stays an ordinary one of
transformers, whose layers only have another `forward` while it is trained.

Shapes: B windows, T tokens, N = B x T, C width, H heads, D dimensions of a head, F width of the feed-forward part.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from speechladder.lm.architectures.base import parts_of
from speechladder.lm.attention import attend, attend_backward


def install(model: PreTrainedModel) -> bool:
    """Let the layers of a Llama without grouped queries and biases use LlamaLayer where they get `blocks`.

    Return whether the model is such a Llama; any other stays as it is.
    """
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    layers, c = parts_of(model).layers, model.config
    plain = all(type(layer) is LlamaDecoderLayer for layer in layers) and c.hidden_act == "silu"
    if not plain or c.attention_bias or c.mlp_bias or c.num_key_value_heads != c.num_attention_heads:
        return False
    for layer in layers:
        layer.forward = _forward_of(layer)
    return True


def _forward_of(layer: Any) -> Any:
    original, attention, mlp = layer.forward, layer.self_attn, layer.mlp

    def forward(hidden_states, position_embeddings=None, blocks=None, **options):
        if not isinstance(blocks, list):
            return original(hidden_states, position_embeddings=position_embeddings, blocks=blocks, **options)
        norms = layer.input_layernorm, layer.post_attention_layernorm
        into = (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)
        weights = (w.weight for w in (norms[0], *into[0], attention.o_proj, norms[1], *into[1], mlp.down_proj))
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden_states.dtype
        with torch.autocast("cpu", enabled=False):
            rotary = [x.to(kind)[:, None] for x in position_embeddings]
            scales = attention.scaling, norms[0].variance_epsilon
            return LlamaLayer.apply(hidden_states, rotary, blocks, attention.head_dim, scales, kind, *weights)

    return forward


class LlamaLayer(torch.autograd.Function):
    """x (B, T, C) -> (B, T, C), as LlamaDecoderLayer; matrices and activations between them are of dtype `kind`."""

    @staticmethod
    def forward(ctx, x, rotary, blocks, head, scales, kind, n1, wq, wk, wv, wo, n2, wg, wu, wd):
        (B, T, C), D = x.shape, head
        scaling, eps = scales
        x = x.reshape(B * T, C)
        w_qkv, w_gu = (torch.cat([wq, wk, wv]) * n1).to(kind), (torch.cat([wg, wu]) * n2).to(kind)
        w_o, w_d = wo.to(kind), wd.to(kind)
        h1, r1 = normalise(x, eps, kind)
        heads = (h1 @ w_qkv.t()).view(B, T, -1, D).transpose(1, 2).contiguous()
        qk, v = heads.split([2 * heads.shape[1] // 3, heads.shape[1] // 3], 1)
        q, k = rotate(qk, *rotary).chunk(2, 1)
        out, state = attend(q, k, v, blocks, scaling, keep=True)
        o = out.transpose(1, 2).reshape(B * T, -1)
        y = x + o @ w_o.t()
        h2, r2 = normalise(y, eps, kind)
        gate_up = h2 @ w_gu.t()
        gate, up = gate_up.chunk(2, 1)
        active = F.silu(gate)
        inner = active * up
        ctx.shape, ctx.rotary, ctx.blocks, ctx.scaling = (B, T, C, D), rotary, blocks, scaling
        matrices, norms = (w_qkv, w_o, w_gu, w_d), (n1, wq, wk, wv, n2, wg, wu)
        ctx.save_for_backward(*matrices, *norms, h1, r1, o, h2, r2, gate_up, active, inner, *state)
        return (y + inner @ w_d.t()).view(B, T, C)

    @staticmethod
    def backward(ctx, dz):
        w_qkv, w_o, w_gu, w_d, n1, wq, wk, wv, n2, wg, wu, *rest = ctx.saved_tensors
        h1, r1, o, h2, r2, gate_up, active, inner, *state = rest
        B, T, C, D = ctx.shape
        dz = dz.reshape(B * T, C)
        d = dz.to(h1.dtype)
        d_wd = (d.t() @ inner).to(dz.dtype)
        d_inner = d @ w_d
        gate, up = gate_up.chunk(2, 1)
        d_gate_up = torch.empty_like(gate_up)
        d_gate, d_up = d_gate_up.chunk(2, 1)
        torch.mul(d_inner, active, out=d_up)
        torch.ops.aten.silu_backward.grad_input(d_inner.mul_(up), gate, grad_input=d_gate)
        d_n2, d_wg, d_wu = folded_backward(d_gate_up.t() @ h2, n2, wg, wu)
        dy = normalise_backward(dz, d_gate_up @ w_gu, h2, r2)
        d = dy.to(h1.dtype)
        d_wo = (d.t() @ o).to(dz.dtype)
        d_out = (d @ w_o).view(B, T, -1, D).transpose(1, 2)
        dq, dk, dv = attend_backward(d_out, ctx.blocks, ctx.scaling, *state)
        d_heads = torch.cat([rotate_backward(torch.cat([dq, dk], 1), *ctx.rotary), dv], 1)
        d_qkv = d_heads.transpose(1, 2).reshape(B * T, -1)
        d_n1, d_wq, d_wk, d_wv = folded_backward(d_qkv.t() @ h1, n1, wq, wk, wv)
        dx = normalise_backward(dy, d_qkv @ w_qkv, h1, r1).view(B, T, C)
        return (dx, *[None] * 5, d_n1, d_wq, d_wk, d_wv, d_wo, d_n2, d_wg, d_wu, d_wd)


def normalise(x: torch.Tensor, eps: float, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """x (N, C) over the root of its mean square, as `kind`, and one over that root, (N, 1)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = torch.rsqrt(length.square_().div_(x.shape[-1]).add_(eps))
    return (x * inverse).to(kind), inverse


def normalise_backward(residual: torch.Tensor, d: torch.Tensor, h: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """The gradient of x: that of the residual stream plus that of `normalise`, whose result is h."""
    along = (d * h).sum(-1, keepdim=True, dtype=residual.dtype).div_(-h.shape[-1]).to(h.dtype)
    return torch.addcmul(d, h, along).to(residual.dtype).mul_(inverse).add_(residual)


def folded_backward(d: torch.Tensor, norm: torch.Tensor, *weights: torch.Tensor) -> list[torch.Tensor]:
    """The gradients of a norm's weight and of the matrices behind it, from that of their product."""
    d = d.to(norm.dtype)
    d_norm = (d * torch.cat(weights)).sum(0)
    return [d_norm, *d.mul_(norm).split([len(w) for w in weights])]


@cache
def half_turn(size: int, kind: torch.dtype) -> torch.Tensor:
    """(size, size): a row times it is `rotate_half` of transformers, the negated second half before the first."""
    one = torch.eye(size, dtype=kind)
    return torch.cat([one[size // 2 :], -one[: size // 2]])


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions on x (B, heads, T, D)."""
    return (x * cos).addcmul_(x @ half_turn(x.shape[-1], x.dtype), sin)


def rotate_backward(d: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """The gradient of x, from that of `rotate`."""
    return (d * cos).add_((d * sin) @ half_turn(d.shape[-1], d.dtype).t())
