"""A section of the settings as command-line options, so that a stage run by hand reads what Snakemake writes."""

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from speechladder.io.errors import UserError
from speechladder.settings.lm import EXECUTION_FIELDS
from speechladder.settings.models import Corpus, Settings
from speechladder.settings.section import Section

# Settings that never change a byte of a result. Scripts read them from the environment and not from options, which
# Snakemake would track: following the advice to raise corpus.max_rejected must not make everything anew.
_UNTRACKED = {
    "corpus": ("max_rejected",),
    "units": ("workers", "sample_gigabytes"),
    "continuation": ("batch",),
    "lm": EXECUTION_FIELDS,
}  # by section, since units.compile is another thing than lm.compile


# How files are fetched: other addresses of the same file must not fetch it anew, and nothing that follows.
DOWNLOADS = "SPEECHLADDER_DOWNLOADS"


# Which python runs a script is decided before there is one: no option, and another python makes nothing anew.
_NO_OPTIONS = {"s3prl_python"}


def untracked(settings: Settings) -> dict[str, str]:
    """The environment that hands a run's untracked settings to its scripts."""
    found = {DOWNLOADS: settings.downloads.model_dump_json()}
    for section in _UNTRACKED:
        values = getattr(settings, section)
        found |= {where: json.dumps(getattr(values, name)) for name, where in _variables(type(values)).items()}
    return found


def _variables(section: type[Section]) -> dict[str, str]:
    """The untracked fields of a section, and the environment variable of each."""
    kind = section.__name__.lower()
    return {name: f"SPEECHLADDER_{kind}_{name}".upper() for name in _UNTRACKED.get(kind, ())}


def add_max_rejected(parser: argparse.ArgumentParser) -> None:
    """Give `parser` --max-rejected, for a stage that takes no other field of the corpus."""
    default = os.environ.get(_variables(Corpus)["max_rejected"], str(Corpus().max_rejected))
    parser.add_argument("--max-rejected", type=float, default=default, help="share of rejects that fails (%(default)s)")


def add_options(parser: argparse.ArgumentParser, section: type[Section]) -> None:
    """Give `parser` one option per field of `section`: `--hidden-size`, with the field's help and default."""
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
    """The `section` that the parsed options say; raises UserError naming the option."""
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
        lines = [
            f"--{'.'.join(map(str, e['loc'])).replace('_', '-')}: {e['msg']} (got {e['input']!r})"
            for e in error.errors()
        ]
        raise UserError("\n".join(lines)) from None


def as_options(section: Section, exclude: Sequence[str] = ()) -> str:
    """The command-line options that `from_options` reads back as `section`, quoted for a shell.

    Without untracked fields, which travel in the environment, and those that are no options.
    """
    parts = []
    for name, value in section.model_dump(
        mode="json", exclude={*exclude, *_variables(type(section)), *_NO_OPTIONS}
    ).items():
        text = value if isinstance(value, str) else json.dumps(value)
        if value is not None:
            parts.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(parts)
