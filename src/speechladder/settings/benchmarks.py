"""The settings of the benchmarks' items, of their scores, and of the statistics over them."""

from typing import Literal

from pydantic import Field, model_validator

from speechladder.settings.section import Section

TASKS = ("swuggy", "sblimp", "topic")


class Benchmarks(Section):
    """The items of the three tasks."""

    swuggy_pairs: int = Field(300, ge=2, description="Word / non-word pairs to generate.")
    sblimp_pairs: int = Field(
        320, ge=2, description="Minimal pairs of sentences to generate, spread over the phenomena."
    )
    topic_pairs: int = Field(200, ge=2, description="Stories with a right and an off-topic ending to generate.")
    voices: int = Field(2, ge=1, description="Voices that speak each word or sentence pair.")
    topic_voices: int = Field(1, ge=1, description="Voices that speak each story pair.")
    swuggy: list[str] = Field(
        [],
        description="Pairs files in place of generated items: JSON lines, CSV (Wuggy's Word,Pseudoword too); .gz read as is.",
    )
    sblimp: list[str] = Field(
        [],
        description="Pairs files in place of generated items: JSON lines (BLiMP's own), CSV; .gz read as is.",
    )
    topic: list[str] = Field([], description="Pairs files in place of generated items: JSON lines or CSV.")
    max_pairs: int = Field(
        0, ge=0, description="Pairs taken from pairs files or official benchmarks, evenly spread; 0 takes all."
    )
    slm21: str | None = Field(
        None,
        description="sLM21 of zerospeech, for sWUGGY and sBLIMP: a folder, a .zip, or a name under downloads.files.",
    )
    slm21_splits: list[Literal["dev", "test"]] = Field(
        ["dev"],
        min_length=1,
        description="Splits of sLM21; results/slm21.csv has each, table.csv the first.",
    )
    storycloze: str | None = Field(
        None,
        description="Topic-StoryCloze: a folder of STORY_PREFIX_correct.wav and ..._incorrect.wav, a .zip or .tar of it, or a name "
        "under downloads.files.",
    )
    storycloze_text: str | None = Field(
        None,
        description="Its texts, a table with columns filename,text; null: transcribed by continuation.asr.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "Benchmarks":
        for official, tasks in {"slm21": ("swuggy", "sblimp"), "storycloze": ("topic",)}.items():
            for task in tasks:
                if getattr(self, official) and getattr(self, task):
                    raise ValueError(f"{task}: both {official} and pairs files are given; leave one out")
        if len(set(self.slm21_splits)) != len(self.slm21_splits):
            raise ValueError("slm21_splits: a split is named twice")
        if self.storycloze_text and not self.storycloze:
            raise ValueError("storycloze_text: would not be read without storycloze")
        return self


class Scores(Section):
    """Likelihood comparison."""

    batch_tokens: int = Field(
        2048,
        ge=64,
        description="Tokens per scoring batch, padding included; a GPU takes 65536, a CPU is slower beyond 2048.",
    )
    layers: bool = Field(True, description="Score every layer through the final norm and the head (paper, Figs. 2-3).")
    learning: bool = Field(True, description="Score the learning-curve snapshots (paper, Fig. 1).")
    learning_pairs: int = Field(
        120, ge=0, description="Pairs per task, evenly spread, in one voice, for the learning curve; 0 takes all."
    )


class Analysis(Section):
    """Intervals and tests."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the bootstrap intervals.")
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples (over ids) and permutations.")
