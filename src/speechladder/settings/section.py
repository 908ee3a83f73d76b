"""What every section of the settings is."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of the configuration: unknown keys are errors, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, values: Any) -> Any:
        # Text is read as a number, since Snakemake's --config gives text and YAML 1.1 takes 1e-3 for text; but pydantic
        # would also take true for 1.
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and name in cls.model_fields and cls.model_fields[name].annotation is not bool:
                raise ValueError(f"{name}: {str(value).lower()} is not a value of this field")
        return values
