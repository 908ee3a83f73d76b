"""The settings of results/external.csv: language models that others trained, and how their vocabularies hold units."""

import re
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from speechladder.settings.messages import explain
from speechladder.settings.section import Section


class ExternalModel(Section):
    """A model of external.models (docs/external-models.md)."""

    model: str = Field("", description="A folder of the model, or OWNER/NAME of a hub.")
    name: str = Field("", description="Its name in the table and in file names. Empty: the last part of model.")
    revision: str | None = Field(None, description="Commit, tag or branch on the hub. null: the newest.")
    rate: float | None = Field(
        None, gt=0, le=1000, description="Units per second that the model was trained on, before de-duplication."
    )
    units: int | None = Field(None, ge=2, description="Number of units of the model. null: as its vocabulary says.")
    unit_offset: int | None = Field(
        None, ge=0, description="Token id of unit 0; the others follow. null: as its vocabulary says."
    )
    bos: int | str | None = Field(
        None,
        description="Token id that begins every sequence; none: the model was trained without. null: as its files say.",
    )
    dedup: Literal["auto", "on", "off"] = Field(
        "auto", description="Write each run of equal units once. auto: as its files say, otherwise on."
    )
    text: Literal["auto", "on", "off"] = Field(
        "auto", description="Score the texts. auto: if its tokenizer is one of text."
    )
    phones: bool = Field(False, description="Score the phones, spelled with spaces, by the tokenizer of text.")

    @field_validator("bos")
    @classmethod
    def _is_id(cls, bos: int | str | None) -> int | str | None:
        if bos is None or bos == "none":
            return bos
        if not str(bos).isdigit():
            raise ValueError(f"{bos!r} is neither a token id nor none")
        return int(bos)


class External(Section):
    """Language models that others trained, on the items of this run, for results/external.csv, a target of its own."""

    models: list[str | dict[str, Any]] = Field(
        [],
        description="The models: folders or OWNER/NAME of a hub. In place of a name, fields of a model: model, name, revision, rate, "
        "units, unit_offset, bos, dedup, text, phones (docs/external-models.md).",
    )

    @field_validator("models")
    @classmethod
    def _checked(cls, models: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        found = [external_model(model, number) for number, model in enumerate(models)]
        for number, model in enumerate(found):
            if model.name in (other.name for other in found[:number]):
                raise ValueError(f"two are named {model.name}; give one of them another name")
        return models


def external_model(given: str | dict[str, Any], number: int = 0) -> ExternalModel:
    """An entry of external.models with its name. Raises ValueError that names what is wrong."""
    fields = {"model": given} if isinstance(given, str) else given
    try:
        model = ExternalModel.model_validate(fields)
    except ValidationError as error:
        raise ValueError(f"entry {number}: {explain(error.errors()[0], ExternalModel)}") from None
    if not model.model:
        raise ValueError(f"entry {number}: model is missing; write model: a folder, or OWNER/NAME of a hub")
    name = model.name or re.sub(r"[^\w.-]", "-", model.model.rstrip("/").rpartition("/")[2])
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise ValueError(
            f"entry {number}: {name!r} is no name of a file; write name: letters, digits, '.', '_' and '-'"
        )
    return model.model_copy(update={"name": name})
