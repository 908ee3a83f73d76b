"""The settings of results/scaling.csv: which models are trained on how much of the training data."""

import re
from typing import Any

from pydantic import Field, ValidationError, field_validator

from speechladder.io.errors import suggestion
from speechladder.settings.lm import DIMENSIONS, EXECUTION_FIELDS
from speechladder.settings.messages import explain, shown
from speechladder.settings.section import Section, check_distinct

EVERY_RUN = ("seeds", "init", *EXECUTION_FIELDS)  # fields of lm that no size may change


class Scaling(Section):
    """Model sizes x shares of the training data, for results/scaling.csv, a target of its own."""

    rungs: list[str] = Field(
        ["text-bpe", "phone-raw", "speech-hubert"],
        min_length=1,
        description="Rungs whose models are scaled.",
    )
    sizes: list[dict[str, Any]] = Field(
        [
            {"name": "xs", "hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 2, "intermediate_size": 88},
            {"name": "s", "hidden_size": 64, "layers": 3, "heads": 2, "kv_heads": 2, "intermediate_size": 176},
            {"name": "lm"},
        ],
        min_length=1,
        description="Name of each size, and the fields of lm in which it differs from the run's own model, such as dimensions, lr "
        "or max_steps. A name alone is the run's own model, which is not trained twice.",
    )
    fractions: list[float] = Field(
        [0.25, 0.5, 1.0],
        min_length=1,
        description="Shares of the training speech, by time. A smaller share is a part of a larger one, and has the same utterances "
        "on every rung. Validation and items are those of the run.",
    )
    seeds: list[int] = Field([0], min_length=1, description="One model per seed, rung, size and fraction.")

    _distinct = field_validator("rungs", "fractions", "seeds")(check_distinct)

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: list[float]) -> list[float]:
        for fraction in fractions:
            if not 0 < fraction <= 1:
                raise ValueError(f"{fraction:g} is no share of the data; above 0, at most 1")
        return fractions

    @field_validator("seeds")
    @classmethod
    def _counted(cls, seeds: list[int]) -> list[int]:
        if min(seeds) < 0:
            raise ValueError(f"{min(seeds)} is not allowed; a seed is 0 or more")
        return seeds

    @field_validator("sizes")
    @classmethod
    def _names(cls, sizes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = [size.get("name") for size in sizes]
        for name in names:
            # The name of a folder: results/scaling/{fraction}/{size}.
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.]*", name):
                raise ValueError(f"each needs a name of letters, digits, '.' and '_'; this is none: {shown(name)}")
        if len(set(names)) != len(names):
            raise ValueError(f"two have one name; the names are {', '.join(names)}")
        return sizes


def sized(lm: Section, size: dict[str, Any]) -> Any:
    """The settings `lm` with the changes of `size`. Raises ValueError that names the wrong field of the size."""
    fields, name, changes = type(lm).model_fields, size["name"], {k: v for k, v in size.items() if k != "name"}
    for field in changes:
        if field not in fields or field in EVERY_RUN:
            allowed = [f for f in fields if f not in EVERY_RUN]
            hint = suggestion(field, allowed, 0.5)
            raise ValueError(f"scaling.sizes.{name}.{field}: unknown key; {hint}allowed here: {', '.join(allowed)}")
    base = lm.model_dump()
    if "model" in changes:  # a named model has its own dimensions
        base = {field: value for field, value in base.items() if field not in DIMENSIONS}
    elif set(DIMENSIONS) & set(changes):
        base |= {"model": "custom"}
    try:
        return type(lm).model_validate(base | changes)
    except ValidationError as error:
        line = explain(error.errors()[0], type(lm))
        joint = "." if line.partition(":")[0] in fields else ": "
        raise ValueError(f"scaling.sizes.{name}{joint}{line}") from None
