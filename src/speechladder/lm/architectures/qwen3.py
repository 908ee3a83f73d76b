"""Qwen3 (Yang et al. 2025, arXiv 2505.09388): Llama with a norm on the queries and keys of each head."""

from typing import Any, ClassVar

from speechladder.lm.architectures.base import register
from speechladder.lm.architectures.llama import Llama, rotary_dimensions
from speechladder.settings import LM


class Qwen3(Llama):
    """Qwen3ForCausalLM with untied embeddings, without biases and sliding windows."""

    name, model_class = "qwen3", "Qwen3ForCausalLM"
    required: ClassVar = {"attention_bias": False, "use_sliding_window": False, "hidden_act": "silu"}

    def config(self, lm: LM, common: dict[str, Any], inherited: dict[str, Any]) -> Any:
        """See Architecture."""
        from transformers import Qwen3Config

        return Qwen3Config(**common | rotary_dimensions(lm) | inherited)

    def parameters(self, lm: LM, vocabulary: int) -> int:
        """See Architecture."""
        return super().parameters(lm, vocabulary) + lm.layers * 2 * lm.head_width


register(Qwen3())
