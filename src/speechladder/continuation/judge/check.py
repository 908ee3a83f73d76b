"""Whether the judge can be had, asked before any job; loads neither torch nor transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import is_hub_name
from speechladder.settings import Continuation

FIELD = "continuation.judge_model"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")


def check(settings: Continuation) -> None:
    """Raise UserError naming continuation.judge_model and the fix, where the judge `hf` could not be loaded.

    A folder must hold config.json of a causal LM, its weights and its tokenizer. Whether a hub gives its model is asked
    of the network, by hub.require. The judge `run` needs nothing.
    """
    if settings.judge != "hf":
        return
    name = settings.judge_model
    folder = Path(name).expanduser()
    if folder.is_dir():
        _check_folder(folder)
    elif folder.exists():
        raise UserError(f"{FIELD}: {name} is a file; name the folder that holds it with config.json and the tokenizer")
    elif not is_hub_name(name):
        raise UserError(f"{FIELD}: no such folder: {name}; name a folder, or a hub's model as OWNER/NAME")


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(f"{FIELD}: {folder} has no config.json; name a folder as transformers saves it")
    if not any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        raise UserError(f"{FIELD}: {folder} holds no weights ({' or '.join(WEIGHTS)}); fetch the model again")
    check_config(read_json(folder / "config.json"), str(folder))
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise UserError(
            f"{FIELD}: {folder} holds no tokenizer ({', '.join(TOKENIZERS)}); copy the model's own into it "
            "(AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER))"
        )


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Raise UserError when a model's configuration is not that of a causal LM."""
    kinds = config.get("architectures") or []
    if config.get("is_encoder_decoder") or any("MaskedLM" in kind for kind in kinds):
        raise UserError(
            f"{FIELD}: {name} is {', '.join(kinds) or config.get('model_type')}, which does not read left to right; "
            "the judge must be a causal LM (Llama, GPT-2, Qwen, ...)"
        )
