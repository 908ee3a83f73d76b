"""What the steps of gpu_check.py share: sizes for a GPU and for a rehearsal, and the form of a line."""

import os
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from speechladder.settings import LM
from speechladder.units.encoders.compute import HUBERT_LARGE

SPECIAL = {"vocab_size": 2052, "pad_id": 0, "bos_id": 1, "eos_id": 2}
ROUNDING = 1e-2  # relative error of attention in bf16 against float64, by the Frobenius norm
Line = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """Sizes of the comparisons."""

    attention: tuple[tuple[int, int, int, int], ...]  # tokens, heads, key-value heads, dimensions
    lm: LM
    document: int
    hubert: dict[str, Any] = field(repr=False)
    layer: int
    speech: tuple[float, ...]  # seconds of each utterance
    clusters: int
    frames: tuple[int, int, int]  # of k-means: frames, dimensions, clusters
    whisper: dict[str, int]


FULL = Size(
    attention=((2048, 32, 4, 64), (1000, 8, 8, 64), (384, 4, 4, 32)),
    lm=LM(model="30m", window=2048, batch_windows=8, micro_windows=3, optimizer="adamw", lr=4e-4, compile="on"),
    document=600,
    hubert=HUBERT_LARGE,
    layer=18,
    speech=tuple(np.linspace(1.5, 20.0, 40)),
    clusters=2048,
    frames=(200_000, 256, 256),
    whisper={"d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536}
    | {"encoder_attention_heads": 6, "decoder_attention_heads": 6},
)
TINY = Size(
    attention=((200, 2, 1, 16),),
    lm=LM(
        hidden_size=32, layers=1, heads=2, kv_heads=1, intermediate_size=48, window=128, batch_windows=4,
        micro_windows=3, optimizer="adamw", lr=1e-3,
    ),
    document=50,
    hubert=HUBERT_LARGE
    | {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    | {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
    layer=2,
    speech=(0.4, 1.0, 0.7),
    clusters=8,
    frames=(2000, 8, 6),
    whisper={"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    | {"encoder_attention_heads": 2, "decoder_attention_heads": 2},
)  # fmt: skip


def device_of() -> torch.device:
    """The GPU, or the CPU of a rehearsal."""
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def figure(name: str, value: Any, **more: Any) -> Line:
    """A line: `holds` for a check, `target` for a speed, `rate` for benchmarks/rates.json."""
    rounded = float(f"{value:.4g}") if isinstance(value, float) else value
    return {"figure": name, "value": rounded} | more


def error_of(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The relative error of a tensor, by the Frobenius norm."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30))
