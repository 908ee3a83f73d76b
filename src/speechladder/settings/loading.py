"""From a dictionary to validated settings."""

from typing import Any

from pydantic import ValidationError

from speechladder.settings.messages import explain, mistakes
from speechladder.settings.run import Settings


def plain(value: Any) -> Any:
    """Replace the word null, the only one that pydantic does not read; `--config` gives every value as text.

    A key is text, though YAML may read a number, a date or, in `on: 1`, a boolean.
    """
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if value == "null" else value


def load(config: dict[str, Any], source: str = "config") -> Settings:
    """Validate a configuration dictionary.

    Raises UserError that lists every mistake: the field's name, its value, what is allowed, the nearest spelling.
    """
    try:
        return Settings.model_validate(plain(config))
    except ValidationError as error:
        raise mistakes(source, [explain(e, Settings) for e in error.errors()]) from None
