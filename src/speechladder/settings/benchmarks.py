"""The settings of the benchmarks' items, of their scores, and of the statistics over them."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from speechladder.settings.section import Section, check_distinct


class Benchmarks(Section):
    """The items of the tasks."""

    swuggy_pairs: int = Field(300, ge=2, description="Number of word / non-word pairs that are generated.")
    sblimp_pairs: int = Field(
        320, ge=2, description="Number of minimal pairs of sentences that are generated, spread over the phenomena."
    )
    topic_pairs: int = Field(
        400,
        ge=2,
        multiple_of=2,
        description="Number of stories that are generated, each with a right and an off-topic ending. They come in twos that "
        "exchange their endings.",
    )
    voices: int = Field(2, ge=1, description="Number of voices that speak each pair of words or sentences.")
    topic_voices: int = Field(1, ge=1, description="Number of voices that speak each pair of stories.")
    swuggy: list[str] = Field(
        [],
        description="Pairs files instead of generated items: JSON lines, or CSV (also Wuggy's Word,Pseudoword). They may be "
        "compressed (.gz).",
    )
    sblimp: list[str] = Field(
        [],
        description="Pairs files instead of generated items: JSON lines (such as BLiMP's own) or CSV. They may be compressed "
        "(.gz).",
    )
    topic: list[str] = Field([], description="Pairs files instead of generated items: JSON lines or CSV.")
    max_pairs: int = Field(
        0,
        ge=0,
        description="Number of pairs that are taken, evenly spread, from pairs files or official benchmarks. 0 takes all.",
    )
    slm21: str | None = Field(
        None,
        description="sLM21 of zerospeech, with sWUGGY and sBLIMP: a folder, a .zip, or a name under downloads.files.",
    )
    slm21_splits: list[Literal["dev", "test"]] = Field(
        ["dev"],
        min_length=1,
        description="Splits of sLM21. results/slm21.csv has all of them, table.csv has the first.",
    )
    storycloze: str | None = Field(
        None,
        description="Topic-StoryCloze: a folder of STORY_PREFIX_correct.wav and STORY_PREFIX_incorrect.wav, a .zip or .tar of "
        "such a folder, or a name under downloads.files.",
    )
    storycloze_text: str | None = Field(
        None,
        description="Texts of Topic-StoryCloze, as a table with the columns filename,text. null: continuation.asr transcribes "
        "the recordings.",
    )

    _distinct = field_validator("slm21_splits")(check_distinct)

    @model_validator(mode="after")
    def _one_source(self) -> "Benchmarks":
        for official, tasks in {"slm21": ("swuggy", "sblimp"), "storycloze": ("topic",)}.items():
            for task in tasks:
                if getattr(self, official) and getattr(self, task):
                    raise ValueError(f"{task}: both {official} and pairs files are given; leave one out")
        if self.storycloze_text and not self.storycloze:
            raise ValueError("storycloze_text: would not be read without storycloze")
        return self


class Scores(Section):
    """How the models score the items."""

    batch_tokens: int = Field(
        2048,
        ge=64,
        description="Tokens in a scoring batch, padding included. 65536 fit a large GPU. A CPU is slower beyond 2048.",
    )
    layers: bool = Field(True, description="Score every layer through the final norm and the head (paper, Figs. 2-3).")
    learning: bool = Field(True, description="Score the snapshots of the learning curve (paper, Fig. 1).")
    learning_pairs: int = Field(
        120,
        ge=0,
        description="Number of pairs per task for the learning curve, evenly spread and in one voice. 0 takes all.",
    )


class Analysis(Section):
    """Confidence intervals and significance tests."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the bootstrap intervals.")
    resamples: int = Field(
        2000, ge=100, description="Number of bootstrap resamples, which are drawn over ids, and of permutations."
    )
