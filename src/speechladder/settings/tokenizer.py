"""A tokenizer as a command line names it: `UNITS=` of `make diagnose` and `make entry`."""

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from speechladder.io.errors import UserError, first_line, suggestion
from speechladder.io.hub import is_hub_name
from speechladder.settings.loading import plain
from speechladder.settings.messages import explain, mistakes
from speechladder.settings.section import Section
from speechladder.settings.units import SHIPPED, Units

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


def _mapping(text: str) -> dict[str, Any]:
    """The settings of a YAML mapping. Raises UserError if `text` is none."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"UNITS={text}: no YAML ({first_line(error)}); {_EXAMPLES}") from None
    if not isinstance(found, dict) or not found:
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
