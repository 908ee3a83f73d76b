"""Checks of the judge before any job starts. They load neither torch nor transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.hub import find_model_folder, find_weights, read_model_config
from speechladder.settings import Continuation

FIELD = "continuation.judge_model"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def check_judge(settings: Continuation) -> None:
    """Raise UserError naming continuation.judge_model and the fix if the judge `hf` cannot be loaded.

    A folder must hold the config.json of a causal LM, its weights and its tokenizer. For OWNER/NAME only the form is
    checked here; the hub is asked when jobs start. The judge `run` needs nothing.
    """
    if settings.judge == "hf" and (folder := find_model_folder(settings.judge_model, FIELD)):
        _check_folder(folder)


def _check_folder(folder: Path) -> None:
    config = read_model_config(folder, FIELD)
    find_weights(folder, FIELD)
    check_judge_config(config, str(folder))
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise UserError(
            f"{FIELD}: {folder} holds no tokenizer ({', '.join(TOKENIZERS)}); copy the model's own into it "
            "(AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER))"
        )


def check_judge_config(config: Mapping[str, Any], name: str) -> None:
    """Raise UserError if the config.json of the model `name` is not that of a causal LM."""
    kinds = config.get("architectures") or []
    if config.get("is_encoder_decoder") or any("MaskedLM" in kind for kind in kinds):
        raise UserError(
            f"{FIELD}: {name} is {', '.join(kinds) or config.get('model_type')}, which does not read left to right; "
            "the judge must be a causal LM (Llama, GPT-2, Qwen, ...)"
        )
