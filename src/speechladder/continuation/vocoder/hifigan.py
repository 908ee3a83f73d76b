"""CodeHiFiGAN, the unit vocoder of checkpoints of textless NLP and fairseq: units directly to a waveform.

Polyak et al. 2021 (speech resynthesis from discrete representations), with the generator of Kong et al. 2020 (HiFi-GAN)
and the duration predictor of Lee et al. 2022 (direct speech-to-speech translation with units). Attributes have the
names of the checkpoints' tensors. Loading folds weight normalisation into plain weights.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.vocoder.checks import FIELD, NO_DURATIONS, find_generator
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError, first_line

LONGEST = 250  # frames of one unit; bounds the memory if a predictor fails
SLOPE = 0.1  # of the leaky rectifiers, except the last one, which has torch's default


class ResidualBlock(nn.Module):
    """Dilated convolutions with residual connections: two per dilation (resblock 1) or one (resblock 2)."""

    def __init__(self, channels: int, kernel: int, dilations: list[int], paired: bool) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)

        self.paired = paired
        if paired:
            self.convs1 = nn.ModuleList(conv(d) for d in dilations)
            self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        else:
            self.convs = nn.ModuleList(conv(d) for d in dilations)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for k, conv in enumerate(self.convs1 if self.paired else self.convs):
            y = conv(F.leaky_relu(x, SLOPE))
            x = x + (self.convs2[k](F.leaky_relu(y, SLOPE)) if self.paired else y)
        return x


class DurationPredictor(nn.Module):
    """Unit embeddings (B, T, embedding_dim) -> log(1 + frames) (B, T), for units without repetitions."""

    def __init__(self, size: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv1d(size, hidden, kernel, padding=(kernel - 1) // 2), nn.ReLU())
        self.ln1 = nn.LayerNorm(hidden)
        self.conv2 = nn.Sequential(nn.Conv1d(hidden, hidden, kernel, padding=1), nn.ReLU())
        self.ln2 = nn.LayerNorm(hidden)
        self.proj = nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.ln1(self.conv1(x.transpose(1, 2)).transpose(1, 2))
        x = self.ln2(self.conv2(x.transpose(1, 2)).transpose(1, 2))
        return self.proj(x)[..., 0]


class CodeGenerator(nn.Module):
    """Units (B, T) -> waveform (B, T prod(upsample_rates))."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        size, width = config["embedding_dim"], config["upsample_initial_channel"]
        rates, kernels = config["upsample_rates"], config["upsample_kernel_sizes"]
        self.dict = nn.Embedding(config["num_embeddings"], size)
        self.spkr = nn.Embedding(config.get("num_speakers", 200), size) if config.get("multispkr") else None
        predictor = config.get("dur_predictor_params")
        self.dur_predictor = (
            DurationPredictor(
                predictor["encoder_embed_dim"], predictor["var_pred_hidden_dim"], predictor["var_pred_kernel_size"]
            )
            if predictor
            else None
        )
        self.conv_pre = nn.Conv1d(config["model_in_dim"], width, 7, padding=3)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(width >> k, width >> (k + 1), kernel, rate, padding=(kernel - rate) // 2)
            for k, (rate, kernel) in enumerate(zip(rates, kernels, strict=True))
        )
        paired = str(config.get("resblock", "1")) == "1"
        self.blocks_per_stage = len(config["resblock_kernel_sizes"])
        self.resblocks = nn.ModuleList(
            ResidualBlock(width >> (k + 1), kernel, dilations, paired)
            for k in range(len(rates))
            for kernel, dilations in zip(
                config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True
            )
        )
        self.conv_post = nn.Conv1d(width >> len(rates), 1, 7, padding=3)

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        x = self.dict(units).transpose(1, 2)
        if self.spkr is not None:  # always the first speaker
            x = torch.cat([x, self.spkr.weight[0][None, :, None].expand(len(x), -1, x.shape[2])], 1)
        x = self.conv_pre(x)
        for k, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = self.resblocks[k * self.blocks_per_stage : (k + 1) * self.blocks_per_stage]
            x = sum(block(x) for block in blocks) / self.blocks_per_stage
        return torch.tanh(self.conv_post(F.leaky_relu(x)))[:, 0]


class CodeHiFiGAN:
    """A CodeHiFiGAN checkpoint as a vocoder (`base.Vocoder`)."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.clusters = int(config["num_embeddings"])
        self.rate = int(config.get("sampling_rate", SAMPLE_RATE))
        self.device = torch.device(acquire_gpu())
        with torch.random.fork_rng():
            try:
                model = CodeGenerator(config)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"{FIELD}: {folder}/config.json describes no generator ({error!r}); fetch the checkpoint again"
                ) from None
        file = find_generator(folder)
        state = fold_weight_norm(read_state(file))
        wanted = model.state_dict()
        if missing := sorted(wanted.keys() - state.keys()):
            raise UserError(f"{FIELD}: {file} lacks {len(missing)} of the generator's tensors, first {missing[0]}")
        for name, tensor in wanted.items():
            if state[name].shape != tensor.shape:
                raise UserError(
                    f"{FIELD}: {file}: {name} is {tuple(state[name].shape)}, config.json says {tuple(tensor.shape)}"
                )
        model.load_state_dict({name: state[name].float() for name in wanted})
        self.model = model.eval().requires_grad_(False).to(self.device)

    def speak(self, units: np.ndarray) -> np.ndarray:
        """Return (320 frames,) float32 at 16 kHz for (frames,) units at 50 Hz; another sampling rate is resampled."""
        units = np.asarray(units, np.int64)
        if not len(units):
            return np.zeros(0, np.float32)
        with torch.inference_mode():
            wave = self.model(torch.from_numpy(units).to(self.device)[None])[0].float().cpu().numpy()
        if self.rate != SAMPLE_RATE:
            import soxr

            wave = soxr.resample(wave, self.rate, SAMPLE_RATE)
        return np.ascontiguousarray(wave, np.float32)

    def durations(self, units: np.ndarray) -> np.ndarray:
        """Return (n,) int64 frames of 50 Hz for (n,) units without repetitions, by the checkpoint's predictor.

        Raise UserError if the checkpoint has no predictor.
        """
        if self.model.dur_predictor is None:
            raise UserError(f"{FIELD}: {NO_DURATIONS}")
        units = np.asarray(units, np.int64)
        if not len(units):
            return np.zeros(0, np.int64)
        with torch.inference_mode():
            x = self.model.dict(torch.from_numpy(units).to(self.device)[None])
            frames = torch.round(torch.exp(self.model.dur_predictor(x)[0]) - 1)
        return frames.clamp(1, LONGEST).long().cpu().numpy()


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Return the generator's tensors from safetensors, or from a torch.save file of tensors or {'generator': tensors}.

    Raise UserError if the file cannot be read or holds something else.
    """
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors, zipfile and torch raise errors of their own
        raise UserError(
            f"{FIELD}: {file} is not readable as weights alone ({first_line(error)}); fetch it again, or save the "
            "generator's state dict alone"
        ) from None
    if isinstance(state, dict) and isinstance(state.get("generator"), dict):
        state = state["generator"]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{FIELD}: {file} holds no generator; expected {{'generator': tensors}} or tensors")
    return {name.removeprefix("generator."): value for name, value in state.items()}


_NORMED = re.compile(r"(?:\.weight_g|\.parametrizations\.weight\.original0)$")


def fold_weight_norm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Replace g and v of every normalised weight by g v / |v|, for torch's old and new names of the tensors."""
    out = dict(state)
    for name in state:
        if not _NORMED.search(name):
            continue
        stem = _NORMED.sub("", name)
        other = f"{stem}.weight_v" if name.endswith("_g") else f"{stem}.parametrizations.weight.original1"
        if other not in state:
            raise UserError(f"{FIELD}: the weights have {name} without {other}; fetch them again")
        g, v = out.pop(name).float(), out.pop(other).float()
        norm = v.flatten(1).norm(dim=1).reshape(-1, *[1] * (v.dim() - 1))
        out[f"{stem}.weight"] = v * (g / norm)
    return out
