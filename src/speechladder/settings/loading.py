"""From a dictionary to validated settings. Every mistake is named, with what is allowed and the nearest spelling."""

from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from speechladder.io.errors import UserError, suggestion
from speechladder.settings.run import Settings


def _known_keys(section: type[BaseModel], prefix: str = "") -> dict[str, type[BaseModel]]:
    """Map '' and each prefix 'section.' to its model. The entries of a dictionary of models have the prefix '*'."""
    out = {prefix: section}
    for name, field in section.model_fields.items():
        inner, path = field.annotation, f"{prefix}{name}."
        if get_origin(inner) is dict:
            inner, path = get_args(inner)[1], f"{path}*."
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            out |= _known_keys(inner, path)
    return out


def _prefix(sections: dict[str, type[BaseModel]], path: list[str]) -> str:
    """The prefix of the section that holds the last part of `path`."""
    out = ""
    for part in path[:-1]:
        out += "*." if f"{out}*." in sections else f"{part}."
    return out


def _explain(error: dict[str, Any]) -> str:
    """One line for a pydantic error: the field, what is wrong, what is allowed, the nearest spelling."""
    path = [str(p) for p in error["loc"]]
    name = ".".join(path)
    sections = _known_keys(Settings)
    prefix = _prefix(sections, path)
    if error["type"] == "extra_forbidden":
        known = list(sections.get(prefix, Settings).model_fields)
        where = next((p for p, s in sections.items() if path[-1] in s.model_fields and "*" not in p), None)
        here = "".join(f"{p}." for p in path[:-1])
        elsewhere = f"did you mean '{where}{path[-1]}'? " if where is not None else ""
        hint = elsewhere or suggestion(path[-1], known, 0.5).replace("'", f"'{here}", 1)
        return f"{name}: unknown key; {hint}allowed here: {', '.join(known)}"
    got = error.get("input")
    if error["type"] == "literal_error":
        return not_allowed(name, got, _allowed(sections, path))
    if error["type"] == "missing":
        return f"{name}: is missing; {sections[prefix].model_fields[path[-1]].description}"
    if path[-1:] == ["[key]"]:
        return (
            f"{'.'.join(path[:-2])}: {got!r} is no name of a file; it may have letters, digits, '.', '-', '_' and '+'"
        )
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name}: {message} (got {got!r}, a {type(got).__name__})"


def not_allowed(field: str, got: Any, allowed: Iterable[Any]) -> str:
    """One line for a word that is none of `allowed`, with the nearest of them."""
    words = [str(word) for word in allowed]
    return f"{field}: {got!r} is not allowed; {suggestion(str(got), words)}allowed: {', '.join(words)}"


def mistakes(source: str, lines: Sequence[str]) -> UserError:
    """The error that lists every mistake of a configuration."""
    return UserError(f"{source} has {len(lines)} mistake{'s' * (len(lines) > 1)}:\n  " + "\n  ".join(lines))


def _allowed(sections: dict[str, type[BaseModel]], path: list[str]) -> list[Any]:
    if path[-1].isdigit():  # an entry of a list
        path = path[:-1]
    section = sections.get(_prefix(sections, path))
    if not section or path[-1] not in section.model_fields:
        return []
    kind = section.model_fields[path[-1]].annotation
    while get_origin(kind) in (list, UnionType, Union):  # of a list, or of words and null
        kind = get_args(kind)[0]
    return list(get_args(kind))


def _plain(value: Any) -> Any:
    """Replace the word null, the only one that pydantic does not read; `--config` gives every value as text."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return None if value == "null" else value


def load(config: dict[str, Any], source: str = "config") -> Settings:
    """Validate a configuration dictionary.

    Raises UserError that lists every mistake: the field's name, what is allowed, the nearest spelling.
    """
    try:
        return Settings.model_validate(_plain(config))
    except ValidationError as error:
        raise mistakes(source, [_explain(e) for e in error.errors()]) from None
