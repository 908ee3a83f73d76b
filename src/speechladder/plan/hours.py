"""Hours of speech that a run will pass over: counted by the run itself as far as it got, else known of the corpus."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechladder.corpora.local import AUDIO
from speechladder.io.audio import AudioError, audio_info
from speechladder.io.errors import UserError
from speechladder.io.files import files_below, read_json
from speechladder.settings import WORLD_HOURS, Settings

# Hours of named parts: LibriHeavy's paper (arXiv 2309.08105; its subsets are cumulative, its manifests disjoint) and
# dataset card; LibriSpeech's paper (Panayotov et al. 2015).
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


@dataclass(frozen=True)
class Hours:
    """Hours of speech by split, what they rest on (rates.BASES) and where they are from."""

    train: float
    other: float
    utterance: float  # seconds, mean
    basis: str
    source: str

    @property
    def total(self) -> float:
        """All splits."""
        return self.train + self.other


def hours(settings: Settings, results: Path) -> Hours:
    """Hours of speech: of the run's own results as far as it got, else of what is known of the corpus.

    Raises UserError naming the part whose hours nobody knows.
    """
    corpus = settings.corpus
    for found in (_of_utterances(results), _of_audit(results), _of_manifest(results)):
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
    names = getattr(corpus, field)
    train = other = 0.0
    for name in names:
        part = Path(name).name.partition(".")[0]
        if part not in KNOWN:
            raise UserError(
                f"corpus.{field}: the hours of {name} are not known before the run has read it; known: "
                f"{', '.join(KNOWN)}; or run the audit first (make audit)"
            )
        if re.search(r"dev|test", part):
            other += KNOWN[part]
        else:
            train += KNOWN[part]
    if not names:
        raise UserError("corpus.archives: name them for a plan, or run the audit first (make audit)")
    if not other:
        train, other = _fractions(settings, train)
    return _capped(
        settings, Hours(train, other, usual, "published", f"corpus.{field}; LibriHeavy's and LibriSpeech's papers")
    )


def _fractions(settings: Settings, total: float) -> tuple[float, float]:
    other = total * (settings.corpus.valid_fraction + settings.corpus.test_fraction)
    return total - other, other


def _capped(settings: Settings, found: Hours) -> Hours:
    """corpus.hours cuts the train split down."""
    cap = settings.corpus.hours
    if cap is None or cap >= found.train:
        return found
    return Hours(cap, found.other, found.utterance, found.basis, f"corpus.hours, and {found.source}")


def _of_utterances(results: Path) -> Hours | None:
    path = results / "tokens" / "utterances.parquet"
    if not path.is_file():
        return None
    from speechladder.io.tables import UTTERANCES, read_table

    table = read_table(path, UTTERANCES, ["split", "seconds"])
    seconds = table["seconds"].to_numpy()
    if not len(seconds):
        return None
    train = float(seconds[table["split"].to_numpy(zero_copy_only=False) == "train"].sum())
    whole = float(seconds.sum())
    return Hours(train / 3600, (whole - train) / 3600, whole / len(seconds), "measured", str(path))


def _of_audit(results: Path) -> Hours | None:
    path = results / "corpus" / "audit.json"
    return _of_splits(read_json(path)["splits"], path) if path.is_file() else None


def _of_manifest(results: Path) -> Hours | None:
    path = results / "corpus" / "manifest" / "summary.json"
    return _of_splits(read_json(path)["after"], path) if path.is_file() else None


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
            with suppress(AudioError):  # the run will list it among the rejected
                samples, rate = audio_info(path)
                seconds += samples / rate
    if not seconds:
        raise UserError(f"corpus.path: no audio ({', '.join(AUDIO)}) below {folder}")
    return seconds / 3600
