"""Manifests of cuts as LibriHeavy publishes them (lhotse MonoCuts, JSON lines): reading them, writing their shards."""

import gzip
import json
import math
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import from_json

from speechladder.io.errors import UserError
from speechladder.io.progress import Meter
from speechladder.io.text import encoding_problem

_BUDGET = 128 << 20  # bytes of lines that wait in memory for their shards' files
_COMPRESSION = 1  # three times as fast as level 6, for an eighth more bytes
_ONE = ("MonoCut", "Cut")  # types of a cut of one window; the second is the name in early versions of lhotse
PART = 0.05  # seconds that two statements of a length may differ by, less than any word
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
    """A cut as a manifest describes it, before its audio is looked for.

    `source` is the recording's file as the manifest names it. `start` and `duration` are the window in seconds.
    `sampling_rate` (Hz) and `num_samples` are those of the recording. `texts` are the book's text and the ASR's, or one
    text alone.
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
        """The record as a line of a manifest shard."""
        return (json.dumps(self._asdict(), ensure_ascii=False) + "\n").encode()

    def left_out(self, reason: str, source: str | Path) -> dict[str, Any]:
        """A row of a rejected list, with the fields by which the audit counts."""
        row = {"id": self.id, "reason": reason, "source": str(source), "split": self.split, "speaker": self.speaker}
        return row | {"recording": self.recording, "seconds": self.duration}


class BadRecordError(Exception):
    """A line that is no usable cut: `id` (empty if unknown) and `reason`."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(reason)
        self.id, self.reason = str(name) if isinstance(name, str | int) else "", reason


class BrokenManifestError(Exception):
    """A manifest that cannot be read beyond some line."""


def split_of(path: Path) -> str:
    """The split that a manifest's name states: dev is valid, test_clean is test; small, medium and large are train."""
    words = set(re.split(r"[^a-z]+", path.name.lower()))
    if "train" not in words:
        if words & {"dev", "valid", "validation"}:
            return "valid"
        if "test" in words:
            return "test"
    return "train"


def read_lines(path: Path, meter: Meter | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line) of a .jsonl or .jsonl.gz; `meter` counts bytes of the file.

    If the file is truncated or damaged, raises BrokenManifestError after the lines that can be read. Raises UserError
    if there is no such file.
    """
    number, counted = 0, 0
    try:
        with path.open("rb") as raw:
            for number, line in enumerate(gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw, 1):
                if meter and number % 1000 == 0:
                    meter.advance(raw.tell() - counted)
                    counted = raw.tell()
                yield number, line
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise BrokenManifestError(f"broken manifest: nothing can be read after line {number} ({error})") from None
    finally:
        if meter and path.is_file():
            meter.advance(path.stat().st_size - counted)


def parse_record(line: bytes, split: str) -> Record:
    """The record in a manifest's line; raises BadRecordError with the reason if the line is no usable cut."""
    try:
        row = from_json(line.removeprefix(BOM_UTF8))
    except ValueError as error:
        raise BadRecordError("", encoding_problem(line) or f"not JSON: {error}") from None
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
            [text or "" for text in texts],
            split,
        )
        fits = 0 <= record.start < math.inf and 0 < record.duration < math.inf
        fits = fits and record.sampling_rate > 0 and record.num_samples > 0 and supervision["speaker"] not in (None, "")
        fits = fits and all(isinstance(name, str) and name for name in record[:3])
        fits = fits and isinstance(texts, list) and texts and all(isinstance(text, str) for text in record.texts)
        problem = _other_audio(row, supervision, recording, source) if fits else _reason(row)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        problem = _reason(row)
    if problem:
        raise BadRecordError(row.get("id") if isinstance(row, dict) else "", problem) from None
    return record


def _other_audio(row: dict, supervision: dict, recording: dict, source: dict) -> str | None:
    """Why a cut's audio is not one window of one file with one channel, or its text not that of the window.

    Such cuts are the work of lhotse's tools, which change how the audio is to be read. Raises TypeError or ValueError
    if a number is none.
    """
    if row.get("type", "Cut") not in _ONE:
        return _kind_problem(row)
    if len(row["supervisions"]) > 1:
        return f"several supervisions: {len(row['supervisions'])}; an utterance has one"
    if source.get("type", "file") != "file":
        return f"source is no file: {source['type']}"
    if changed := recording.get("transforms") or row.get("transforms"):
        listed = changed if isinstance(changed, list) else [changed]
        names = ", ".join(str(one.get("name", "unnamed") if isinstance(one, dict) else one) for one in listed)
        return f"recording with transforms: {names}; the file is read as it is; let lhotse save the audio first"
    if problem := _channel_problem(row, supervision, recording, source):
        return problem
    duration = float(row["duration"])
    start, length = float(supervision.get("start", 0)), float(supervision.get("duration", duration))
    if abs(start) > PART or abs(start + length - duration) > PART:
        part = f"its text is said from {start:g} to {start + length:g} s of a cut of {duration:g} s"
        return f"supervision of a part: {part}; let lhotse trim the cut to its supervision"
    stated, counted = recording.get("duration"), recording["num_samples"] / recording["sampling_rate"]
    if stated is not None and abs(float(stated) - counted) > PART:
        return f"two lengths: recording.duration is {stated:g} s, its samples and rate make {counted:g} s"
    return None


def _kind_problem(row: dict) -> str:
    tracks = row.get("tracks")
    parts = f" of {len(tracks)} tracks" if isinstance(tracks, list) else ""
    return f"not a MonoCut: a {row.get('type')}{parts}; let lhotse save its audio, and write MonoCuts of the files"


def _channel_problem(row: dict, supervision: dict, recording: dict, source: dict) -> str | None:
    """Why a cut is not of the only channel of its recording; the channels of a file are averaged when it is read."""
    there = recording.get("channel_ids") or source.get("channels") or [0]
    wanted, count = row.get("channel", there[0]), max(len(there), len(source.get("channels") or [0]))
    if count > 1:
        return f"another channel: {wanted} of {count}; a recording must have one: save the channel as a file of its own"
    said = supervision.get("channel", wanted)
    if wanted != there[0] or (said if isinstance(said, list) else [said]) != [wanted]:
        return f"another channel: {wanted}, text of channel {said}; the recording has channel {there[0]} alone"
    return None


def _reason(row: Any) -> str:
    """Why a row is no record. This is slow, so it is asked only of bad rows."""
    if isinstance(row, dict) and (kind := str(row.get("type"))).endswith("Cut") and kind not in _ONE:
        return _kind_problem(row)
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
        elif value is None or value == "" or not isinstance(value, str | int):
            return f"field unusable: {name} is {value!r}"
        elif path[-1] != "speaker" and not isinstance(value, str):
            return f"field unusable: {name} is {value!r}, a number; write it as a text, in quotes"
    if len(row["recording"]["sources"]) > 1:
        return f"several sources: {len(row['recording']['sources'])}; a recording must be one file"
    for name, value in (("recording", row["recording"]), ("supervisions.0", row["supervisions"][0])):
        for field in {"start", "duration"} & set(value):
            if not isinstance(value[field], int | float):
                return f"field unusable: {name}.{field} is {value[field]!r}"
    supervision = row["supervisions"][0]
    texts = (supervision.get("custom") or {}).get("texts", supervision.get("text"))
    if not texts:
        return "field missing: supervisions.0.custom.texts"
    return f"field unusable: the text is {str(texts)[:60]!r}, no text and no list of texts"


class ShardWriter:
    """Writes {shard}.jsonl.gz of all shards at the same time.

    Lines wait in memory until they are `budget` bytes. Then a gzip member is appended to each file, so that ten
    thousand files need not be open at once. The same lines give the same bytes.
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
        """Write the lines that wait in memory."""
        for path, waiting in zip(self._paths, self._waiting):
            if waiting:
                with path.open("ab") as handle:
                    handle.write(gzip.compress(waiting, _COMPRESSION, mtime=0))
                waiting.clear()
        self._size = 0


def read_records(path: str | Path, meter: Meter | None = None) -> Iterator[Record]:
    """Stream the records of a manifest shard that `ShardWriter` wrote; raises UserError if it is not one."""
    path, number = Path(path), 0
    try:
        for number, line in read_lines(path, meter):  # noqa: B007 - the error needs the number
            yield Record(**from_json(line))
    except (BrokenManifestError, TypeError, ValueError) as error:
        raise UserError(f"{path}, line {number}: not a manifest shard ({error}); delete it and run again") from None
