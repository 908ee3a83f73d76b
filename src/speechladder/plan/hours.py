"""Hours of speech of a run: as an earlier run of the same corpus counted them, else as known of the corpus."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechladder.corpora.local import AUDIO
from speechladder.io.audio import AudioError, audio_info
from speechladder.io.errors import UserError
from speechladder.io.files import files_below, read_json
from speechladder.io.tables import UTTERANCES, read_table
from speechladder.plan.measured import Measured
from speechladder.settings import WORLD_HOURS, Settings
from speechladder.workflow.record import CORPUS

# Hours of named parts: LibriHeavy's paper (arXiv 2309.08105) and dataset card; LibriSpeech's paper (Panayotov et al.
# 2015). LibriHeavy's subsets are cumulative in the paper; its manifests are disjoint.
LIBRIHEAVY = {
    "small": 509.0,
    "medium": 5042.0 - 509.0,
    "large": 50794.0 - 5042.0,
    "dev": 22.3,
    "test_clean": 10.5,
    "test_other": 11.5,
}
LIBRISPEECH = {
    "train-clean-100": 100.6,
    "train-clean-360": 363.6,
    "train-other-500": 496.7,
    "dev-clean": 5.4,
    "dev-other": 5.3,
    "test-clean": 5.4,
    "test-other": 5.1,
}
KNOWN = {f"libriheavy_cuts_{name}": hours for name, hours in LIBRIHEAVY.items()} | LIBRISPEECH
UTTERANCE = {"libriheavy": 16.5, "librispeech": 12.3, "world": 9.0, "local": 12.0}  # seconds, mean
SELECTED = (*CORPUS, "alignment", "units")  # sections of the settings that decide which utterances are used


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
    corpus = settings.corpus
    for found in (_of_utterances(measured), _of_audit(measured), _of_manifest(measured)):
        if found:
            return found
    usual = UTTERANCE[corpus.name]
    if corpus.name == "world":
        train, other = _fractions(settings, corpus.hours or WORLD_HOURS)
        return Hours(train, other, usual, "derived", "corpus.hours")
    if corpus.name == "local":
        train, other = _fractions(settings, _audio_hours(Path(str(corpus.path))))
        return _capped(settings, Hours(train, other, usual, "measured", f"the audio below {corpus.path}"))
    field = "manifests" if corpus.name == "libriheavy" else "archives"
    train, other = _of_parts(getattr(corpus, field), field)
    if not other:
        train, other = _fractions(settings, train)
    source = f"corpus.{field}; LibriHeavy's and LibriSpeech's papers"
    return _capped(settings, Hours(train, other, usual, "published", source))


def _of_parts(names: Sequence[str], field: str) -> tuple[float, float]:
    """Return the published hours of named parts: (training, validation and test)."""
    if not names:
        raise UserError("corpus.archives: is empty; name the archives for a plan, or run the audit first (make audit)")
    train = other = 0.0
    for name in names:
        part = Path(name).name.partition(".")[0]
        if part not in KNOWN:
            raise UserError(
                f"corpus.{field}: the hours of {name} are not known before a run has read it; known: "
                f"{', '.join(KNOWN)}; or run the audit first (make audit)"
            )
        if re.search(r"dev|test", part):
            other += KNOWN[part]
        else:
            train += KNOWN[part]
    return train, other


def _fractions(settings: Settings, total: float) -> tuple[float, float]:
    other = total * (settings.corpus.valid_fraction + settings.corpus.test_fraction)
    return total - other, other


def _capped(settings: Settings, found: Hours) -> Hours:
    """Cut the train split down to corpus.hours."""
    cap = settings.corpus.hours
    if cap is None or cap >= found.train:
        return found
    return Hours(cap, found.other, found.utterance, found.basis, f"corpus.hours, and {found.source}")


def _of_utterances(measured: Measured) -> Hours | None:
    path = measured.file("tokens/utterances.parquet", *SELECTED)
    if not path:
        return None
    table = read_table(path, UTTERANCES, ["split", "seconds"])
    seconds = table["seconds"].to_numpy()
    if not len(seconds):
        return None
    train = float(seconds[table["split"].to_numpy(zero_copy_only=False) == "train"].sum())
    whole = float(seconds.sum())
    return Hours(train / 3600, (whole - train) / 3600, whole / len(seconds), "measured", str(path))


def _of_audit(measured: Measured) -> Hours | None:
    path = measured.file("corpus/audit.json", *CORPUS)
    return _of_splits(read_json(path)["splits"], path) if path else None


def _of_manifest(measured: Measured) -> Hours | None:
    path = measured.file("corpus/manifest/summary.json", *CORPUS)
    return _of_splits(read_json(path)["after"], path) if path else None


def _of_splits(splits: Mapping[str, Mapping[str, Any]], path: Path) -> Hours | None:
    count = sum(row["utterances"] for row in splits.values())
    whole = sum(row["hours"] for row in splits.values())
    if not count or not whole:
        return None
    train = splits.get("train", {}).get("hours", 0.0)
    return Hours(train, whole - train, 3600 * whole / count, "measured", str(path))


def _audio_hours(folder: Path) -> float:
    seconds = 0.0
    for path in files_below(folder):
        if path.suffix.lower() in AUDIO:
            with suppress(AudioError):  # the run lists it among the rejected utterances
                samples, rate = audio_info(path)
                seconds += samples / rate
    if not seconds:
        raise UserError(f"corpus.path: no audio ({', '.join(AUDIO)}) below {folder}")
    return seconds / 3600
