"""The base class of every section of a configuration."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]


def check_distinct(values: list[Any]) -> list[Any]:
    """The values of a field. Raises ValueError if one of them is named twice."""
    if len(set(values)) != len(values):
        raise ValueError("a value is named twice")
    return values


class Section(BaseModel):
    """A section of the configuration. Unknown keys are errors, and so are values of a wrong type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, values: Any) -> Any:
        # Text is accepted as a number, because Snakemake's --config gives text and YAML 1.1 reads 1e-3 as text. But pydantic
        # would also accept true as 1.
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and name in cls.model_fields and cls.model_fields[name].annotation is not bool:
                raise ValueError(f"{name}: {str(value).lower()} is not a value of this field")
        return values
