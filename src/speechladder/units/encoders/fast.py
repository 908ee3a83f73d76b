"""The same layers as in transformers, computed faster; the values agree up to rounding.

Front end: with time before channels, a convolution is one matrix product over windows of its input. A group norm over
time is a scale and an offset per channel. Both follow exactly from the mean and covariance of the waveform's windows,
so the group norm becomes part of the first product, and no frame depends on the padding or on the block in which it is
computed. Blocks of time keep the intermediate values in the processor's cache. They also bound the memory that an
hour-long recording takes.

On a CPU the linear layers run through oneDNN with packed weights, activation included. PyTorch gives float32 products
to MKL, which reached 100 GFLOP/s per core on an AMD processor (EPYC, Zen 5) where oneDNN reached 230. In bf16 and fp16
the weights, the products and the activations of the convolutions have that precision. Normalisations compute in
float32, and the residual stream of the transformer stays in float32, but for Large models on a CPU, where it has the
precision of the products.
"""

from typing import Any

import torch
from torch.nn import functional

from speechladder.units.encoders.packed import GroupedConv

_CPU_BLOCK = 50  # frames of the front end at once: one second, 6 MB after the first convolution
_FOLD_BLOCK = 1 << 13  # windows of the first convolution: 2.6 s of HuBERT's
_GPU_BLOCK = 6000  # frames over the batch: two minutes, 0.8 GB after the first convolution in bf16


def packs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether linear layers run through oneDNN's packed weights."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):  # not a public function of PyTorch; without it only speed is lost
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Product(torch.nn.Module):
    """x @ weight.T + bias for x (..., n), then GELU if `gelu`. Computes in `dtype`, through oneDNN if `packed`."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype, packed: bool, gelu: bool = False
    ) -> None:
        super().__init__()
        weight = weight.to(dtype).contiguous()
        self.packed, self.gelu, self.dtype = packed, gelu, dtype
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if packed else weight
        self.bias = None if bias is None else bias.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., n) to (..., m)."""
        x = x.to(self.dtype)
        if self.packed:
            how = "gelu" if self.gelu else "none"
            return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.weight, self.bias, how, [], "none")
        x = functional.linear(x, self.weight, self.bias)
        return functional.gelu(x) if self.gelu else x


def _windows(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """A view (batch, frames, kernel * channels) of contiguous x (batch, time, channels)."""
    batch, time, channels = x.shape
    frames = (time - kernel) // stride + 1
    return x.as_strided((batch, frames, kernel * channels), (x.stride(0), stride * channels, 1), x.storage_offset())


class Front:
    """The convolutions of a feature extractor, from waveforms (batch, samples) to (batch, frames, channels).

    The layers are those of transformers: a group norm in the first one only, or a layer norm in each, and always GELU.
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
        """Weight (channels, kernel) and bias of the first layer with the group norm of an utterance (samples,) in them.

        None if the model has no group norm.
        """
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
        return self._scaled(mean, square / len(windows) - torch.outer(mean, mean))

    def folds(self, waves: torch.Tensor, samples: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
        """`fold` of each of waveforms (batch, longest), padded at the end, with `samples` (batch,) of their own.

        All are computed together, because on a GPU some twenty small operations an utterance take longer to start than
        to run. Blocks have the same length whatever the batch is, so a sum does not depend on it.
        """
        if self.group is None:
            return [None] * len(waves)
        kernel, stride = self.shapes[0]
        windows = _windows(waves[:, :, None], kernel, stride)
        counts = (samples - kernel).div(stride, rounding_mode="floor")[:, None] + 1
        total = waves.new_zeros(len(waves), kernel, dtype=torch.float64)
        square = waves.new_zeros(len(waves), kernel, kernel, dtype=torch.float64)
        for at, block in zip(range(0, windows.shape[1], _FOLD_BLOCK), windows.split(_FOLD_BLOCK, dim=1), strict=True):
            own = torch.arange(at, at + block.shape[1], device=waves.device) < counts
            wide = block.double() * own[..., None]
            total += wide.sum(1)
            square += wide.transpose(1, 2) @ wide
        mean = total / counts
        covariance = square / counts[..., None] - mean[:, :, None] * mean[:, None]
        return list(zip(*self._scaled(mean, covariance), strict=True))

    def _scaled(self, mean: torch.Tensor, covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias with the group norm in them, from the moments of windows (..., kernel) and their products."""
        assert self.group is not None
        first = self.first.to(mean.device)
        variance = ((first @ covariance) * first).sum(-1).clamp(min=0)
        weight = first * (self.group.weight / (variance + self.group.eps).sqrt())[..., None]
        # subtracting the mean cancels the layer's own bias
        return weight, self.group.bias - (weight @ mean[..., None])[..., 0]

    def __call__(self, waves: torch.Tensor, folds: list[tuple[torch.Tensor, torch.Tensor] | None]) -> torch.Tensor:
        """Map waveforms (batch, samples) float32, padded at the end, to (batch, frames, channels) in `dtype`.

        `folds`: `fold` of each utterance. The caller discards the frames that see padding.
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
        """The first product, which differs between utterances."""
        if len(folds) == 1:
            return Product(*folds[0], self.dtype, self.packed, gelu=True)
        weight = torch.stack([weight for weight, _ in folds]).to(self.dtype).transpose(1, 2)
        bias = torch.stack([bias for _, bias in folds]).to(self.dtype)[:, None]
        return lambda x: functional.gelu(torch.baddbmm(bias, x.to(self.dtype), weight))

    def _block(self, x: torch.Tensor, first: Any) -> torch.Tensor:
        """Map (batch, samples, 1) to (batch, frames, channels)."""
        for at, (shape, norm) in enumerate(zip(self.shapes, self.norms, strict=True)):
            x = (first if at == 0 else self.products[at])(_windows(x, *shape))
            if norm is not None:
                x = functional.gelu(norm(x))
            x = x.contiguous()
        return x


def _matrix(conv: torch.nn.Conv1d) -> torch.Tensor:
    """The weight of a convolution as (channels out, kernel * channels in), time before channels."""
    return conv.weight.detach().permute(0, 2, 1).flatten(1)


def speed_up(model: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Convert the weights of the transformer of `model` (of models.KINDS, on `device`) to `dtype`, in place.

    On a CPU they are packed. Otherwise the transformer computes in `dtype` under torch.autocast, as TransformersEncoder
    runs it, and its positional convolution is a product of matrices.
    """
    packed = packs(device, dtype)
    if device.type != "cpu":  # before its weight norm is computed in `dtype`
        place = model.encoder.pos_conv_embed
        place.conv = GroupedConv(place.conv, dtype)
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
        if model.config.model_type != "wavlm":  # WavLM's attention reads the weights itself
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                _pack(layer.attention, name, dtype)


def _pack(owner: Any, name: str, dtype: torch.dtype, gelu: bool = False) -> None:
    linear = getattr(owner, name)
    setattr(owner, name, Product(linear.weight.detach(), linear.bias, dtype, packed=True, gelu=gelu))
