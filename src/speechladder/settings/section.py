"""The base class of every section of a configuration."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0, le=1)]


def check_distinct(values: list[Any]) -> list[Any]:
    """The values of a field. Raises ValueError if one of them is named twice."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is named twice")
    return values


class Section(BaseModel):
    """A section of the configuration. Unknown keys are errors, and so are values of a wrong type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Text is accepted as a number, because Snakemake's --config gives text and YAML 1.1 reads 1e-3 as text. But pydantic
        # would also accept true as 1.
        given = value if isinstance(value, list) else [value]
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and "on" in get_args(kind):
            return "on" if value else "off"  # YAML 1.1 reads on and off as true and false
        takes = kind in (bool, list[bool])
        if not takes and any(isinstance(each, bool) for each in given):
            raise PydanticCustomError("no_boolean", "not a boolean")  # settings.messages says what is allowed
        return value
