"""config/config.yaml and docs/configuration.md, written from the models; a test fails when they drift."""

import json
import textwrap
from typing import Any

from speechladder.settings.models import Settings
from speechladder.settings.section import Section


def _sections() -> dict[str, type[Section]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def as_yaml(settings: type[Settings]) -> str:
    """`config/config.yaml`: every field with its default, its description as a comment above it."""
    lines = ["# The default run. Written by scripts/make_config_docs.py from src/speechladder/settings:"]
    lines += ["# change a default there; change a run here, in a preset (--configfile), or by --config."]

    def emit(name: str, field: Any, indent: str) -> None:
        value = json.dumps(field.get_default())
        lines.extend(
            textwrap.wrap(field.description, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        )
        lines.append(f"{indent}{name}: {value}")

    for name, field in settings.model_fields.items():
        lines.append("")
        if name in _sections():
            lines += [f"# {field.description}", f"{name}:"]
            for key, inner in _sections()[name].model_fields.items():
                emit(key, inner, "  ")
        else:
            emit(name, field, "")
    return "\n".join(lines) + "\n"


def as_markdown(settings: type[Settings]) -> str:
    """`docs/configuration.md`: a table per section."""
    schema = settings.model_json_schema()
    lines = [
        "# Configuration",
        "",
        "Generated from `src/speechladder/settings` by `scripts/make_config_docs.py`. A run's configuration",
        "is `config/config.yaml`, overridden by `--configfile PRESET.yaml`, overridden by `--config section='{key: value}'`.",
        "",
    ]
    tables = {"": settings} | _sections()
    for name, section in tables.items():
        lines += [f"## {name or 'Top level'}", "", *([str(section.__doc__), ""] if name else [])]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        properties = schema["$defs"][section.__name__]["properties"] if name else schema["properties"]
        for key, field in section.model_fields.items():
            if key not in _sections() or name:
                default = json.dumps(field.get_default())
                meaning = field.description.replace("|", "\\|")
                allowed, path = _range(properties[key], schema["$defs"]), f"{name + '.' if name else ''}{key}"
                lines.append(f"| `{path}` | `{default}` | {allowed} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _range(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a field's JSON schema allows, in words; `definitions` are the sections that it refers to."""
    if "anyOf" in schema:
        return " or ".join(_range(s, definitions) for s in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"])
    if isinstance(entry := schema.get("additionalProperties"), dict):
        return f"name: {{{', '.join(definitions[entry['$ref'].rpartition('/')[2]]['properties'])}}}"
    if schema.get("type") == "array":
        return f"list of {_range(schema['items'], definitions)}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = " and ".join(f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema)
    return f"{schema.get('type', 'any')} {bounds}".strip()
