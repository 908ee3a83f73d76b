"""The same layers, computed faster than transformers does, with the same values to rounding.

Front end: with time before channels a convolution is one matrix product over frames of its input. A group norm over
time is a scale and an offset per channel, which follow exactly from the mean and covariance of the waveform's windows:
so it becomes part of the first product, and no frame depends on the padding or on the block it is computed in. Blocks
of time keep the intermediate values in the processor's cache, and the memory of an hour-long recording bounded.

On a CPU the linear layers go to oneDNN with packed weights, activation included. PyTorch gives float32 products to MKL,
which on an AMD processor (EPYC, Zen 5) ran at 100 GFLOP/s a core where oneDNN ran at 230. In bf16 and fp16 weights and
products are in that precision, and so are the convolutions' activations; normalisations compute in float32, and the
transformer's residual stream stays in float32.
"""

from typing import Any

import torch
from torch.nn import functional

_CPU_BLOCK = 50  # frames of the front end at once: a second, 6 MB after the first convolution
_GPU_BLOCK = 6000  # over the batch: two minutes, 0.8 GB after the first convolution in bf16


def packs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether linear layers run through oneDNN's packed weights."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # not promised by PyTorch; without it only the speed is less
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Product(torch.nn.Module):
    """x (..., n) -> x @ weight.T + bias, then GELU if `gelu`; in `dtype`, through oneDNN where `packed`."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype, packed: bool, gelu: bool = False
    ) -> None:
        super().__init__()
        weight = weight.to(dtype).contiguous()
        self.packed, self.gelu, self.dtype = packed, gelu, dtype
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if packed else weight
        self.bias = None if bias is None else bias.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., n) -> (..., m)."""
        x = x.to(self.dtype)
        if self.packed:
            how = "gelu" if self.gelu else "none"
            return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.weight, self.bias, how, [], "none")
        x = functional.linear(x, self.weight, self.bias)
        return functional.gelu(x) if self.gelu else x


def _windows(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """(batch, time, channels), contiguous -> (batch, frames, kernel * channels), a view."""
    batch, time, channels = x.shape
    frames = (time - kernel) // stride + 1
    return x.as_strided((batch, frames, kernel * channels), (x.stride(0), stride * channels, 1), x.storage_offset())


class Front:
    """The convolutions of a feature extractor, from waveforms (batch, samples) to (batch, frames, channels).

    Layers come from transformers: a group norm in the first alone, or a layer norm in each; GELU after every one.
    """

    def __init__(self, layers: Any, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.packed, self.cpu = dtype, packs(device, dtype), device.type == "cpu"
        self.shapes = [(layer.conv.kernel_size[0], layer.conv.stride[0]) for layer in layers]
        self.window, self.hop = 1, 1
        for kernel, stride in self.shapes:
            self.window, self.hop = self.window + (kernel - 1) * self.hop, self.hop * stride
        norm = getattr(layers[0], "layer_norm", None)
        self.group = norm if isinstance(norm, torch.nn.GroupNorm) else None
        self.first = _matrix(layers[0].conv).double()
        self.norms = [None if self.group else layer.layer_norm.to(dtype) for layer in layers]
        gelus = [norm is None for norm in self.norms]
        self.products = [
            Product(_matrix(layer.conv), layer.conv.bias, dtype, self.packed, gelu)
            for layer, gelu in zip(layers, gelus, strict=True)
        ]

    def fold(self, wave: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(samples,) of one whole utterance -> the first layer's weight (channels, kernel) and bias with its group norm
        in them; None where there is no group norm."""
        if self.group is None:
            return None
        windows = _windows(wave[None, :, None], *self.shapes[0])[0]
        total = windows.new_zeros(windows.shape[1], dtype=torch.float64)
        square = torch.outer(total, total)
        for block in windows.split(1 << 16):
            wide = block.double()
            total += wide.sum(0)
            square += wide.T @ wide
        mean = total / len(windows)
        covariance = square / len(windows) - torch.outer(mean, mean)
        first = self.first.to(wave.device)
        variance = ((first @ covariance) * first).sum(1).clamp(min=0)
        weight = first * (self.group.weight / (variance + self.group.eps).sqrt())[:, None]
        return weight, self.group.bias - weight @ mean  # its own bias is taken out with the mean

    def __call__(self, waves: torch.Tensor, folds: list[tuple[torch.Tensor, torch.Tensor] | None]) -> torch.Tensor:
        """(batch, samples) float32, padded at the end, and the `fold` of each -> (batch, frames, channels) in `dtype`.

        Frames that see padding are to be thrown away.
        """
        frames = (waves.shape[1] - self.window) // self.hop + 1
        block = _CPU_BLOCK if self.cpu else max(1, _GPU_BLOCK // len(waves))
        first = self._folded(folds) if self.group else self.products[0]
        parts = []
        for at in range(0, frames, block):
            stop = min(at + block, frames)
            x = waves[:, at * self.hop : (stop - 1) * self.hop + self.window, None]
            parts.append(self._block(x.contiguous(), first))
        return torch.cat(parts, dim=1)

    def _folded(self, folds: list[Any]) -> Any:
        """The first product where each utterance has its own."""
        if len(folds) == 1:
            return Product(*folds[0], self.dtype, self.packed, gelu=True)
        weight = torch.stack([weight for weight, _ in folds]).to(self.dtype).transpose(1, 2)
        bias = torch.stack([bias for _, bias in folds]).to(self.dtype)[:, None]
        return lambda x: functional.gelu(torch.baddbmm(bias, x.to(self.dtype), weight))

    def _block(self, x: torch.Tensor, first: Any) -> torch.Tensor:
        """(batch, samples, 1) -> (batch, frames, channels)."""
        for at, (shape, norm) in enumerate(zip(self.shapes, self.norms, strict=True)):
            x = (first if at == 0 else self.products[at])(_windows(x, *shape))
            if norm is not None:
                x = functional.gelu(norm(x))
            x = x.contiguous()
        return x


def _matrix(conv: torch.nn.Conv1d) -> torch.Tensor:
    """A convolution's weight as (channels out, kernel * channels in), time before channels."""
    return conv.weight.detach().permute(0, 2, 1).flatten(1)


def speed_up(model: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Give the transformer of `model` (of models.KINDS, on `device`) its weights in `dtype`, packed on a CPU; in place.

    Without packing it computes in `dtype` under torch.autocast alone, which is how Encoder runs it.
    """
    packed = packs(device, dtype)
    for part in (model.feature_projection, model.encoder):
        for module in part.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv1d):
                module.to(dtype)
    if not packed:
        return
    gelu = model.config.hidden_act == "gelu"
    _pack(model.feature_projection, "projection", dtype)
    for layer in model.encoder.layers:
        _pack(layer.feed_forward, "output_dense", dtype)
        _pack(layer.feed_forward, "intermediate_dense", dtype, gelu)
        if gelu:
            layer.feed_forward.intermediate_act_fn = torch.nn.Identity()
        if model.config.model_type != "wavlm":  # whose attention reads the weights itself
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                _pack(layer.attention, name, dtype)


def _pack(owner: Any, name: str, dtype: torch.dtype, gelu: bool = False) -> None:
    linear = getattr(owner, name)
    setattr(owner, name, Product(linear.weight.detach(), linear.bias, dtype, packed=True, gelu=gelu))
