"""What HuBERT encoders compute, by formula. Loads no torch, because the plan of a run uses it too."""

from collections.abc import Mapping
from typing import Any

from speechladder.constants import FRAME_RATE, SAMPLE_RATE

HUBERT_BASE: dict[str, Any] = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "conv_dim": [512] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16,
}  # fmt: skip
HUBERT_LARGE = HUBERT_BASE | {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True,
}  # fmt: skip


def encoder_flops(config: Mapping[str, Any], layers: int, utterance: float) -> float:
    """Return the FLOP per second of speech of a HuBERT's first `layers` layers, on utterances of `utterance` seconds.

    A convolution takes 2 k c_in c_out per output. A layer takes 2 (4 d^2 + 2 d f) + 4 d T per frame, where T is the
    number of frames of the utterance. `config` has the names of transformers' HubertConfig.
    """
    width, inner = config["hidden_size"], config["intermediate_size"]
    total, channels, rate = 0.0, 1, float(SAMPLE_RATE)
    for size, kernel, stride in zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True):
        rate /= stride
        total += 2 * kernel * channels * size * rate
        channels = size
    total += 2 * channels * width * FRAME_RATE
    position = config["num_conv_pos_embeddings"] * width / config["num_conv_pos_embedding_groups"]
    total += 2 * position * width * FRAME_RATE
    layer = 2 * (4 * width**2 + 2 * width * inner) + 4 * width * utterance * FRAME_RATE
    return total + layers * layer * FRAME_RATE
