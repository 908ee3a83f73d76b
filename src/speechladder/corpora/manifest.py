"""Manifests of cuts as LibriHeavy has them (lhotse MonoCuts, JSON lines), read one at a time and dealt to shards."""

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from speechladder.io.errors import UserError
from speechladder.io.progress import Meter

_BUDGET = 128 << 20  # bytes of lines that wait for their shards' files
_COMPRESSION = 1  # three times as fast as 6, for an eighth more bytes
_FIELDS = (
    ("id",),
    ("start",),
    ("duration",),
    ("supervisions", 0, "speaker"),
    ("recording", "id"),
    ("recording", "sources", 0, "source"),
    ("recording", "sampling_rate"),
    ("recording", "num_samples"),
)


class Record(NamedTuple):
    """A cut as a manifest describes it, before anything is known of the disk.

    `source` is the recording's file as the manifest names it, `start` and `duration` the window in seconds,
    `sampling_rate` (Hz) and `num_samples` those of the recording; `texts` are the book's and the ASR's (or one alone).
    """

    id: str
    recording: str
    source: str
    start: float
    duration: float
    speaker: str
    sampling_rate: int
    num_samples: int
    texts: list[str]
    split: str

    def line(self) -> bytes:
        """As a line of a manifest shard."""
        return (json.dumps(self._asdict(), ensure_ascii=False) + "\n").encode()

    def left_out(self, reason: str, source: str | Path) -> dict[str, Any]:
        """A row of a rejected list, with what the audit counts by."""
        row = {"id": self.id, "reason": reason, "source": str(source), "split": self.split, "speaker": self.speaker}
        return row | {"recording": self.recording, "seconds": self.duration}


class BadRecordError(Exception):
    """A line that is no usable cut: `id` (empty where unknown), `reason`."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(reason)
        self.id, self.reason = name if isinstance(name, str) else "", reason


class BrokenManifestError(Exception):
    """A manifest that cannot be read on from some line."""


def split_of(path: Path) -> str:
    """The split that a manifest's name says: dev is valid, test_clean is test, and small, medium, large are train."""
    words = set(re.split(r"[^a-z]+", path.name.lower()))
    if "train" not in words:
        if words & {"dev", "valid", "validation"}:
            return "valid"
        if "test" in words:
            return "test"
    return "train"


def lines(path: Path, meter: Meter | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line) of a .jsonl or .jsonl.gz; `meter` counts bytes of the file.

    Raises BrokenManifestError, after all that can be read, where the file breaks off or is damaged; UserError where
    there is none.
    """
    number, told = 0, 0
    try:
        with path.open("rb") as raw:
            for number, line in enumerate(gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw, 1):
                if meter and number % 1000 == 0:
                    meter.advance(raw.tell() - told)
                    told = raw.tell()
                yield number, line
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenManifestError(f"broken manifest: nothing can be read after line {number} ({error})") from None
    finally:
        if meter and path.is_file():
            meter.advance(path.stat().st_size - told)


def parse(line: bytes, split: str) -> Record:
    """The record of a manifest's line; raises BadRecordError."""
    try:
        row = from_json(line)
    except ValueError as error:
        raise BadRecordError("", f"not JSON: {error}") from None
    try:
        supervision, recording = row["supervisions"][0], row["recording"]
        (source,) = recording["sources"]
        custom = supervision.get("custom") or {}
        texts = custom["texts"] if "texts" in custom else [supervision["text"]]
        rate, samples = recording["sampling_rate"], recording["num_samples"]
        record = Record(
            row["id"],
            recording["id"],
            source["source"],
            float(row["start"]),
            float(row["duration"]),
            str(supervision["speaker"]),
            int(rate),
            int(samples),
            [str(text or "") for text in texts],
            split,
        )
        fits = record.start >= 0 and 0 < record.duration < math.inf and record.start < math.inf
        fits = fits and record.sampling_rate > 0 and record.num_samples > 0 and record.texts
        fits = fits and isinstance(record.id, str) and isinstance(record.recording, str)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        fits = False
    if not fits:
        raise BadRecordError(row.get("id") if isinstance(row, dict) else "", _mistake(row)) from None
    if len(row["supervisions"]) > 1:
        raise BadRecordError(record.id, f"several supervisions: {len(row['supervisions'])}, where an utterance has one")
    if source.get("type", "file") != "file":
        raise BadRecordError(record.id, f"source is no file: {source['type']}")
    return record


def _mistake(row: Any) -> str:
    """Why a row is no record: slow, and for bad ones only."""
    for path in _FIELDS:
        value, name = row, ".".join(map(str, path))
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return f"field missing: {name}"
        if path[-1] in ("start", "duration", "sampling_rate", "num_samples"):
            least = 0 if path[-1] == "start" else 1e-9
            if not isinstance(value, int | float) or not least <= value < math.inf:
                return f"field unusable: {name} is {value!r}"
    if len(row["recording"]["sources"]) > 1:
        return f"several sources: {len(row['recording']['sources'])}, where a recording is one file"
    return "field missing: supervisions.0.custom.texts"


class ShardWriter:
    """{shard}.jsonl.gz of all shards, written side by side.

    Lines wait in memory until they are `budget` bytes, then each file grows by a gzip member, so that ten thousand
    files need not be open. The same lines give the same bytes.
    """

    def __init__(self, folder: Path, shards: int, budget: int = _BUDGET) -> None:
        self._paths = [folder / f"{shard}.jsonl.gz" for shard in range(shards)]
        self._waiting = [bytearray() for _ in range(shards)]
        self._budget, self._size = budget, 0
        for path in self._paths:
            path.touch()

    def write(self, shard: int, line: bytes) -> None:
        """Add a line to a shard."""
        self._waiting[shard] += line
        self._size += len(line)
        if self._size >= self._budget:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        for path, waiting in zip(self._paths, self._waiting):
            if waiting:
                with path.open("ab") as handle:
                    handle.write(gzip.compress(waiting, _COMPRESSION, mtime=0))
                waiting.clear()
        self._size = 0


def read_records(path: str | Path, meter: Meter | None = None) -> Iterator[Record]:
    """Stream a manifest shard that `ShardWriter` wrote; raises UserError where it is none."""
    path, number = Path(path), 0
    try:
        for number, line in lines(path, meter):  # noqa: B007 - the number serves the error
            yield Record(**from_json(line))
    except (BrokenManifestError, TypeError, ValueError) as error:
        raise UserError(f"{path}, line {number}: no manifest shard ({error}); delete it and run again") from None
