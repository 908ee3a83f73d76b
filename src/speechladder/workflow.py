"""What the Snakefile needs of the library: a configuration checked before any job, with every path found."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.settings import TASKS, Settings, load


def find(given: str, home: Path) -> str:
    """The absolute path of a file or folder that the configuration names.

    Looked for from where the command was typed (which `--directory` does not change), then from the working
    directory, then from the workflow's folder `home`. Raises UserError that lists where it looked.
    """
    tried = [Path(base) / Path(given).expanduser() for base in (os.environ.get("PWD", "."), Path.cwd(), home)]
    found = next((path for path in tried if path.exists()), None)
    if found is None:
        raise UserError(f"{given}: no such file or folder; looked at " + ", ".join(dict.fromkeys(map(str, tried))))
    return str(found.resolve())


def _is_path(encoder: str) -> bool:
    """An encoder is a folder when it is written as one; `facebook/hubert-large-ll60k` is a hub's id."""
    return encoder.startswith(("/", "./", "../", "~"))


def checked(config: dict[str, Any], home: Path) -> Settings:
    """The settings of a run, with paths made absolute.

    Raises UserError naming the field for every mistake that can be found before a job runs.
    """
    settings = load(config, "the configuration (config.yaml, --configfile, --config)")
    values = settings.model_dump()

    def place(field: str, path: str) -> str:
        try:
            return find(path, home)
        except UserError as error:
            raise UserError(f"{field}: {error}") from None

    if settings.corpus.path and settings.corpus.name == "local":
        values["corpus"]["path"] = place("corpus.path", settings.corpus.path)
    if _is_path(settings.units.encoder):
        values["units"]["encoder"] = place("units.encoder", settings.units.encoder)
    for task in TASKS:
        values["benchmarks"][task] = [place(f"benchmarks.{task}", p) for p in values["benchmarks"][task]]
    return load(values)


def dial_config(settings: Settings, variability: int) -> str:
    """The `--config` words of a run of the speech rung alone with the world's dial at `variability`.

    Raises UserError on a corpus that has no dial.
    """
    if settings.corpus.name != "world":
        raise UserError("results/variability.csv needs corpus.name: world; a natural corpus has no dial")
    values = settings.model_dump(mode="json") | {"rungs": ["speech-hubert"]}
    values["corpus"]["variability"] = variability
    return " ".join(f"{key}={shlex.quote(json.dumps(value))}" for key, value in values.items())
