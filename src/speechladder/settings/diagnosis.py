"""The settings of the diagnosis of units (results/diagnosis.json)."""

from pydantic import Field

from speechladder.settings.section import Section


class Diagnosis(Section):
    """What a tokenizer keeps and where it loses, for results/diagnosis.html, a target of its own (make diagnose)."""

    sentences: int = Field(
        32,
        ge=4,
        le=999,
        description="Number of sentences of the probe speech, each spoken again with one thing changed at a time. Intervals "
        "resample them.",
    )
