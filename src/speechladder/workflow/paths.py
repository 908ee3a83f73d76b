"""Files and folders that a configuration names, as absolute paths."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.settings import Settings

Place = Callable[[str, str], str]  # (field, path) -> absolute path
_TAKEN = re.compile(r"\{\s*[.\w]+.*\}|<[a-z][a-z0-9_]*>")  # a wildcard and a path variable of Snakemake

# Fields that hold the path of a file, or a name: of a download, or of a pretrained model.
_DATA = (
    *(("corpus", name) for name in ("manifests", "archives")),
    *(("benchmarks", name) for name in ("slm21", "storycloze", "storycloze_text")),
    *(("alignment", name) for name in ("mfa_model", "mfa_dictionary", "mfa_g2p", "lexicon", "textgrids")),
)


# Fields that may hold the path of a file which is an input of a rule.
_INPUTS = (
    *_DATA,
    *(("benchmarks", task) for task in TASKS),
    *(("continuation", name) for name in ("judge_text", "whisper", "vocoder", "judge_model")),
    *(("units", "path"), ("units", "items_path"), ("lm", "init")),
)


def as_input(path: str, field: str) -> str:
    """`path`, which is to be an input of a rule.

    Raises UserError that begins with `field` if Snakemake would take a part of it for a wildcard (`{v2}`) or for a path
    variable (`<v2>`). It knows no way to write such a path.
    """
    if found := _TAKEN.search(path):
        raise UserError(
            f"{field}: {path}: Snakemake takes {found[0]} in the path of a file for a name of its own; rename the "
            "folder or file that has it in its name"
        )
    return path


def check_inputs(settings: Settings, home: Path) -> None:
    """Raise UserError for a path that Snakemake cannot take; corpus.path and corpus.source are no inputs of rules."""
    as_input(str(home), "the folder of the checkout")
    for section, field in _INPUTS:
        value = getattr(getattr(settings, section), field)
        for path in [value] if isinstance(value, str) else value or []:
            as_input(path, f"{section}.{field}")


def find(given: str, home: Path) -> str:
    """The absolute path of a file or folder that the configuration names.

    It is looked for where the command was typed (which `--directory` does not change), then in the working directory,
    then in the checkout `home`. Raises UserError that lists these places.
    """
    if not given.strip():
        raise UserError(f"{given!r} names no file or folder")
    tried = [Path(base) / Path(given).expanduser() for base in (os.environ.get("PWD", "."), Path.cwd(), home)]
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        raise UserError(f"{given}: no such file or folder; looked at " + ", ".join(dict.fromkeys(map(str, tried))))
    return str(found.resolve())


def find_or_keep(given: str, home: Path) -> str:
    """The absolute path of what is on disk; a name of something else as it is."""
    try:
        return find(given, home)
    except UserError:
        return given


def place_files(settings: Settings, home: Path) -> dict[str, Any]:
    """The settings as a dictionary, with absolute paths for everything that must be, or may be, on disk.

    The encoder and lm.init are not among them: checks.check_encoder and checks.init_with_dimensions find those. Raises
    UserError that names the field if a path does not exist.
    """
    values = settings.model_dump()

    def place(field: str, path: str) -> str:
        try:
            return find(path, home)
        except UserError as error:
            raise UserError(f"{field}: {error}") from None

    corpus, units, continuation = values["corpus"], values["units"], values["continuation"]
    if corpus["path"] and corpus["name"] == "local":
        corpus["path"] = place("corpus.path", corpus["path"])
    if corpus["source"]:
        corpus["source"] = place("corpus.source", corpus["source"])
    if units["source"] == "external":
        for field in ("path", "items_path"):
            if units[field]:
                units[field] = place(f"units.{field}", units[field])
    if python := units["s3prl_python"]:  # often a link, and the python that it points to has no s3prl
        units["s3prl_python"] = str(Path(place("units.s3prl_python", str(Path(python).parent)), Path(python).name))
    for task in TASKS:
        values["benchmarks"][task] = [place(f"benchmarks.{task}", path) for path in values["benchmarks"][task]]
    continuation["judge_text"] = [place("continuation.judge_text", path) for path in continuation["judge_text"]]
    _place_data(values, home)
    _place_models(continuation, home)
    return values


def _place_data(values: dict[str, Any], home: Path) -> None:
    """Absolute paths for archives, manifests and models of the aligner that lie on disk."""
    downloads = values["downloads"]["files"]

    def place(given: str) -> str:
        return given if given in downloads else find_or_keep(given, home)

    for section, field in _DATA:
        value = values[section][field]
        if isinstance(value, list):
            values[section][field] = [place(given) for given in value]
        elif value is not None:
            values[section][field] = place(value)


def _place_models(continuation: dict[str, Any], home: Path) -> None:
    """Absolute paths for models of the continuation that lie on disk."""
    from speechladder.continuation.asr.checks import SIZES

    for field, words in {
        "whisper": SIZES,
        "second_asr": (None, *SIZES),
        "vocoder": ("run",),
        "judge_model": (),
    }.items():
        if continuation[field] not in words:
            continuation[field] = find_or_keep(continuation[field], home)
