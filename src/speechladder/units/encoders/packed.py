"""The transformer of HuBERT and wav2vec 2.0 on a GPU: the frames of a batch end to end, without padding.

A padded batch needs a mask. transformers reads the mask back from the device to see whether it hides anything, and with
it no flash attention runs. Here the positional convolution runs on the padded batch. After it the padding is dropped,
and every utterance attends to itself alone: by torch's attention over sequences of different lengths in half precision,
and one utterance at a time otherwise. So no utterance sees another one, and nothing waits for the device.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface

from speechladder.io.devices import send

_BLOCK = 16  # frames of the output of one row of GroupedConv's product


class GroupedConv(torch.nn.Module):
    """A grouped Conv1d of stride 1 as one product of matrices a group, for the positional convolution.

    cuDNN is slow in its deterministic mode, with kernels as wide as 128 frames and few channels a group. A row of the
    product makes _BLOCK frames at once. Its matrix is the kernel repeated along a diagonal, so that windows of the
    input overlap less: 9 times the input is copied in place of 128 times, for an eighth more arithmetic.
    """

    def __init__(self, conv: torch.nn.Conv1d, dtype: torch.dtype) -> None:
        super().__init__()
        (self.kernel,), (self.padding,), self.groups = conv.kernel_size, conv.padding, conv.groups
        taps = conv.weight.detach().unflatten(0, (self.groups, -1)).permute(0, 3, 2, 1)  # (groups, kernel, in, out)
        rows = _BLOCK + self.kernel - 1
        wide = taps.new_zeros(self.groups, rows, taps.shape[2], _BLOCK, taps.shape[3])
        for frame in range(_BLOCK):
            wide[:, frame : frame + self.kernel, :, frame] = taps
        self.weight = wide.flatten(3).flatten(1, 2).to(dtype)
        self.bias = None if conv.bias is None else conv.bias.detach()[:, None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, time) to (batch, channels, frames), as the Conv1d does."""
        batch, _, time = x.shape
        frames = time + 2 * self.padding - self.kernel + 1
        blocks = -(-frames // _BLOCK)
        after = blocks * _BLOCK + self.kernel - 1 - time - self.padding
        x = functional.pad(x.to(self.weight.dtype), (self.padding, after))
        x = x.unflatten(1, (self.groups, -1)).permute(1, 0, 3, 2).contiguous()  # (groups, batch, time, in)
        taken = x.shape[3]
        shape = (self.groups, batch, blocks, (_BLOCK + self.kernel - 1) * taken)
        windows = x.as_strided(shape, (x.stride(0), x.stride(1), _BLOCK * taken, 1))
        out = torch.bmm(windows.flatten(1, 2), self.weight).view(self.groups, batch, blocks * _BLOCK, -1)
        out = out[:, :, :frames].permute(1, 0, 3, 2).flatten(1, 2)
        return out if self.bias is None else out + self.bias.to(out.dtype)


@dataclass(frozen=True)
class Lengths:
    """The utterances of a batch: `frames` of each, and their `ends` (utterances + 1,) int32 on the device, from 0.

    With `flash` only `ends` and `longest` are read, so that compiled layers do not depend on the single lengths.
    """

    frames: list[int]
    longest: int
    ends: torch.Tensor
    flash: bool


def has_flash(device: torch.device, dtype: torch.dtype, head: int) -> bool:
    """Whether torch has attention over sequences of different lengths for this card, precision and head size."""
    half = dtype in (torch.float16, torch.bfloat16) and head % 8 == 0 and head <= 256
    return half and device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _attend(module, q, k, v, mask, lengths=None, **_):
    """Attention within utterances, for transformers' AttentionInterface: q (1, heads, frames, d)."""
    if lengths.flash:
        from torch.nn.attention.varlen import varlen_attn

        rows = [x[0].transpose(0, 1) for x in (q, k, v)]
        return varlen_attn(*rows, lengths.ends, lengths.ends, lengths.longest, lengths.longest)[None], None
    each = zip(*(x.split(lengths.frames, dim=2) for x in (q, k, v)), strict=True)
    return torch.cat([functional.scaled_dot_product_attention(*x) for x in each], dim=2).transpose(1, 2), None


AttentionInterface.register("utterances", _attend)


class Packed:
    """The transformer of `model` (hubert or wav2vec2 of models.KINDS); `dtype` is that of its products."""

    def __init__(self, model: Any, dtype: torch.dtype, device: torch.device, compiled: bool = False) -> None:
        model.set_attn_implementation("utterances")
        self.encoder, self.stable = model.encoder, model.config.do_stable_layer_norm
        head = model.config.hidden_size // model.config.num_attention_heads
        self.flash = has_flash(device, dtype, head)
        self.layers = torch.compile(self._layers, dynamic=True) if compiled else self._layers

    def __call__(self, hidden: torch.Tensor, frames: list[int]) -> list[torch.Tensor]:
        """Map projected frames (batch, longest, width), padded, to those of each utterance (frames, width) float32.

        What is added up from layer to layer is float32.
        """
        longest, device = hidden.shape[1], hidden.device
        places = np.concatenate([row * longest + np.arange(count) for row, count in enumerate(frames)])
        places, ends = send(places, device), send(np.cumsum([0, *frames], dtype=np.int32), device)
        own = torch.arange(longest, device=device) < ends.diff()[:, None]
        hidden = torch.where(own[..., None], hidden.float(), 0.0)
        hidden = hidden + self.encoder.pos_conv_embed(hidden)
        if not self.stable:
            hidden = self.encoder.layer_norm(hidden)
        packed = hidden.flatten(0, 1).index_select(0, places)[None]
        return list(self.layers(packed, Lengths(frames, longest, ends, self.flash))[0].float().split(frames))

    def _layers(self, packed: torch.Tensor, lengths: Lengths) -> torch.Tensor:
        for layer in self.encoder.layers:
            packed = layer(packed, attention_mask=None, lengths=lengths)
            packed = packed[0] if isinstance(packed, tuple) else packed  # of transformers before version 5
        return packed
