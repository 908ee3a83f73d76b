"""The network of hubert-micro: a HubertModel whose first convolution starts as a mel-spaced Gabor filter bank."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.files import atomic_folder
from speechladder.units.mfcc import hz_to_mel, mel_to_hz


@dataclass(frozen=True)
class Architecture:
    """The sizes of a HubertConfig that the recipe chooses."""

    bands: int = 48  # Gabor bands of the first convolution, each in 4 phases
    conv_dim: tuple[int, ...] = (192, 256)
    conv_kernel: tuple[int, ...] = (240, 2)
    conv_stride: tuple[int, ...] = (160, 2)
    hidden_size: int = 192
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 768
    position_kernel: int = 31
    position_groups: int = 12


def build_model(architecture: Architecture, seed: int) -> nn.Module:
    """A HubertModel of these sizes with new weights, and a Gabor filter bank as its first convolution."""
    from transformers import HubertConfig, HubertModel

    a = architecture
    torch.manual_seed(seed)
    config = HubertConfig(
        hidden_size=a.hidden_size,
        num_hidden_layers=a.layers,
        num_attention_heads=a.heads,
        intermediate_size=a.intermediate_size,
        conv_dim=list(a.conv_dim),
        conv_kernel=list(a.conv_kernel),
        conv_stride=list(a.conv_stride),
        num_feat_extract_layers=len(a.conv_dim),
        conv_bias=True,
        feat_extract_norm="group",
        num_conv_pos_embeddings=a.position_kernel,
        num_conv_pos_embedding_groups=a.position_groups,
        hidden_dropout=0.0,
        activation_dropout=0.0,
        attention_dropout=0.0,  # attention dropout would prevent the fast path of SDPA
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.05,  # above 0, so that the model has a mask embedding; the masks come from the training loop
        mask_feature_prob=0.0,
        vocab_size=32,
        attn_implementation="eager",  # a fifth faster than SDPA on one CPU thread at 200 frames, with backward pass
    )
    model = HubertModel(config)
    first = model.feature_extractor.conv_layers[0]
    with torch.no_grad():
        filters = torch.from_numpy(gabor(a.bands, a.conv_kernel[0]))
        if len(filters) > a.conv_dim[0]:
            raise ValueError(f"conv_dim[0]={a.conv_dim[0]} cannot hold {a.bands} bands in 4 phases")
        first.conv.weight[: len(filters), 0] = filters
        first.conv.bias.zero_()
        first.layer_norm.weight.fill_(2.0)  # steep, so that GELU of the four phases adds up to an amplitude
    return model


def gabor(bands: int, length: int) -> np.ndarray:
    """(4 * bands, length) float32: Gabor filters of unit norm, mel-spaced from 80 Hz to 7.6 kHz, in four phases."""
    centres = mel_to_hz(np.linspace(hz_to_mel(80.0), hz_to_mel(7600.0), bands))
    spacing = np.gradient(centres)
    t = (np.arange(length) - (length - 1) / 2) / SAMPLE_RATE
    out = []
    for centre, width in zip(centres, spacing):
        # in seconds; wide bands are short in time
        deviation = min(length / SAMPLE_RATE / 5, 1 / (2 * np.pi * 0.6 * width))
        for phase in range(4):
            out.append(np.exp(-0.5 * (t / deviation) ** 2) * np.cos(2 * np.pi * centre * t + phase * np.pi / 2))
    filters = np.array(out)
    return (filters / np.linalg.norm(filters, axis=1, keepdims=True)).astype(np.float32)


def export_model(model: nn.Module, folder: Path) -> None:
    """Write a folder that transformers loads: config.json, model.safetensors in fp32, preprocessor_config.json."""
    from transformers import Wav2Vec2FeatureExtractor

    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        Wav2Vec2FeatureExtractor(
            feature_size=1, sampling_rate=SAMPLE_RATE, do_normalize=True, return_attention_mask=False
        ).save_pretrained(temporary)


def load_model(folder: Path) -> nn.Module:
    """The HubertModel in `folder`, fp32."""
    from transformers import HubertModel

    return HubertModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def normal(samples: np.ndarray) -> np.ndarray:
    """(n,) samples with zero mean and unit variance, float32."""
    x = samples.astype(np.float32)
    return (x - x.mean()) / max(float(x.std()), 1e-3)


def fix_norm(model: nn.Module, waves: list[np.ndarray], headroom: float) -> nn.Module:
    """A model that computes nearly the same, whose front end normalises by fixed statistics: those of `waves`.

    The group norm of the first convolution takes the mean and variance of each filter over the recording. Those of a
    single word are far from those of a sentence, and with them the shape of the word's spectrum is lost. HubertModel
    has no fixed normalisation, so its layer norms become one. Every convolution gets two more channels. They hold a
    constant and its opposite, `headroom` times as strong as the other channels together, so that the layer norm divides
    every frame by nearly the same number. Its gain multiplies by that number. With a small `headroom` loud frames are
    divided by more, which is an automatic gain control.
    """
    from transformers import HubertModel

    config = copy.deepcopy(model.config)
    config.conv_dim, config.feat_extract_norm = [d + 2 for d in config.conv_dim], "layer"
    fixed = HubertModel(config)
    state = model.state_dict()
    with torch.no_grad():
        x = [torch.from_numpy(normal(wave))[None, None] for wave in waves]
        for number, layer in enumerate(model.feature_extractor.conv_layers):
            tensors = _fixed_layer(layer, x, headroom, number == 0)
            state |= {f"feature_extractor.conv_layers.{number}.{key}": value for key, value in tensors.items()}
            x = [layer(part) for part in x]
    for name in ("layer_norm.weight", "layer_norm.bias", "projection.weight"):
        if (key := f"feature_projection.{name}") in state:
            state[key] = functional.pad(state[key], (0, 2))
    fixed.load_state_dict(state)
    fixed.set_attn_implementation(model.config._attn_implementation)
    return fixed


def _fixed_layer(layer: nn.Module, x: list[torch.Tensor], headroom: float, first: bool) -> dict[str, torch.Tensor]:
    """The tensors of a convolution with a fixed norm. `x`: its inputs, each (1, channels, time).

    The first layer has a group norm, which becomes part of its weights; the others have no norm.
    """
    weight, bias = layer.conv.weight, layer.conv.bias
    shift = torch.zeros_like(bias)
    out = [layer.conv(part) for part in x]
    if first:
        norm = layer.layer_norm
        mean = torch.stack([part.mean((0, 2)) for part in out]).mean(0)
        variance = torch.stack([part.var((0, 2), unbiased=False) for part in out]).mean(0)
        gain = norm.weight / (variance + norm.eps).sqrt()
        weight, bias, shift = weight * gain[:, None, None], (bias - mean) * gain, norm.bias
        out = [(part - mean[:, None]) * gain[:, None] for part in out]
    channels, square = len(bias), torch.stack([part.square().mean() for part in out]).mean()
    constant = headroom * (channels * square / 2).sqrt()
    divisor = ((channels * square + 2 * constant**2) / (channels + 2)).sqrt()
    # the two channels also take away the sum of the others, so that the mean that a layer norm subtracts is zero
    weight = torch.cat([weight, -weight.sum(0, keepdim=True).expand(2, -1, -1) / 2])
    bias = torch.cat([bias, -bias.sum() / 2 + constant * torch.tensor([1.0, -1.0])])
    return {
        "conv.weight": functional.pad(weight, (0, 0, 0, 0 if first else 2)),
        "conv.bias": bias,
        "layer_norm.weight": functional.pad(divisor.expand(channels), (0, 2)),
        "layer_norm.bias": functional.pad(shift, (0, 2)),
    }


def layer_features(model: nn.Module, samples: np.ndarray, layer: int) -> np.ndarray:
    """The output of transformer layer `layer` (1 is the first) for (n,) samples: (frames, hidden) float32."""
    device = model.device
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        x = torch.from_numpy(normal(samples))[None].to(device)
        out = model(x, output_hidden_states=True).hidden_states[layer]
    return out[0].float().cpu().numpy()


def warped_features(model: nn.Module, samples: np.ndarray, layer: int, warps: tuple[float, ...]) -> np.ndarray:
    """As `layer_features`, averaged over the utterance played at each speed of `warps`, on the original time axis.

    Speed shifts pitch and formants. So the mean depends less on the speaker, which makes it a better teacher.
    """
    total = np.zeros((frame_count(len(samples)), model.config.hidden_size), np.float32)
    for warp in warps:
        if warp == 1.0:
            total += layer_features(model, samples, layer)
            continue
        at = np.arange(int((len(samples) - 1) / warp) + 1) * warp
        found = layer_features(model, np.interp(at, np.arange(len(samples)), samples).astype(np.float32), layer)
        place = ((np.arange(len(total)) * HOP + RECEPTIVE_FIELD // 2) / warp - RECEPTIVE_FIELD // 2) / HOP
        place = np.clip(place, 0, len(found) - 1)
        low = np.floor(place).astype(int)
        share = (place - low)[:, None].astype(np.float32)
        total += found[low] * (1 - share) + found[np.minimum(low + 1, len(found) - 1)] * share
    return total / len(warps)
