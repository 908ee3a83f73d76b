"""Hours of speech of a run and of its items: as an earlier run with the same settings counted them, else as known."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.benchmarks.tasks.task import Task
from speechladder.corpora.folders import AUDIO
from speechladder.io.audio import AudioError, audio_info
from speechladder.io.errors import UserError
from speechladder.io.files import files_below, read_json
from speechladder.io.tables import ITEMS, UTTERANCES, read_table
from speechladder.plan.rates import Figure
from speechladder.settings import WORLD_HOURS, Settings
from speechladder.workflow.record import CORPUS, Record, differences

# Hours of named parts: LibriHeavy's paper (arXiv 2309.08105) and dataset card; LibriSpeech's paper (Panayotov et al.
# 2015). LibriHeavy's subsets are cumulative in the paper; its manifests are disjoint.
KNOWN = {
    "libriheavy_cuts_small": 509.0, "libriheavy_cuts_medium": 5042.0 - 509.0, "libriheavy_cuts_large": 50794.0 - 5042.0,
    "libriheavy_cuts_dev": 22.3, "libriheavy_cuts_test_clean": 10.5, "libriheavy_cuts_test_other": 11.5,
    "train-clean-100": 100.6, "train-clean-360": 363.6, "train-other-500": 496.7,
    "dev-clean": 5.4, "dev-other": 5.3, "test-clean": 5.4, "test-other": 5.1,
}  # fmt: skip
UTTERANCE = {"libriheavy": 16.5, "librispeech": 12.3, "world": 9.0, "local": 12.0}  # seconds, mean
SPOKEN = 0.72  # hours of synthesized speech for an hour of LibriSpeech's recordings (docs/log.md): fewer pauses
# Sections of the settings that decide which utterances are used, and the tokens of a rung without units.
SELECTED, TOKENS = (*CORPUS, "alignment", "units"), (*CORPUS, "alignment", "tokens")
FROM_FILES = 1000  # pairs of pairs files, assumed
SHOWN = 2  # differences that a reason lists


@dataclass(frozen=True)
class Measured:
    """The results folder of a planned run; `record` is what the last run there recorded of its settings, if anything.

    `remade` lists the (rule, rung) of every job that Snakemake would run: what they make now is out of date, whatever
    the record says. `reasons` collects why files were not used, for the page.
    """

    results: Path
    settings: Settings
    record: Record | None
    remade: frozenset[tuple[str, str]] = frozenset()
    reasons: list[str] = field(default_factory=list)

    def file(self, name: str, rule: str, *sections: str, rung: str = "") -> Path | None:
        """Return the path of what `rule` makes, or None if it is missing or is of other settings in `sections`."""
        path, reason = self.results / name, "the run there left no record of its settings"
        if not path.is_file():
            return None
        if (rule, rung) in self.remade:
            reason = f"{rule} would make {name} again"
        elif self.record is not None:
            found = differences(self.record, self.settings, sections)
            if not found:
                return path
            more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            reason = "the run there had other settings (" + "; ".join(found[:SHOWN]) + more + ")"
        if reason not in self.reasons:
            self.reasons.append(reason)
        return None


@dataclass(frozen=True)
class Hours:
    """Hours of speech by split, on what they rest (rates.BASES) and where they are from."""

    train: float
    other: float
    utterance: float  # seconds, mean
    basis: str
    source: str

    @property
    def total(self) -> float:
        """Hours of all splits."""
        return self.train + self.other


def find_hours(settings: Settings, measured: Measured) -> Hours:
    """Return the hours that an earlier run of the same corpus counted, else those that are known of the corpus.

    Raise UserError naming the part of the corpus whose hours are not known.
    """
    found = _counted(measured)
    if found:
        return found
    corpus, basis, other = settings.corpus, "derived", 0.0
    if corpus.name == "world":
        train, source = corpus.hours or WORLD_HOURS, "corpus.hours"
    elif corpus.name == "local":
        train, basis, source = _audio_hours(Path(corpus.path)), "measured", f"the audio below {corpus.path}"
    else:
        part = "manifests" if corpus.name == "libriheavy" else "archives"
        train, other = _of_parts(getattr(corpus, part), part)
        basis, source = "published", f"corpus.{part}; LibriHeavy's and LibriSpeech's papers"
    if not other:
        other = train * (corpus.valid_fraction + corpus.test_fraction)
        train -= other
    if corpus.hours is not None and corpus.hours < train and corpus.name != "world":
        train, source = corpus.hours, f"corpus.hours, and {source}"
    return _as_spoken(Hours(train, other, UTTERANCE[corpus.name], basis, source), settings)


def _as_spoken(hours: Hours, settings: Settings) -> Hours:
    """Return hours of recordings as those of the speech in their place, if the synthesizer speaks them again."""
    if settings.corpus.speech == "recorded":
        return hours
    source = f"{hours.source}, spoken again in {SPOKEN} of the time"
    return Hours(hours.train * SPOKEN, hours.other * SPOKEN, hours.utterance * SPOKEN, "assumed", source)


def _of_parts(names: Sequence[str], part: str) -> tuple[float, float]:
    """Return the published hours of named parts: (training, validation and test)."""
    hint = "or run the audit first (make audit)"
    if not names:
        raise UserError(f"corpus.archives: is empty; name the archives for a plan, {hint}")
    hours = {True: 0.0, False: 0.0}
    for name in names:
        stem = Path(name).name.partition(".")[0]
        if stem not in KNOWN:
            raise UserError(
                f"corpus.{part}: the hours of {name} are not known before a run has read it; known: "
                f"{', '.join(KNOWN)}; {hint}"
            )
        hours[not re.search(r"dev|test", stem)] += KNOWN[stem]
    return hours[True], hours[False]


def _audio_hours(folder: Path) -> float:
    seconds = 0.0
    for path in files_below(folder) if folder.is_dir() else ():
        if path.suffix.lower() in AUDIO:
            with suppress(AudioError):  # the run lists it among the rejected utterances
                info = audio_info(path)
                seconds += info.samples / info.rate
    if not seconds:
        raise UserError(f"corpus.path: no audio ({', '.join(AUDIO)}) below {folder}")
    return seconds / 3600


def _counted(measured: Measured) -> Hours | None:
    """Return the hours that the tokens, the audit or the manifest of an earlier run list, whichever is the latest."""
    path = measured.file("tokens/utterances.parquet", "select_utterances", *SELECTED)
    if path:
        table = read_table(path, UTTERANCES, ["split", "seconds"])
        seconds, train = (table[name].to_numpy(zero_copy_only=False) for name in ("seconds", "split"))
        if len(seconds):
            return _hours(
                path, len(seconds), float(seconds.sum()) / 3600, float(seconds[train == "train"].sum()) / 3600
            )
    for name, rule, key in (
        ("corpus/audit.json", "audit_corpus", "splits"),
        ("corpus/manifest/summary.json", "split_manifest", "after"),
    ):
        path = measured.file(name, rule, *CORPUS)
        splits = read_json(path)[key] if path else {}
        count, whole = (sum(row[column] for row in splits.values()) for column in ("utterances", "hours"))
        if count and whole:
            found = _hours(path, count, whole, splits.get("train", {}).get("hours", 0.0))
            return found if rule == "audit_corpus" else _as_spoken(found, measured.settings)
    return None


def _hours(path: Path, count: int, whole: float, train: float) -> Hours:
    return Hours(train, whole - train, 3600 * whole / count, "measured", str(path))


class Items(NamedTuple):
    """Items of a task or of all: their number, their hours of speech, and the hours that a synthesizer speaks."""

    count: float
    hours: Figure
    synthetic: Figure


def all_items(settings: Settings, measured: Measured) -> Items:
    """Return the items of all tasks together."""
    found = [task_items(settings, measured, task) for task in TASKS.values()]
    hours, synthetic = (sum((getattr(items, name) for items in found), Figure()) for name in ("hours", "synthetic"))
    return Items(sum(items.count for items in found), hours, synthetic)


def task_items(settings: Settings, measured: Measured, task: Task) -> Items:
    """Return the items of a task: as an earlier run made them, else as published or set."""
    bench = settings.benchmarks
    official = task.official if task.archive(bench) else None
    path = measured.file(f"benchmarks/{task.name}/items.parquet", "make_items", *CORPUS, "benchmarks")
    if path:
        lengths = read_table(path, ITEMS, ["seconds"])["seconds"].to_numpy()
        count, hours = len(lengths), Figure(float(lengths.sum()) / 3600, "measured")
    elif official:
        splits = official.splits(bench)
        count, per_pair = sum(official.recordings[split] for split in splits), 2 * official.voices
        count = min(count, bench.max_pairs * per_pair * len(splits)) if bench.max_pairs else count
        hours = Figure(count * official.seconds / 3600, "assumed")
    else:
        pairs = (bench.max_pairs or FROM_FILES) if task.pairs_files(bench) else getattr(bench, task.count_field)
        count = 2 * pairs * task.voices(bench)
        hours = Figure(count * task.seconds / 3600, "assumed")
    return Items(count, hours, Figure() if official else hours)
