"""Llama (Touvron et al. 2023, arXiv 2302.13971), with the norm's epsilon and the initialisation of TinyLlama."""

from typing import Any, ClassVar

from speechladder.lm.architectures.base import MAX_POSITIONS, Architecture, register
from speechladder.settings import LM


class Llama(Architecture):
    """LlamaForCausalLM with untied embeddings, without biases."""

    name, model_class = "llama", "LlamaForCausalLM"
    inherited = ("rope_theta", "rope_scaling", "rope_parameters", "rms_norm_eps")
    required: ClassVar = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu"}

    def config(self, lm: LM, common: dict[str, Any], inherited: dict[str, Any]) -> Any:
        """See Architecture."""
        from transformers import LlamaConfig

        return LlamaConfig(**common | rotary_dimensions(lm) | {"rms_norm_eps": 1e-5} | inherited)

    def parameters(self, lm: LM, vocabulary: int) -> int:
        """See Architecture."""
        width, queries, keys = lm.hidden_size, lm.attention_width, lm.kv_heads * lm.head_width
        block = 2 * width * queries + 2 * width * keys + 3 * width * lm.intermediate_size + 2 * width
        return 2 * vocabulary * width + lm.layers * block + width


def rotary_dimensions(lm: LM) -> dict[str, int]:
    """The dimensions as Llama and its descendants name them."""
    return {
        "hidden_size": lm.hidden_size,
        "intermediate_size": lm.intermediate_size,
        "num_hidden_layers": lm.layers,
        "num_attention_heads": lm.heads,
        "num_key_value_heads": lm.kv_heads,
        "head_dim": lm.head_width,
        "max_position_embeddings": max(MAX_POSITIONS, lm.window),
    }


register(Llama())
