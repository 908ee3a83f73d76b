"""What the library must know of a decoder of transformers, and the list of those that it knows. Loads no torch.

An architecture must do four things: call transformers' attention interface with the keyword arguments that its forward
was given (all recent decoders do), take `position_ids`, draw no random number in a training step (all dropout 0), and
attend over the whole context (no sliding window).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from speechladder.io.errors import UserError
from speechladder.settings import LM
from speechladder.settings.messages import not_allowed

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

MAX_POSITIONS = 4096  # declared context at least; rotary positions are relative, so they need no table of this length
INIT_STD = 0.02  # standard deviation of random weights; that of transformers and of TinyLlama


@dataclass(frozen=True)
class Parts:
    """The modules of a causal language model that the library calls or lays out one by one."""

    body: nn.Module  # input_ids -> hidden states, the final norm applied to the last
    embeddings: tuple[nn.Module, ...]
    layers: Sequence[nn.Module]
    norm: nn.Module  # the final one
    head: nn.Module  # hidden states -> logits


class Architecture(ABC):
    """A kind of decoder. The defaults are the layout that Llama, Mistral and Qwen share."""

    name: ClassVar[str]  # the value of `lm.architecture`, and `model_type` in config.json
    model_class: ClassVar[str]  # the class in transformers
    # The name in config.json of each dimension in the settings. Two may be missing there: kv_heads are then as many as
    # heads, and head_dim is hidden_size / heads.
    dimensions: ClassVar[Mapping[str, str]] = {
        "hidden_size": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads",
        "intermediate_size": "intermediate_size",
        "head_dim": "head_dim",
    }
    inherited: ClassVar[tuple[str, ...]] = ()  # fields of config.json that a warm start keeps
    required: ClassVar[Mapping[str, Any]] = {}  # values of config.json of a warm start, if it has the field

    @abstractmethod
    def config(self, lm: LM, common: dict[str, Any], inherited: dict[str, Any]) -> PretrainedConfig:
        """The configuration of a model with the dimensions of `lm`.

        `common` holds the arguments that every architecture takes (`common_config`); `inherited` holds the fields
        that a warm start keeps, and is empty otherwise.
        """

    @abstractmethod
    def parameters(self, lm: LM, vocabulary: int) -> int:
        """The number of parameters, embeddings and head counted apart."""

    def embedding_parameters(self, lm: LM, vocabulary: int) -> int:
        """The number of parameters that are looked up and not multiplied."""
        return vocabulary * lm.hidden_size

    def parts(self, model: PreTrainedModel) -> Parts:
        """The modules of `model`."""
        body = model.model
        return Parts(body, (body.embed_tokens,), body.layers, body.norm, model.lm_head)


def common_config(lm: LM, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a transformers configuration that follow from the settings and tokens/{rung}/meta.json.

    `train_window` is a field of this library: no prediction was trained on more context than that.
    """
    return {
        "vocab_size": meta["vocab_size"],
        "initializer_range": INIT_STD,
        "tie_word_embeddings": False,
        "use_cache": True,
        "pad_token_id": meta["pad_id"],
        "bos_token_id": meta["bos_id"],
        "eos_token_id": meta["eos_id"],
        "train_window": lm.window,
    }


ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Make an architecture available as `lm.architecture`. Raise ValueError if its name is taken."""
    if architecture.name in ARCHITECTURES:
        raise ValueError(f"the architecture {architecture.name!r} is registered already")
    ARCHITECTURES[architecture.name] = architecture


def get_architecture(name: str, field: str = "lm.architecture") -> Architecture:
    """The architecture of that name. Raise UserError with the nearest spelling, naming `field`, if there is none."""
    if name not in ARCHITECTURES:
        raise UserError(not_allowed(field, name, ARCHITECTURES))
    return ARCHITECTURES[name]


def parts_of(model: PreTrainedModel) -> Parts:
    """The modules of a model of any registered architecture."""
    return get_architecture(model.config.model_type, "config.json: model_type").parts(model)


def head_width(config: PretrainedConfig) -> int:
    """The dimensions of one attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
