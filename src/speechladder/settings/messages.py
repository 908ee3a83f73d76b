"""What is wrong with a setting, in plain English: the field, its value, what is allowed, the nearest spelling."""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from speechladder.io.errors import UserError, suggestion

SHOWN = 80  # characters of a value in a message
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
}
_FORMS = {rf"^[0-9a-fA-F]{{{digits}}}$": f"of {digits} hexadecimal digits" for digits in (32, 64)}
# Kinds of values as JSON schemas name them: one value, and several of them in a list.
_KINDS = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "boolean": ("true or false", "true or false"),
    "string": ("text", "texts"),
    "object": ("a section of keys and values", "sections of keys and values"),
    "null": ("null", "null"),
}


def explain(error: Mapping[str, Any], root: type[BaseModel]) -> str:
    """One line for an error of pydantic's about the section `root`: the field, its value, and what is allowed."""
    path, got = [str(part) for part in error["loc"]], error.get("input")
    name, sections = ".".join(path), _sections(root)
    prefix = _prefix(sections, path)
    section = sections.get(prefix, root)
    if error["type"] == "extra_forbidden":
        return _unknown(path, sections, section)
    if error["type"] == "value_error":
        return _own(path, error["msg"].removeprefix("Value error, "), sections)
    if error["type"] == "missing":
        return f"{name}: is missing; {section.model_fields[path[-1]].description}"
    if path[-1:] == ["[key]"]:
        return (
            f"{'.'.join(path[:-2])}: {got!r} is no name of a file; it may have letters, digits, '.', '-', '_' and '+'"
        )
    if (entry := sections.get(f"{prefix}*.")) is not None:  # of a dictionary of sections
        return f"{name}: {shown(got)} is not allowed; allowed: {_keys(entry.model_fields)}"
    field = next(part for part in reversed(path) if not part.isdigit())
    if error["type"] == "literal_error":
        return not_allowed(name, got, _choices(section, field))
    allowed = _allowed(section, field, path[-1].isdigit())
    if isinstance(got, str) and f"{name}." in sections:
        allowed += f". On a command line: --config {name}='{{KEY: VALUE, KEY: VALUE}}', with a space after each colon"
    elif isinstance(got, str | int | float) and allowed.startswith("a list of "):
        allowed += f"; write [{got}] for a list of one" * (len(str(got)) < SHOWN and not set(str(got)) & set("[],"))
    return f"{name}: {shown(got)} is not allowed; allowed: {allowed}"


def not_allowed(field: str, got: Any, allowed: Iterable[Any]) -> str:
    """One line for a word that is none of `allowed`, with the nearest of them."""
    words = [str(word) for word in allowed]
    return f"{field}: {shown(got)} is not allowed; {suggestion(str(got), words)}allowed: {', '.join(words)}"


def mistakes(source: str, lines: Sequence[str]) -> UserError:
    """The error that lists every mistake of a configuration."""
    return UserError(f"{source} has {len(lines)} mistake{'s' * (len(lines) > 1)}:\n  " + "\n  ".join(lines))


def shown(value: Any) -> str:
    """A value as a message shows it, as YAML writes null and booleans; a long one is cut."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _sections(root: type[BaseModel], prefix: str = "") -> dict[str, type[BaseModel]]:
    """Map '' and each prefix 'section.' to its model. The entries of a dictionary of models have the prefix '*'."""
    out = {prefix: root}
    for name, field in root.model_fields.items():
        inner, path = field.annotation, f"{prefix}{name}."
        if get_origin(inner) is dict:
            inner, path = get_args(inner)[1], f"{path}*."
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            out |= _sections(inner, path)
    return out


def _prefix(sections: Mapping[str, type[BaseModel]], path: Sequence[str]) -> str:
    """The prefix of the section that holds the field which `path` ends in, or in whose list it ends."""
    out = ""
    for part in path[:-1]:
        inner = f"{out}*." if f"{out}*." in sections else f"{out}{part}."
        if inner not in sections and f"{inner}*." not in sections:
            return out
        out = inner
    return out


def _unknown(path: Sequence[str], sections: Mapping[str, type[BaseModel]], section: type[BaseModel]) -> str:
    """For a key that no field has: the nearest one here, or the section that has it."""
    word, here = path[-1], "".join(f"{part}." for part in path[:-1])
    where = next((p for p, other in sections.items() if word in other.model_fields and "*" not in p), None)
    known = list(section.model_fields)
    outer, dot, inner = word.partition(".")
    if dot and f"{here}{outer}." in sections:  # as other programs write it
        return f"{here}{word}: unknown key; write {outer}: {{{inner}: VALUE}}"
    elsewhere = f"did you mean '{where}{word}'? " if where is not None else ""
    hint = elsewhere or suggestion(word, known, 0.5).replace("'", f"'{here}", 1)
    return f"{here}{word}: unknown key; {hint}allowed here: {', '.join(known)}"


def _own(path: Sequence[str], message: str, sections: Mapping[str, type[BaseModel]]) -> str:
    """A message of a validator of this library. One of a whole section begins with the field that it is about."""
    name = ".".join(path)
    inner = sections.get(f"{name}." if name else "")
    joined = name and inner and message.partition(":")[0] in inner.model_fields
    return f"{name}.{message}" if joined else f"{name}: {message}" if name else message


def _choices(section: type[BaseModel], field: str) -> tuple[Any, ...]:
    """The words that a field may be, or the entries of its list."""
    kind = section.model_fields[field].annotation
    while get_origin(kind) in (list, UnionType, Union):  # of a list, or of words and null
        kind = get_args(kind)[0]
    return get_args(kind)


def _keys(names: Iterable[str]) -> str:
    return f"a section with the keys {', '.join(names)}"


@functools.cache
def _schema(section: type[BaseModel]) -> dict[str, Any]:
    return section.model_json_schema()


def _allowed(section: type[BaseModel], field: str, entry: bool) -> str:
    """The values of a field, or with `entry` those of an entry of its list, in words."""
    schema = _schema(section)["properties"][field]
    if entry:
        lists = [each for each in schema.get("anyOf", [schema]) if each.get("type") == "array"]
        schema = lists[0]["items"] if lists else schema
    return _in_words(schema, _schema(section).get("$defs", {}))


def _in_words(schema: Mapping[str, Any], definitions: Mapping[str, Any], several: bool = False) -> str:
    """The values that a JSON schema allows, in words; `several`: of the entries of a list."""
    if "anyOf" in schema:
        return ", or ".join(_in_words(each, definitions, several) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "$ref" in schema or "allOf" in schema:
        name = (schema.get("$ref") or schema["allOf"][0]["$ref"]).rpartition("/")[2]
        return _keys(definitions[name]["properties"])
    if schema.get("type") == "array":
        return f"a list of {_in_words(schema['items'], definitions, True)}" + ", not empty" * bool(
            schema.get("minItems")
        )
    bounds = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema]
    form = [_FORMS.get(schema["pattern"], f"of the form {schema['pattern']}")] if "pattern" in schema else []
    kind = _KINDS.get(schema.get("type", "object"), ("a value", "values"))[several]
    return ", ".join([" ".join([kind, *form]), *([" and ".join(bounds)] if bounds else [])])
