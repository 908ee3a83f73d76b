"""Attention within documents that are packed into windows.

A training window holds several documents end to end (or a part of one), and no token attends across documents. The
attention of torch under a mask would spend most of a step on pairs that are masked (measured on one CPU thread, bf16,
eight windows of 512: 62 ms per layer forward and backward against 20). Two ways skip those pairs. `PackedAttention`
goes through each window in blocks of queries; for each block it reads only the keys from the start of its earliest
document to its end. On a GPU, the compiled flex_attention of torch does the same with a BlockMask. Both
are registered with the attention interface of transformers under the name "packed", so that any decoder that uses the
interface can be trained, and the saved model is an ordinary one.

Shapes: B windows, T tokens, H heads, D dimensions of a head.
"""

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface

from speechladder.io.errors import UserError
from speechladder.io.progress import say
from speechladder.settings.lm import QUERY_BLOCK, fits_flex

# Arguments of the attention interface that change the result and that "packed" does not implement.
UNSUPPORTED = ("dropout", "sliding_window", "softcap", "s_aux")


@dataclass(frozen=True)
class Block:
    """Queries [first, last) of one window. They see the keys [low, last) where `bias` (queries, keys) is 0.

    `window` None: the same queries of every window.
    """

    window: int | None
    first: int
    last: int
    low: int
    bias: torch.Tensor

    def to(self, device: torch.device) -> "Block":
        """The same block on a device."""
        return replace(self, bias=self.bias.to(device, non_blocking=True))

    def rows(self, heads: int) -> slice:
        """The rows of this block in tensors whose first dimension is windows x heads."""
        return slice(None) if self.window is None else slice(self.window * heads, (self.window + 1) * heads)


Blocks = list[Block] | BlockMask


def attention_blocks(starts: torch.Tensor, dtype: torch.dtype) -> list[Block]:
    """Blocks for windows in which token t sees the tokens from starts[:, t] to itself.

    `starts` is (B, T) int64 and does not decrease along T. With one row, the blocks serve any number of windows.
    """
    B, T = starts.shape
    starts = starts.int()
    order = torch.arange(T, device=starts.device, dtype=torch.int32)
    blocks = []
    for window in range(B):
        for first in range(0, T, QUERY_BLOCK):
            last = min(first + QUERY_BLOCK, T)
            begins = starts[window, first:last, None]
            # whole blocks of keys: oneDNN compiles and caches a kernel per shape, a thousand for arbitrary lengths
            low = int(begins[0]) // QUERY_BLOCK * QUERY_BLOCK
            keys = order[low:last]
            hidden = (keys > order[first:last, None]) | (keys < begins)
            bias = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)
            blocks.append(Block(window if B > 1 else None, first, last, low, bias))
    return blocks


def flex_mask(starts: torch.Tensor) -> BlockMask:
    """The BlockMask of windows in which token t sees the tokens from starts[:, t] to itself; `starts` is (B, T).

    On a GPU it is computed by a compiled kernel, which reduces the mask to blocks without ever holding its B x T x T
    entries. On a CPU, where only tests need it, the entries are in memory for a moment.
    """
    B, T = starts.shape

    def same_document(b: torch.Tensor, h: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (q >= k) & (k >= starts[b, q])

    create = _compiled_block_mask() if starts.is_cuda else create_block_mask
    return create(same_document, B, None, T, T, device=starts.device, BLOCK_SIZE=QUERY_BLOCK)


@cache
def _compiled_block_mask() -> Any:
    return torch.compile(create_block_mask)


@cache
def _flex() -> Any:
    return torch.compile(flex_attention)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, blocks: list[Block], scale: float, keep: bool
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """softmax(scale q k^T + bias) v over blocks; q, k, v (B, heads, T, d) of one dtype -> (B, heads, T, d).

    Slices of contiguous tensors go into the products without a copy, and a product adds the bias. With `keep`, the
    second value is what `attend_backward` needs.
    """
    shape, heads = q.shape, q.shape[1]
    q, k, v = (x.contiguous().flatten(0, 1) for x in (q, k, v))
    out, weights = torch.empty_like(q), []
    for b in blocks:
        rows, queries, keys = b.rows(heads), slice(b.first, b.last), slice(b.low, b.last)
        scores = torch.baddbmm(b.bias, q[rows, queries], k[rows, keys].transpose(1, 2), alpha=scale)
        p = torch.softmax(scores, -1)
        torch.bmm(p, v[rows, keys], out=out[rows, queries])
        if keep:
            weights.append(p)
    return out.view(shape), [q, k, v, *weights]


def attend_backward(
    grad: torch.Tensor, blocks: list[Block], scale: float, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *weights
) -> list[torch.Tensor]:
    """The gradients of q, k and v, from that of the result and from what `attend` has kept."""
    shape, heads = grad.shape, grad.shape[1]
    grad = grad.contiguous().flatten(0, 1)
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for b, p in zip(blocks, weights):
        rows, queries, keys = b.rows(heads), slice(b.first, b.last), slice(b.low, b.last)
        g = grad[rows, queries]
        dv[rows, keys].baddbmm_(p.transpose(1, 2), g)
        d = torch.bmm(g, v[rows, keys].transpose(1, 2))
        d = p * (d - (d * p).sum(-1, keepdim=True)) if FUSED is None else FUSED(d, p, -1, d.dtype)
        torch.bmm(d, k[rows, keys], out=dq[rows, queries])
        dk[rows, keys].baddbmm_(d.transpose(1, 2), q[rows, queries])
    return [x.view(shape) for x in (dq.mul_(scale), dk.mul_(scale), dv)]


class PackedAttention(torch.autograd.Function):
    """`attend` under the scale 1 / sqrt(d), with its gradient."""

    @staticmethod
    def forward(ctx, q, k, v, blocks):
        ctx.blocks, ctx.scale, differentiated = blocks, q.shape[-1] ** -0.5, any(ctx.needs_input_grad)
        out, state = attend(q, k, v, blocks, ctx.scale, differentiated)
        if differentiated:
            ctx.save_for_backward(*state)
        return out

    @staticmethod
    def backward(ctx, grad):
        return (*attend_backward(grad, ctx.blocks, ctx.scale, *ctx.saved_tensors), None)


FUSED = getattr(torch, "_softmax_backward_data", None)  # the kernel of softmax's own backward pass


def default_scale(q: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """Queries that give under the default scale D**-0.5 the scores that `q` gives under `scaling`."""
    default = q.shape[-1] ** -0.5
    return q if scaling is None or scaling == default else q * (scaling / default)


def _attend(module, q, k, v, mask, blocks=None, scaling=None, **options):
    """The attention interface of transformers: within documents with `blocks`, otherwise causal over the whole row.

    q (B, H, T, D) and k, v (B, groups, T, D) -> (B, T, H, D).
    """
    given = {name: options.get(name) for name in UNSUPPORTED}
    if unsupported := [name for name, value in given.items() if torch.is_tensor(value) or value]:
        raise UserError(f"lm.architecture: {type(module).__name__} needs {', '.join(unsupported)}, which packed lacks")
    q, k = q.to(v.dtype), k.to(v.dtype)  # under autocast the rotary embedding left them in fp32
    q = default_scale(q, scaling)
    groups = q.shape[1] // k.shape[1]
    with torch.autocast(q.device.type, enabled=False):
        if isinstance(blocks, BlockMask):
            attend = _flex() if q.is_cuda else flex_attention
            return attend(q, k, v, block_mask=blocks, enable_gqa=groups > 1).transpose(1, 2), None
        if groups > 1:
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        if blocks is None:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            out = PackedAttention.apply(q, k, v, blocks)
    return out.transpose(1, 2), None


AttentionInterface.register("packed", _attend)


def resolve_compile(compile: str, flex: bool, worth: bool = True) -> bool:
    """Whether layers are compiled; auto: together with flex_attention, if compiling is `worth` its time
    (compute.worth_compiling).

    PackedAttention has blocks of other shapes in each batch, so compiled layers would be compiled again for each.
    Raise UserError if `compile` is on without flex_attention.
    """
    if compile == "on" and not flex:
        raise UserError("lm.compile: on needs flex_attention, and so a GPU; set it to auto")
    return flex and (compile == "on" or (compile == "auto" and worth))


def resolve_attention(attention: str, device: torch.device, head: int, worth: bool = True) -> str:
    """'packed' or 'flex' for heads of `head` dimensions.

    auto: flex on a GPU if its kernels accept such heads, Triton can build them, and building them is `worth` its time
    (compute.worth_compiling). A sentence on stderr says what Triton lacks. Raise UserError if `attention` is flex and
    the device, the heads or Triton do not allow it.
    """
    fits = fits_flex(head)
    if attention == "auto":
        if device.type != "cuda" or not fits or not worth:
            return "packed"
        if lack := triton_lacks():
            if os.environ.get("RANK", "0") == "0":
                say(f"lm.attention: packed, because flex needs kernels that Triton builds, and {lack}")
            return "packed"
        return "flex"
    if attention == "flex" and device.type != "cuda":
        raise UserError("lm.attention: flex needs a GPU, and there is none; set it to auto")
    if attention == "flex" and not fits:
        raise UserError(f"lm.attention: flex needs heads of 16, 32, 64, ... dimensions, not {head}; set it to auto")
    if attention == "flex" and (lack := triton_lacks()):
        raise UserError(f"lm.attention: flex needs kernels that Triton builds, and {lack}; or set it to auto")
    return attention


@cache
def triton_lacks() -> str | None:
    """What Triton misses to build a kernel on this machine, and the fix; None if it misses nothing.

    Triton compiles a C file with Python.h for each kernel, by the program in CC, gcc or clang (triton.runtime.build).
    The same compiler is asked to read the same header here, so that paths which only the compiler knows count too.
    """
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; install torch with CUDA"
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        return "there is no C compiler; install gcc, or name one in CC"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # Debian's, as in Triton
    include = sysconfig.get_paths(scheme=scheme)["include"]
    command = [compiler, "-x", "c", "-fsyntax-only", f"-I{include}", "-"]
    try:
        done = subprocess.run(command, input="#include <Python.h>\n", capture_output=True, text=True)
    except OSError as error:
        return f"the C compiler {compiler} cannot be started ({error.strerror}); name another one in CC"
    if done.returncode == 0:
        return None
    if "Python.h" in done.stderr:
        return f"the C compiler {compiler} finds no Python.h; install Python's headers (python3-dev)"
    why = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return f"the C compiler {compiler} fails ({why}); name another one in CC"
