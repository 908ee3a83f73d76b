"""A tokenizer as a command line names it: `UNITS=` of `make diagnose` and `make entry`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from speechladder.io.errors import UserError, first_line, suggestion
from speechladder.io.files import write_json
from speechladder.io.hub import is_hub_name
from speechladder.settings.loading import plain
from speechladder.settings.messages import explain, mistakes
from speechladder.settings.section import Section
from speechladder.settings.units import SHIPPED, Units

_PATHS = ("encoder", "path", "items_path")  # settings that may be paths of the machine
# settings of how units are computed and measured, which change no unit
_NOT_OF_THE_UNITS = {"s3prl_python", "workers", "batch_seconds", "compile", "sample_gigabytes", "abx_minutes"}
_EXAMPLES = (
    "write settings of units (UNITS='{layer: 2, clusters: 50}'), an encoder (hubert-micro, a folder, OWNER/NAME of a "
    "hub), or the file or folder of your own units"
)


class _Given(Section):
    """What `UNITS=` may hold, so that a mistake is named units.FIELD."""

    units: Units


def parse_units(text: str) -> dict[str, Any]:
    """The settings of the section `units` that `UNITS=text` names, checked; only those that are given.

    `text` is a YAML mapping of settings of units; or the name or folder of an encoder; or a file or folder of units,
    which become source: external with the default rate and clusters. A folder with a config.json is an encoder's.
    `{}` names the default units.
    A path is looked for where the command was typed, and stays as it is written.

    Raises UserError that names the field or the word, and what is allowed.
    """
    text = text.strip()
    if not text:
        raise UserError(f"UNITS is empty; {_EXAMPLES}")
    found = _mapping(text) if text[0] in "{[" or ": " in text or text.endswith(":") else _word(text)
    try:
        _Given.model_validate({"units": found})
    except ValidationError as error:
        raise mistakes("UNITS", [explain(each, _Given) for each in error.errors()]) from None
    return found


def portable_units(units: Mapping[str, Any]) -> dict[str, Any]:
    """What of the settings of units, as JSON, makes other units than the default; of files and folders the name alone.

    A diagnosis and an entry are published, where paths of a machine mean nothing.
    """
    usual = Units().model_dump(mode="json", exclude=_NOT_OF_THE_UNITS)
    given = {name: value for name, value in units.items() if name in usual and value != usual[name]}
    own = {name for name in _PATHS if Path(str(given.get(name, ""))).is_absolute()}
    return {name: Path(value).name if name in own else value for name, value in given.items()}


def write_units(units: str, out: Path) -> None:
    """Write the settings that UNITS= names as a configuration file for snakemake.

    Raise UserError as `parse_units` does.

    Args:
        units: what UNITS= says
        out: the file to write: {"units": {...}}
    """
    found = parse_units(units)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, {"units": found})


def _mapping(text: str) -> dict[str, Any]:
    """The settings of a YAML mapping. Raises UserError if `text` is none."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"UNITS={text}: no YAML ({first_line(error)}); {_EXAMPLES}") from None
    if not isinstance(found, dict):
        raise UserError(f"UNITS={text}: is no mapping of settings; {_EXAMPLES}")
    if set(found) == {"units"}:
        raise UserError(f"UNITS={text}: leave out units:, and write its settings alone, as UNITS='{{layer: 2}}'")
    if joined := [key for key in found if ":" in str(key)]:
        raise UserError(f"UNITS={text}: {joined[0]}: YAML needs a space after the colon, as in {{layer: 2}}")
    return plain(found)


def _word(text: str) -> dict[str, Any]:
    """The settings that one word stands for: an encoder, or files of units. Raises UserError for another word."""
    if text == SHIPPED:
        return {"encoder": text}
    path = Path(os.environ.get("PWD", ".")) / Path(text).expanduser()
    if path.is_dir() and (path / "config.json").is_file():
        return {"encoder": text}
    if path.exists():
        return {"source": "external", "path": text}
    # A hub's names seldom end like a file's, and a path that is not there should not be asked for on a hub.
    if is_hub_name(text) and not text.endswith(
        (".parquet", ".jsonl", ".json", ".gz", ".txt", ".tsv", ".km", ".unit", ".units")
    ):
        return {"encoder": text}
    hint = suggestion(text, [SHIPPED, *Units.model_fields], 0.6)
    raise UserError(f"UNITS={text}: no such file or folder, and no name of an encoder; {hint}{_EXAMPLES}")
