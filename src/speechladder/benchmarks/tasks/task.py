"""What a benchmark task is.

This module and the tasks themselves import little: Snakemake reads them before it plans a run, and the table is printed
without numpy. What generates or reads items is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechladder.io.rejects import Rejects
from speechladder.settings import Benchmarks

if TYPE_CHECKING:
    from speechladder.benchmarks.pairs import Pair
    from speechladder.benchmarks.spoken import Stimuli

BOUND = 0.04  # how far from one half the share of the pairs that a short cut solves may lie

Generate = Callable[[Benchmarks, int, list[Path]], "list[Pair]"]
Shortcuts = Callable[[list[Path], "list[dict[str, Any]]"], "dict[str, float]"]
ReadOfficial = Callable[[Benchmarks, "Path | None", Rejects], "Stimuli"]


@dataclass(frozen=True)
class OfficialBenchmark:
    """Published recordings of a task. They replace generated items when the settings name an archive.

    Attributes:
        title: the benchmark's own name, as about.json has it
        field: the field of settings.Benchmarks that names the archive
        read: (settings, transcripts or None, rejects) -> its pairs; raises UserError if the archive is of another form
        recordings: split -> number of recordings in it; "" is the only split of a benchmark without splits
        voices: how many voices speak each pair
        seconds: the length of a recording that the plan assumes
        splits_field: the field of settings.Benchmarks that lists the splits, or None
        texts_field: the field of settings.Benchmarks that names the texts, or None if the archive holds them
        part: the folder of the archive that holds this task, or ""
    """

    title: str
    field: str
    read: ReadOfficial
    recordings: Mapping[str, int]
    voices: int
    seconds: float
    splits_field: str | None = None
    texts_field: str | None = None
    part: str = ""

    def splits(self, settings: Benchmarks) -> list[str]:
        """The splits that the settings ask for; [""] for a benchmark without splits."""
        return list(getattr(settings, self.splits_field)) if self.splits_field else [""]


@dataclass(frozen=True)
class Task:
    """A benchmark of pairs: a model should find the good half of each pair likelier than the bad half.

    Attributes:
        name: its name in file names, columns and options. settings.Benchmarks has a field of this name, the user's own
            pairs files, and a field `{name}_pairs`, the number of pairs to generate.
        title: its name in figures
        short_title: its name in tables
        generate: (settings, seed, cuts) -> pairs; the cuts are empty unless `corpus_words` is set
        seconds: the length of a generated item that the plan assumes
        voices_field: the field of settings.Benchmarks that says how many voices speak each pair
        corpus_words: whether the words of a natural corpus's training text are the words of the task
        shortcuts: (cuts, rows of items.parquet without audio) -> share of the generated pairs that each short cut
            solves, which knows nothing of what the task tests; None if the task has no such list
        official: the published recordings of the task, if there are any
        paper: rung -> accuracy in percent that the paper reports (arXiv 2412.17048, main table)
        paper_factors: factor -> relative change of the accuracy in percent that the paper reports
    """

    name: str
    title: str
    short_title: str
    generate: Generate
    seconds: float
    voices_field: str = "voices"
    corpus_words: bool = False
    shortcuts: Shortcuts | None = None
    official: OfficialBenchmark | None = None
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_factors: Mapping[str, float] = field(default_factory=dict)

    @property
    def count_field(self) -> str:
        """The field of settings.Benchmarks that says how many pairs are generated."""
        return f"{self.name}_pairs"

    def pairs_files(self, settings: Benchmarks) -> list[str]:
        """The user's own pairs files."""
        return getattr(settings, self.name)

    def archive(self, settings: Benchmarks) -> str | None:
        """The archive of the official benchmark, if the run reads one."""
        return getattr(settings, self.official.field) if self.official else None

    def texts_field(self, settings: Benchmarks) -> str | None:
        """The field that names the texts, if the run reads official recordings that come without texts."""
        return self.official.texts_field if self.archive(settings) else None

    def voices(self, settings: Benchmarks) -> int:
        """The number of voices that speak each pair."""
        return getattr(settings, self.voices_field)

    def options(self, settings: Benchmarks) -> set[str]:
        """The fields of settings.Benchmarks that the items depend on, besides the files that they are read from."""
        if self.archive(settings):
            return {"max_pairs", *filter(None, [self.official.splits_field])}
        return {self.voices_field, "max_pairs" if self.pairs_files(settings) else self.count_field}
