"""The table continuation/prompts.parquet (io.tables.PROMPTS), which has two rows for each prompt."""

from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.tables import PROMPTS, read_table

PARTS = ("prompt", "whole")  # the audio up to the cut, and the audio with the true continuation
STORIES = "stories"  # key of the table's metadata: JSON, id -> all sentences of the world's story

Parts = dict[str, dict[str, Any]]  # row by part


def read_prompt_parts(path: Path, columns: list[str]) -> dict[str, Parts]:
    """Return the rows of each prompt by part, by the prompts' ids in the order of the table.

    `columns` are read in addition to id and part. Raise UserError if a prompt lacks a part.
    """
    columns = ["id", "part", *columns]
    prompts: dict[str, Parts] = {}
    for row in read_table(path, PROMPTS, columns).select(columns).to_pylist():
        prompts.setdefault(row["id"], {})[row["part"]] = row
    for id, parts in prompts.items():
        if parts.keys() != set(PARTS):
            raise UserError(
                f"{path}: prompt {id!r} has the parts {sorted(parts)}, not prompt and whole; delete it and run again"
            )
    return prompts


def true_continuation(parts: Parts) -> str:
    """Return the text of the true continuation: the words of the whole after those of the prompt."""
    return " ".join(parts["whole"]["text"].split()[len(parts["prompt"]["text"].split()) :])
