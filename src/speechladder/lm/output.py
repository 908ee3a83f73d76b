"""The folder lm/{rung}/seed{n}."""

import shutil
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM

from speechladder.io.files import atomic_folder, write_json
from speechladder.lm.card import write_card
from speechladder.settings import LM


def write_output(
    model: LlamaForCausalLM,
    tokens: Path,
    running: Path,
    out: Path,
    summary: dict[str, Any],
    settings: LM,
    meta: dict[str, Any],
) -> None:
    """Write HF model and tokenizer, card, train.json, and the log and snapshots that lie in `running`: all or none."""
    with atomic_folder(out) as folder:
        model.save_pretrained(folder)
        shutil.copytree(tokens / "tokenizer", folder, dirs_exist_ok=True)
        shutil.copyfile(running / "log.jsonl", folder / "log.jsonl")
        if (running / "learning").is_dir():
            shutil.copytree(running / "learning", folder / "learning")
        write_json(folder / "train.json", summary)
        write_card(folder / "README.md", summary, settings, meta)
