"""The settings of results/causes.csv: the rungs and the speech that take factor C apart, and what each is compared with.

A difference between two rungs of the same speech, or between two worlds that speak the same texts, isolates what is
changed between them.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from speechladder.settings.section import Section, check_distinct

SPEECH, PHONES = "speech-hubert", "phone-repeat"  # the two rungs of factor C
FLAT, ALL = "flat", "all"
TEXTS = ("text-bpe", "text-raw")
LINKS = (*TEXTS, "phone-raw")  # rungs of the run that results/bit_budget.csv needs beside the rows of causes.csv
# Each cause of variability that the world can add to one flat voice, and what the difference to that voice isolates.
CAUSES = {
    "voices": "speakers",
    "accents": "accents",
    "rate": "speaking rate",
    "pitch": "pitch and its range",
    "reverberation": "reverberation",
    "noise": "noise",
    "bandwidth": "telephone band",
}
CORPORA = (FLAT, *CAUSES, ALL)
# Rung: the rung that it is compared with, and what the difference isolates.
BASES = {
    "phone-repeat-even": ("phone-raw", "length"),
    "phone-repeat": ("phone-repeat-even", "duration"),
    "phone-confused": ("phone-repeat", "confusions of phones at the units' rate"),
    "unit-vote": ("phone-repeat", "which unit a phone becomes"),
    "unit-phone": ("phone-raw", "which unit a phone becomes, at the length of phones"),
    "speech-hubert": ("unit-vote", "changes of the unit within a phone"),
    "speech-hubert-dedup": ("speech-hubert", "duration of units"),
    "unit-bpe": ("speech-hubert-dedup", "merging of units"),
}


class Causes(Section):
    """Rungs and speech that take factor C apart, for results/causes.csv, a target of its own."""

    rungs: list[str] = Field(
        [
            *(
                "phone-raw",
                "phone-repeat-even",
                "phone-repeat",
                "phone-confused",
                "unit-vote",
                "unit-phone",
                "unit-bpe",
            ),
            *("speech-hubert-dedup", "speech-hubert"),
        ],
        description="Rungs of the run's own speech. A rung that one of them is compared with has a row too.",
    )
    corpora: list[
        Literal["flat", "voices", "accents", "rate", "pitch", "reverberation", "noise", "bandwidth", "all"]
    ] = Field(
        list(CORPORA),
        description="world: the same texts spoken again, each a whole run. flat: one flat voice. all: with every cause. Otherwise "
        "one flat voice with that cause alone. []: none, which a natural corpus needs.",
    )

    cause_seeds: int = Field(
        1,
        ge=1,
        description="Models of each corpus with a single cause: the first of lm.seeds. The other rows have a model for each of "
        "lm.seeds. Rows of one model are marked.",
    )

    _distinct = field_validator("rungs", "corpora")(check_distinct)

    @field_validator("corpora")
    @classmethod
    def _has_a_base(cls, corpora: list[str]) -> list[str]:
        if corpora and FLAT not in corpora:
            raise ValueError(f"{FLAT} is missing, which every other corpus is compared with; add it, or write []")
        return corpora

    @model_validator(mode="after")
    def _has_rows(self) -> "Causes":
        if not self.rungs and not self.corpora:
            raise ValueError("rungs and corpora are both empty, so results/causes.csv would have no row; name some")
        return self

    def compared(self) -> list[str]:
        """The rungs of the run that have rows: `rungs`, what these and the corpora are compared with before them."""
        needed = [BASES[rung][0] for rung in self.rungs if rung in BASES] + [PHONES, SPEECH] * bool(self.corpora)
        return list(dict.fromkeys([*(rung for rung in needed if rung not in self.rungs), *self.rungs]))


def causes_of(corpus: str) -> list[str]:
    """The value of corpus.causes with which a corpus of `corpora` is spoken."""
    return {FLAT: [], ALL: list(CAUSES)}.get(corpus, [corpus])


def corpus_rungs(corpus: str) -> list[str]:
    """The rungs that are trained on a corpus of `corpora`. A cause alone is compared with the flat voice's units only."""
    return [PHONES, SPEECH] if corpus in (FLAT, ALL) else [SPEECH]
