"""Checks of the judge before any job starts. They load neither torch nor transformers."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.hub import find_model_folder, find_weights, read_model_config
from speechladder.settings import Continuation

TEXT = "continuation.judge_text"
TEXT_SUFFIXES = (".txt", ".txt.gz")
FIELD = "continuation.judge_model"
_HEAD = 1 << 16  # bytes that are looked at
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def check_judge(settings: Continuation) -> None:
    """Raise UserError naming the field and the fix if the judge `hf` cannot be loaded, or `run` has no text to read.

    A folder must hold the config.json of a causal LM, its weights and its tokenizer. For OWNER/NAME only the form is
    checked here; the hub is asked when jobs start. The files of continuation.judge_text must begin like plain text.
    """
    for path in settings.judge_text if settings.judge == "run" else ():
        _check_text(Path(path))
    if settings.judge == "hf" and (folder := find_model_folder(settings.judge_model, FIELD)):
        _check_folder(folder)


def _check_text(path: Path) -> None:
    """Raise UserError unless `path` is a file of plain text, as far as its name and its beginning show it."""
    if path.is_dir():
        raise UserError(f"{TEXT}: {path} is a folder; name its files ({' or '.join(TEXT_SUFFIXES)})")
    if not path.name.lower().endswith(TEXT_SUFFIXES):
        raise UserError(f"{TEXT}: {path} is not plain text; name files {' or '.join(TEXT_SUFFIXES)}")
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            head = file.read(_HEAD)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{TEXT}: {path} is not readable as text ({error}); write it again") from None
    if not head.strip():
        raise UserError(f"{TEXT}: {path} is empty; name a file with text")
    if b"\0" in head:
        raise UserError(f"{TEXT}: {path} is not plain text (it has NUL bytes); save it as text in UTF-8")


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
