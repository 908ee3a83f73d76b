"""Checks of the recogniser before any job starts. They load neither torch nor transformers nor whisper."""

import importlib.util
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder.constants import SAMPLE_RATE
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import find_weights, is_hub_name, read_model_config
from speechladder.settings import Continuation

FIELD = "continuation.whisper"
SECOND = "continuation.second_asr"  # the field of the second recogniser
SIZES = (  # of openai-whisper 20250625; a test compares the list with the package's
    *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
    *("large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo"),
)
DECODING = 2  # raise it when the words that Whisper makes of the same speech change
FILES = {"preprocessor_config.json": "processor_config.json", "tokenizer.json": "vocab.json"}  # one of each pair


def install(name: str) -> str:
    """How to go on without openai-whisper, which the Whisper `name` needs."""
    hub = {"large": "large-v3", "turbo": "large-v3-turbo"}.get(name, name)
    same = f"openai/whisper-{hub}" if name in SIZES else "a folder or OWNER/NAME"
    return (
        f"name {same}, which needs no more than is installed, or install the extra: pip install "
        "'speechladder[whisper]' (pip install -e '.[whisper]' in a checkout; it unpacks to more than a gigabyte)"
    )


def check_asr(settings: Continuation) -> None:
    """Raise UserError naming continuation.whisper and the fix if the recogniser `whisper` cannot be loaded.

    The recogniser pocketsphinx needs nothing.
    """
    if settings.asr == "whisper":
        check_whisper(settings.whisper)


def check_whisper(name: str, field: str = FIELD) -> None:
    """Raise UserError naming `field` and the fix if `name` cannot be loaded as a Whisper.

    A size needs openai-whisper. A file must look like a file of torch.save. A folder must hold a Whisper of
    transformers with its weights, feature extractor and tokenizer. For OWNER/NAME only the form is checked here; the
    hub is asked when jobs start.
    """
    path = Path(name).expanduser()
    if path.is_dir() and name not in SIZES:  # a folder called base is named ./base
        _check_folder(path, field)
    elif name in SIZES or path.is_file():
        if importlib.util.find_spec("whisper") is None:
            raise UserError(f"{field}: {name} needs openai-whisper, which is not installed; {install(name)}")
        if name not in SIZES and not zipfile.is_zipfile(path) and path.read_bytes()[:2] != b"\x80\x02":
            raise UserError(f"{field}: {path} is not a checkpoint of torch.save; fetch the .pt file again")
    elif not is_hub_name(name) or path.suffix == ".pt":
        raise UserError(
            f"{field}: {name!r} is neither a file, a folder, OWNER/NAME of a hub, nor a size of openai-whisper: "
            + ", ".join(SIZES)
        )


def check_whisper_config(config: Mapping[str, Any], name: str, field: str = FIELD) -> None:
    """Raise UserError if the config.json of the model `name` is not that of a Whisper."""
    kind = config.get("model_type")
    if kind != "whisper":
        raise UserError(f"{field}: {name} is a {kind!r} model, not a Whisper; name a Whisper model")


def _check_folder(folder: Path, field: str) -> None:
    check_whisper_config(read_model_config(folder, field), str(folder), field)
    find_weights(folder, field)
    for one, other in FILES.items():
        if not any((folder / name).is_file() for name in (one, other)):
            raise UserError(
                f"{field}: {folder} lacks {one}; copy the model's own file into it "
                "(WhisperProcessor.from_pretrained(NAME).save_pretrained(FOLDER))"
            )
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            found = read_json(folder / name, "fetch the model again")
            extractor = found.get("feature_extractor", found) if isinstance(found, dict) else None
            if not isinstance(extractor, dict):
                raise UserError(f"{field}: {folder / name} is not a model's configuration; fetch the model again")
            rate = extractor.get("sampling_rate", SAMPLE_RATE)
            if rate != SAMPLE_RATE:
                raise UserError(
                    f"{field}: {folder / name}: sampling_rate is {rate}; Whisper needs audio at {SAMPLE_RATE} Hz"
                )
