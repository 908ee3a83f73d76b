"""Tiny random language models in the layouts in which units are published, made without a network."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from speechladder.io.files import write_json

UNITS = 12
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 1024}
_WIDE = {"intermediate_size": 24, "num_key_value_heads": 2}


def opt(size: int) -> OPTConfig:
    """OPT, whose positions have an offset and depend on the mask."""
    return OPTConfig(**_SIZES, ffn_dim=24, word_embed_proj_dim=16, vocab_size=size, **_special(0, 1))


def qwen(size: int) -> Qwen2Config:
    """Qwen2 with tied embeddings."""
    return Qwen2Config(**_SIZES, **_WIDE, vocab_size=size, tie_word_embeddings=True, **_special(0, 1))


def llama(size: int) -> LlamaConfig:
    """Llama."""
    return LlamaConfig(**_SIZES, **_WIDE, vocab_size=size, **_special(0, 1))


def _special(pad: int, bos: int) -> dict[str, int]:
    return {"pad_token_id": pad, "bos_token_id": bos, "eos_token_id": bos}


def save(config: PretrainedConfig, folder: Path) -> Path:
    """A model with random weights that are large enough to tell items apart."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, units: int = 0, letters: bool = True) -> int:
    """A tokenizer of characters, with units behind them; returns the number of ids."""
    names = ["<PAD>", "<S>", *("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if letters else "")]
    vocabulary = {name: n for n, name in enumerate([*names, *(f"<Un{n}>" for n in range(units))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<PAD>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<S>", pad_token="<PAD>").save_pretrained(folder)
    return len(vocabulary)


def slamkit(folder: Path) -> Path:
    """slamkit's wrapper around a model: its configuration, and weights below `lm.`"""
    save(qwen(UNITS + 2), folder)
    base = AutoModelForCausalLM.from_pretrained(folder)
    weights = {f"lm.{name}": tensor.clone() for name, tensor in base.state_dict().items() if name != "lm_head.weight"}
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors")
    wrapper = {"model_type": "speech_language_model", "vocab_size": UNITS + 2, "base_config": base.config.to_dict()}
    write_json(folder / "config.json", wrapper)
    write_json(folder / "tokeniser_config.json", {"dedup": True, "num_units": UNITS, "pad_token_id": 0})
    return folder


def behind_text(folder: Path) -> Path:
    """Units named by the tokenizer, behind the tokens of text."""
    folder.mkdir(parents=True)
    return save(llama(save_tokenizer(folder, UNITS)), folder)


def replaced(folder: Path) -> Path:
    """The vocabulary of a text model replaced by special tokens and units; no tokenizer."""
    return save(opt(UNITS + 2), folder)


def extended(folder: Path) -> Path:
    """A vocabulary of text extended by units, without names, and padded."""
    return save(llama(40 + UNITS + 3), folder)


def of_text(folder: Path) -> Path:
    """A model of text."""
    folder.mkdir(parents=True)
    return save(opt(save_tokenizer(folder)), folder)
