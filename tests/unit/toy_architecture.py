"""GPT-2 as an architecture, in the form in which a user adds one: another layout of modules, learned positions."""

from typing import Any, ClassVar

from speechladder.lm.architectures.base import MAX_POSITIONS, Architecture, Parts
from speechladder.settings import LM


class GPT2(Architecture):
    """GPT2LMHeadModel with untied embeddings and without dropout."""

    name, model_class = "gpt2", "GPT2LMHeadModel"
    dimensions: ClassVar = {
        "hidden_size": "n_embd",
        "layers": "n_layer",
        "heads": "n_head",
        "intermediate_size": "n_inner",
    }
    inherited = ("n_positions", "layer_norm_epsilon")
    required: ClassVar = {"activation_function": "gelu_new"}

    def config(self, lm: LM, common: dict[str, Any], inherited: dict[str, Any]) -> Any:
        from transformers import GPT2Config

        size = {"n_embd": lm.hidden_size, "n_layer": lm.layers, "n_head": lm.heads, "n_inner": lm.intermediate_size}
        dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        return GPT2Config(**common | size | dropout | {"n_positions": max(MAX_POSITIONS, lm.window)} | inherited)

    def parameters(self, lm: LM, vocabulary: int) -> int:
        width, inner = lm.hidden_size, lm.intermediate_size
        block = 4 * width * width + 4 * width + 2 * width * inner + inner + width + 4 * width
        return (2 * vocabulary + max(MAX_POSITIONS, lm.window)) * width + lm.layers * block + 2 * width

    def embedding_parameters(self, lm: LM, vocabulary: int) -> int:
        return (vocabulary + max(MAX_POSITIONS, lm.window)) * lm.hidden_size

    def parts(self, model: Any) -> Parts:
        body = model.transformer
        return Parts(body, (body.wte, body.wpe), body.h, body.ln_f, model.lm_head)
