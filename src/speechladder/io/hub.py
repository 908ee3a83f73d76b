"""Models by name: a folder on disk, or OWNER/NAME on the Hugging Face hub.

Every function takes the configuration's `field`, which its error messages name. A message also says how to go on where
there is no network: fetch the model elsewhere and name its folder.
"""

import fnmatch
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError, first_line
from speechladder.io.files import is_left_alone, read_json

ALLOWED = "a folder, or a hub's model as OWNER/NAME"

# Of a model as transformers saves it, in the order in which it looks for them. A repository may hold copies of them: in
# .bin, in another precision (model.fp32-*), in another layout (consolidated.safetensors).
WEIGHTS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin")

_AGAIN = "fetch the model again"
_NAME = re.compile(r"(?!.*(--|\.\.|\.git$))\w([\w.-]*\w)?/\w([\w.-]*\w)?")


def is_hub_name(name: str) -> bool:
    """Whether `name` has the form of a hub's model name, OWNER/NAME."""
    return _NAME.fullmatch(name) is not None


def find_model_folder(name: str, field: str, allowed: str = ALLOWED) -> Path | None:
    """Return the model folder `name` on disk, or None if `name` is a hub's OWNER/NAME.

    Raise UserError if `name` is a file or neither of the two; the message says what is `allowed`.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{field}: {name} is a file; name the folder that holds it with its config.json")
    if not is_hub_name(name):
        raise UserError(f"{field}: no such folder: {name}; name {allowed}")
    return None


def fetch_model(
    name: str,
    field: str,
    patterns: Sequence[str],
    weights: Sequence[str] = WEIGHTS,
    allowed: str = ALLOWED,
    revision: str | None = None,
) -> Path:
    """Return the model's folder, downloading it if `name` is a hub's OWNER/NAME.

    Downloaded are the files that match any of `patterns`, and those that match the first of `weights` that any file
    matches, so that weights which the hub has twice are fetched once. With HF_HUB_OFFLINE set, only the hub's cache is
    used. `revision` is a commit, tag or branch of the hub. Raise UserError if the model cannot be had.
    """
    if folder := find_model_folder(name, field, allowed):
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=[*patterns, *_preferred(name, weights, revision)])
        )
    except Exception as error:  # the hub's client raises a dozen kinds for 'not there' and 'no network'
        check_access(name, field)  # says what is wrong, where it can tell
        raise UserError(
            f"{field}: {name} could not be fetched ({type(error).__name__}: {first_line(error)}); try again, or "
            f"{_elsewhere(name, field)}"
        ) from None


def _preferred(name: str, weights: Sequence[str], revision: str | None) -> Sequence[str]:
    """The first of `weights` that any file of the hub's model matches; all of them if the hub does not answer."""
    from huggingface_hub import list_repo_files

    try:
        files = list_repo_files(name, revision=revision)
    except Exception:  # without the network the cache is all there is; else the download says what is wrong
        return weights
    return next(([pattern] for pattern in weights if fnmatch.filter(files, pattern)), [])


def fetch_config(name: str, field: str) -> dict[str, Any]:
    """Return config.json of a hub's model. Raise UserError if the model or the file cannot be had."""
    check_access(name, field)
    from huggingface_hub import hf_hub_download

    try:
        file = Path(hf_hub_download(name, "config.json"))
    except Exception as error:  # the hub's client raises a dozen kinds
        raise UserError(
            f"{field}: {name} gives no config.json ({first_line(error)}); name a model that has one"
        ) from None
    return _read_config(file, field)


def check_access(name: str, field: str) -> None:
    """Raise UserError unless the hub's model is in the cache or the hub gives access to it. Nothing is downloaded.

    A gated model, which asks for its terms to be accepted, needs a token whose owner has accepted them.
    """
    from huggingface_hub import auth_check
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError

    if cached_config(name):
        return
    try:
        auth_check(name)
    except GatedRepoError:
        what = "is gated: accept its terms on its page, then log in (hf auth login) or set HF_TOKEN"
    except RepositoryNotFoundError:
        what = "is not on the hub, or it is private and your token may not read it: correct the name"
    except (HTTPError, OSError) as error:
        why = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else f"{type(error).__name__}: {error}"
        what = f"is not in the cache and the hub did not answer ({why}): try again"
    else:
        return
    raise UserError(f"{field}: {name} {what}, or {_elsewhere(name, field)}")


def cached_config(name: str) -> Path | None:
    """Return config.json of a hub's model in the cache, or None if it has not been fetched yet."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found) if isinstance(found, str) else None


def find_config(name: str, field: str) -> dict[str, Any] | None:
    """Return config.json of a folder, or of a hub's model in the cache; None if it has not been fetched yet.

    Raise UserError as `find_model_folder` and `read_model_config` do.
    """
    if folder := find_model_folder(name, field):
        return read_model_config(folder, field)
    file = cached_config(name)
    return _read_config(file, field) if file else None


def read_model_config(
    folder: Path, field: str, advice: str = "name a folder as transformers saves it"
) -> dict[str, Any]:
    """Return config.json of a model's folder.

    Raise UserError if it is unreadable, or with `advice` if it is missing.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{field}: {folder} has no config.json; {advice}")
    return _read_config(file, field)


def find_weights(
    folder: Path,
    field: str,
    patterns: Sequence[str] = WEIGHTS,
    advice: str = "fetch the model again, or convert it",
) -> list[Path]:
    """Return the sorted files in `folder` that match the first of `patterns` that any file matches.

    Raise UserError with `advice` if no file matches.
    """
    for pattern in patterns:
        if files := sorted(path for path in folder.glob(pattern) if not is_left_alone(path.name)):
            return files
    raise UserError(f"{field}: {folder} holds no weights ({' or '.join(patterns)}); {advice}")


def check_whole(files: Sequence[Path], field: str) -> None:
    """Raise UserError if a part of the weights is missing or damaged, as far as their first bytes and sizes show it."""
    part = re.search(r"-of-(\d+)\.", files[0].name)
    if part and int(part[1]) != len(files):
        there = f"{files[0].parent} holds {len(files)} of the {int(part[1])} parts of its weights"
        raise UserError(f"{field}: {there}; {_AGAIN}")
    for file in files:
        with file.open("rb") as raw:
            head = raw.read(64)
        if head.startswith(b"version https://git-lfs"):
            raise UserError(f"{field}: {file} is a pointer of Git LFS, not the weights; run `git lfs pull` there")
        problem = "is empty" if not head else _damage(file)
        if problem:
            raise UserError(f"{field}: {file} {problem}; {_AGAIN}")


def _damage(file: Path) -> str:
    """What is wrong with a file of safetensors or of torch.save, or ''."""
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, "numpy") as tensors:
                return "" if list(tensors.keys()) else "holds no tensor"
        except (OSError, SafetensorError) as error:
            return f"is no whole file of safetensors ({first_line(error)})"
    if file.suffix == ".bin" and not zipfile.is_zipfile(file):
        with file.open("rb") as raw:
            return "" if raw.read(1) == b"\x80" else "is no whole file of torch.save"
    return ""


def _read_config(file: Path, field: str) -> dict[str, Any]:
    try:
        config = read_json(file, _AGAIN)
    except UserError as error:
        raise UserError(f"{field}: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{field}: {file} is not a model's configuration; fetch the model again")
    return config


def _elsewhere(name: str, field: str) -> str:
    return f"fetch it where there is a network (hf download {name} --local-dir FOLDER) and set {field}: FOLDER"
