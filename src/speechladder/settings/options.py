"""A section of the settings as command-line options, so that a stage run by hand reads what Snakemake writes."""

import argparse
import json
import shlex
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from speechladder.io.errors import UserError
from speechladder.settings.models import Section


def add_options(parser: argparse.ArgumentParser, section: type[Section]) -> None:
    """Give `parser` one option per field of `section`: `--hidden-size`, with the field's help and default."""
    group = parser.add_argument_group(section.__name__.lower(), (section.__doc__ or "").strip())
    for name, field in section.model_fields.items():
        text = f"{field.description} Default: {json.dumps(field.get_default())}".replace("%", "%%")
        group.add_argument(f"--{name.replace('_', '-')}", dest=f"{section.__name__}.{name}", metavar="VALUE", help=text)


def from_options(args: argparse.Namespace, section: type[Section]) -> Any:
    """The `section` that the parsed options say; raises UserError naming the option."""
    given = {}
    for name in section.model_fields:
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
    """The command-line options that `from_options` reads back as `section`, quoted for a shell."""
    parts = []
    for name, value in section.model_dump(mode="json", exclude=set(exclude)).items():
        text = value if isinstance(value, str) else json.dumps(value)
        if value is not None:
            parts.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    return " ".join(parts)
