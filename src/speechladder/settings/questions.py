"""The arms of results/questions.csv: other units of the same speech, for the paper's open questions.

An arm is a point of the run (settings.points) whose units differ in a few settings. It shares the run's corpus,
alignment, items and list of utterances.
"""

from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from speechladder.io.errors import suggestion
from speechladder.settings.section import Section, check_distinct
from speechladder.settings.units import Units

CONTEXT_SECONDS = 2.0  # other words of the voice on each side of an item


class Arm(NamedTuple):
    """What an arm is: the rung that reads its units, and its changes of the settings of units."""

    rung: str
    units: dict[str, Any]


_UNLABELLED = {name: Units.model_fields[name].default for name in ("labels", "label_minutes")}


def _segments(kind: str) -> Arm:
    return Arm("speech-hubert", {"segments": kind, "item_context": 0.0} | _UNLABELLED)


def _supervised(minutes: float, **more: Any) -> Arm:
    return Arm("speech-hubert", {"labels": "phones", "label_minutes": minutes, "segments": "frame", **more})


ARMS: dict[str, Arm] = {
    "segments-phone": _segments("phone"),
    "segments-syllable": _segments("syllable"),
    "segments-word": _segments("word"),
    "segments-auto": _segments("auto"),
    "supervised-1": _supervised(1.0),
    "supervised-10": _supervised(10.0),
    "supervised-60": _supervised(60.0),
    "supervised-60-context": _supervised(60.0, item_context=CONTEXT_SECONDS),
    "item-context": Arm("speech-hubert", {"item_context": CONTEXT_SECONDS, "segments": "frame"}),
    "speaker-norm": Arm("speech-hubert", {"normalisation": "speaker"}),
    "utterance-norm": Arm("speech-hubert", {"normalisation": "utterance"}),
}


class Questions(Section):
    """The paper's open questions, for results/questions.csv, a target of its own."""

    arms: list[str] = Field(
        list(ARMS),
        description="Other units of the same speech, with a language model of each: segments-phone, segments-syllable, "
        "segments-word, segments-auto (units.segments), supervised-1, supervised-10, supervised-60 (units.labels, by "
        "minutes of labels), supervised-60-context, item-context (units.item_context), speaker-norm, utterance-norm "
        "(units.normalisation).",
    )

    rungs: list[Literal["unit-words", "text-units"]] = Field(
        ["unit-words", "text-units"],
        description="Rungs of the run that are arms too. They are trained and scored whether they are among rungs or not.",
    )
    corpora: list[Literal["flat", "synthesized"]] = Field(
        ["flat", "synthesized"],
        description="The same texts spoken otherwise, by a run of their own. flat: the world in one flat voice. synthesized: a "
        "natural corpus by the synthesizer. The one that the corpus of the run cannot have is left out.",
    )
    resynthesis: bool = Field(
        True,
        description="Speak held-out speech again from the units of the arms segments-*, and from the run's own, and report "
        "the word error rate.",
    )

    @field_validator("arms")
    @classmethod
    def _known(cls, arms: list[str]) -> list[str]:
        for arm in arms:
            if arm not in ARMS:
                raise ValueError(f"there is no arm {arm!r}; {suggestion(arm, ARMS)}allowed: {', '.join(ARMS)}")
        return arms

    _distinct = field_validator("arms", "rungs", "corpora")(check_distinct)
