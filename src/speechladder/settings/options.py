"""A section of the settings as command-line options, and back."""

import argparse
import json
import os
import shlex
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from speechladder.io.errors import UserError
from speechladder.settings.corpus import Corpus
from speechladder.settings.lm import EXECUTION_FIELDS
from speechladder.settings.messages import explain
from speechladder.settings.run import Settings
from speechladder.settings.section import Section

# Settings that change no result. Scripts read them from the environment and not from options, because Snakemake tracks
# options: a user who raises corpus.max_rejected, as a message advises, must not rerun everything. They are listed by section,
# since units.compile and lm.compile are different settings.
_UNTRACKED = {
    "corpus": ("max_rejected",),
    "units": ("workers", "sample_gigabytes"),
    "continuation": ("batch",),
    "lm": EXECUTION_FIELDS,
}
# How files are downloaded: other addresses of the same file rerun nothing.
DOWNLOADS = "SPEECHLADDER_DOWNLOADS"

# Which python runs a script is decided before the script starts, so it is no option, and another python reruns nothing.
_NO_OPTIONS = {"s3prl_python"}


def untracked(settings: Settings) -> dict[str, str]:
    """The environment variables that pass a run's untracked settings to its scripts."""
    found = {DOWNLOADS: settings.downloads.model_dump_json()}
    for section in _UNTRACKED:
        values = getattr(settings, section)
        found |= {where: json.dumps(getattr(values, name)) for name, where in _variables(type(values)).items()}
    return found


def tracked(settings: Settings) -> dict[str, Any]:
    """Return the settings that can change a result, by section and field, as JSON values."""
    sections = {name: set(fields) | _NO_OPTIONS for name, fields in _UNTRACKED.items()}
    return settings.model_dump(mode="json", exclude={**sections, "downloads": True})


def _variables(section: type[Section]) -> dict[str, str]:
    """The untracked fields of a section, and the environment variable of each."""
    kind = section.__name__.lower()
    return {name: f"SPEECHLADDER_{kind}_{name}".upper() for name in _UNTRACKED.get(kind, ())}


def add_max_rejected(parser: argparse.ArgumentParser) -> None:
    """Add --max-rejected to `parser`, for a stage that takes no other field of the corpus."""
    default = os.environ.get(_variables(Corpus)["max_rejected"], str(Corpus().max_rejected))
    parser.add_argument(
        "--max-rejected",
        type=float,
        default=default,
        help="share of rejected utterances above which the stage fails (%(default)s)",
    )


def add_options(parser: argparse.ArgumentParser, section: type[Section]) -> None:
    """Add one option per field of `section` to `parser`, such as `--hidden-size`, with its help and default."""
    hidden = _variables(section)
    group = parser.add_argument_group(section.__name__.lower(), (section.__doc__ or "").strip())
    for name, field in section.model_fields.items():
        if name in _NO_OPTIONS:
            continue
        text = f"{field.description} Default: {json.dumps(field.get_default())}".replace("%", "%%")
        given = os.environ.get(hidden[name]) if name in hidden else None
        option, dest = f"--{name.replace('_', '-')}", f"{section.__name__}.{name}"
        group.add_argument(option, dest=dest, default=given, metavar="VALUE", help=text)


def from_options(args: argparse.Namespace, section: type[Section]) -> Any:
    """The section that the parsed options describe. Raises UserError that names a wrong option."""
    given = {}
    for name in (name for name in section.model_fields if name not in _NO_OPTIONS):
        text = getattr(args, f"{section.__name__}.{name}")
        if text is not None:
            try:
                given[name] = json.loads(text)
            except json.JSONDecodeError:
                given[name] = text  # a bare word
    try:
        return section.model_validate(given)
    except ValidationError as error:
        lines = [explain(e, section) for e in error.errors()]
        raise UserError("\n".join(map(_of_option, lines))) from None


def _of_option(line: str) -> str:
    """A message about a field as one about its option."""
    field, colon, rest = line.partition(":")
    return f"--{field.replace('_', '-')}:{rest}" if colon and " " not in field else line


def as_options(section: Section, fields: Collection[str] | None = None) -> str:
    """The command-line options that `from_options` reads back as `section`, quoted for a shell.

    `fields`: the fields to write; None writes all of them. Untracked fields, which travel in the environment, and
    fields that are no options are left out in any case.
    """
    left_out = {*_variables(type(section)), *_NO_OPTIONS}
    values = section.model_dump(mode="json", include=None if fields is None else set(fields), exclude=left_out)
    parts = []
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if value is not None:
            parts.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(parts)
