"""The settings of a whole run: every section, and what must hold between them."""

from pydantic import Field, field_validator, model_validator

from speechladder.settings.benchmarks import Analysis, Benchmarks, Scores
from speechladder.settings.causes import Causes
from speechladder.settings.continuation import Continuation
from speechladder.settings.corpus import Alignment, Corpus, Downloads
from speechladder.settings.diagnosis import Diagnosis
from speechladder.settings.external import External
from speechladder.settings.lm import LM
from speechladder.settings.questions import Questions
from speechladder.settings.scaling import Scaling, sized
from speechladder.settings.section import Section, check_distinct
from speechladder.settings.sweep import Sweep
from speechladder.settings.tokens import PAPER_RUNGS, Tokens
from speechladder.settings.units import Units


class Settings(Section):
    """A whole run."""

    seed: int = Field(
        0, ge=0, description="Seed of everything that is drawn: corpus, items, k-means sample, prompts, intervals."
    )
    rungs: list[str] = Field(
        list(PAPER_RUNGS),
        min_length=1,
        description="Rungs of the ladder, in the order of the table. There are the paper's six, speech-hubert-dedup, and rungs that "
        "you register (docs/adding-a-rung.md).",
    )
    corpus: Corpus = Field(Corpus(), description=Corpus.__doc__)
    downloads: Downloads = Field(Downloads(), description=Downloads.__doc__)
    alignment: Alignment = Field(Alignment(), description=Alignment.__doc__)
    units: Units = Field(Units(), description=Units.__doc__)
    sweep: Sweep = Field(Sweep(), description=Sweep.__doc__)
    tokens: Tokens = Field(Tokens(), description=Tokens.__doc__)
    lm: LM = Field(LM(), description=LM.__doc__)
    benchmarks: Benchmarks = Field(Benchmarks(), description=Benchmarks.__doc__)
    scores: Scores = Field(Scores(), description=Scores.__doc__)
    continuation: Continuation = Field(Continuation(), description=Continuation.__doc__)
    analysis: Analysis = Field(Analysis(), description=Analysis.__doc__)
    scaling: Scaling = Field(Scaling(), description=Scaling.__doc__)
    questions: Questions = Field(Questions(), description=Questions.__doc__)
    causes: Causes = Field(Causes(), description=Causes.__doc__)
    diagnosis: Diagnosis = Field(Diagnosis(), description=Diagnosis.__doc__)
    external: External = Field(External(), description=External.__doc__)

    _distinct = field_validator("rungs")(check_distinct)

    @model_validator(mode="after")
    def _sizes_are_models(self) -> "Settings":
        for size in self.scaling.sizes:
            sized(self.lm, size)
        return self

    def scaled_lm(self, name: str) -> LM:
        """The settings of the models of a size, by its name under scaling.sizes. Raises ValueError for another name."""
        sizes = {size["name"]: size for size in self.scaling.sizes}
        if name not in sizes:
            raise ValueError(f"scaling.sizes: no size {name!r}; there are {', '.join(sizes)}")
        return sized(self.lm, sizes[name])

    @model_validator(mode="after")
    def _penalises_segments(self) -> "Settings":
        units, read = self.units, "segments-auto" in self.questions.arms
        if units.segment_penalty != Units().segment_penalty and units.segments != "auto" and not read:
            raise ValueError(
                f"units.segment_penalty: would not be read, since units.segments is {units.segments} and questions.arms "
                "lacks segments-auto; write units: {segments: auto}"
            )
        return self

    @model_validator(mode="after")
    def _belongs_together(self) -> "Settings":
        if self.corpus.name == "local" and not self.corpus.path:
            raise ValueError(
                "corpus.path: a local corpus needs its folder; add --config corpus='{path: FOLDER}' or set corpus.path"
            )
        if not self.corpus.is_synthesized and self.alignment.aligner == "truth":
            raise ValueError(
                "alignment.aligner: truth exists of synthesized speech only; write aligner: pocketsphinx (or mfa)"
            )
        if self.corpus.speech == "synthesized" and self.alignment.aligner == "textgrids":
            raise ValueError(
                "alignment.textgrids: TextGrids have the times of the recordings, which corpus.speech: synthesized "
                "does not use; write aligner: truth, and leave textgrids out"
            )
        if (self.alignment.aligner == "textgrids") != bool(self.alignment.textgrids):
            raise ValueError("alignment.textgrids: aligner: textgrids and a folder or archive of them belong together")
        shortest = self.continuation.prompt_seconds + self.continuation.seconds / 2
        if self.corpus.name != "world" and self.continuation.enabled and shortest > self.corpus.max_seconds:
            raise ValueError(
                f"continuation.prompt_seconds: no utterance of at most {self.corpus.max_seconds:g} s "
                f"(corpus.max_seconds) holds a prompt and half of continuation.seconds, {shortest:g} s; lower them"
            )
        return self
