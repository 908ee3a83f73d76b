"""Whether the recogniser can be had, asked before any job; loads neither torch nor transformers nor whisper."""

import importlib.util
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder.constants import SAMPLE_RATE
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import is_hub_name
from speechladder.settings import Continuation

FIELD = "continuation.whisper"
INSTALL = "install the extra: pip install 'speechladder[whisper]' (pip install -e '.[whisper]' in a checkout)"
SIZES = (  # of openai-whisper 20250625; a test holds the list against the package's
    *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
    *("large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo"),
)
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
PARTS = {"preprocessor_config.json": "processor_config.json", "tokenizer.json": "vocab.json"}  # either of each pair


def check(settings: Continuation) -> None:
    """Raise UserError naming continuation.whisper and the fix, where the recogniser `whisper` could not be loaded.

    A size needs openai-whisper, a file must look like what torch saves, a folder must hold a transformers Whisper with
    its weights, feature extractor and tokenizer. OWNER/NAME is only looked at (`hub.require` asks the hub).
    pocketsphinx needs nothing.
    """
    if settings.asr != "whisper":
        return
    given = settings.whisper
    path = Path(given).expanduser()
    if path.is_dir() and given not in SIZES:  # a folder called base is ./base
        _check_folder(path)
    elif given in SIZES or path.is_file():
        if importlib.util.find_spec("whisper") is None:
            raise UserError(f"{FIELD}: {given} needs openai-whisper, which is not installed; {INSTALL}")
        if given not in SIZES and not zipfile.is_zipfile(path) and path.read_bytes()[:2] != b"\x80\x02":
            raise UserError(f"{FIELD}: {path} is not a checkpoint as torch saves it; fetch the .pt file again")
    elif not is_hub_name(given) or path.suffix == ".pt":
        raise UserError(
            f"{FIELD}: {given!r} is neither a file, a folder, OWNER/NAME of a hub, nor a size of openai-whisper: "
            + ", ".join(SIZES)
        )


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Raise UserError when a model's configuration is not that of a Whisper."""
    kind = config.get("model_type")
    if kind != "whisper":
        raise UserError(f"{FIELD}: {name} is a {kind!r} model, not a Whisper; name one that is")


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(f"{FIELD}: {folder} has no config.json; name a folder as transformers saves it")
    check_config(read_json(folder / "config.json"), str(folder))
    if not any(file for pattern in WEIGHTS for file in folder.glob(pattern)):
        raise UserError(f"{FIELD}: {folder} holds no weights ({' or '.join(WEIGHTS)}); fetch the model again")
    for one, other in PARTS.items():
        if not any((folder / name).is_file() for name in (one, other)):
            raise UserError(
                f"{FIELD}: {folder} lacks {one}; copy the model's own into it "
                "(WhisperProcessor.from_pretrained(NAME).save_pretrained(FOLDER))"
            )
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name)
            rate = found.get("feature_extractor", found).get("sampling_rate", SAMPLE_RATE)
            if rate != SAMPLE_RATE:
                raise UserError(f"{FIELD}: {folder / name}: sampling_rate is {rate}; Whisper hears {SAMPLE_RATE} Hz")
