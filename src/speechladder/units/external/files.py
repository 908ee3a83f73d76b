"""The files that a tokenizer writes: which of them hold units, and which lie beside them."""

import codecs
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from speechladder.io.errors import UserError
from speechladder.io.files import files_below

JSON = (".json", ".json.gz")  # may hold units, and much else
PARQUET, LINES = (".parquet",), (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", *JSON)
STREAMS = (".units", ".units.gz", ".unit", ".unit.gz", ".km", ".km.gz")
TEXTS = (".txt", ".txt.gz", ".tsv", ".tsv.gz")  # may hold units, and much else
MANIFEST, DURATIONS = (".tsv", ".tsv.gz"), (".durations", ".durations.gz")
SUFFIXES = (*PARQUET, *LINES, *STREAMS, *TEXTS)
NAMES = ("id", "file_name", "path")  # fields with the name of the utterance or recording; the first one found is used
UNITS = ("units", "audio_repr")
# <Un3><Un49>, as slamkit writes units; 3 49, as fairseq does; 3,49 and [3, 49]
SYMBOLS = re.compile(r"\s*(?:<[A-Za-z_]*\d+>\s*)+")
NUMBERS = re.compile(r"\s*\[?\s*\d+(?:[\s,]+\d+)*\s*\]?\s*")
# units, if wrong ones: the rows say how
_MEANT = re.compile(r"[\"\[]*(?:-?\d+(?:\.0*)?[\s,]+)+-?\d+(?:\.0*)?[\"\]]*")
_EMPTY = re.compile(r"[|\t]\s*$")  # a line of an utterance without units


class Raw(NamedTuple):
    """A row as it stands in its file: units and durations are unchecked; `where` names the file and the row."""

    name: str
    units: Any
    durations: Any
    where: str


def files_of(path: str | Path, field: str = "units.path") -> list[Path]:
    """The files of units at `path`, a file or folder. Raise UserError if there are none.

    Of a folder, .json, .txt and .tsv count if their first line, of those that are not empty, has units, or, for .txt,
    if a manifest lies beside. Manifests, durations and dictionaries are no files of units.
    """
    path = Path(path)
    if path.is_dir():
        below = files_below(path)
        found = [file for file in below if _has_units(file)]
    else:
        below = []
        found = [path] if path.is_file() and path.name.endswith(SUFFIXES) else []
    if not found:
        if other := next((file for file in below if file.name.endswith(SUFFIXES)), None):
            raise UserError(
                f"{field}: {path}: no files of units; {other.name} has none in its first line, which is to be like "
                'NAME|3 49 7, or {"id": "NAME", "units": [3, 49, 7]} (docs/your-tokenizer.md)'
            )
        what = "no such file or folder" if not path.exists() else "no files" if path.is_dir() else "no file"
        raise UserError(
            f"{field}: {path}: {what} of units; their names end in {', '.join(SUFFIXES)} (docs/your-tokenizer.md)"
        )
    return found


def _has_units(path: Path) -> bool:
    if not path.name.endswith((*TEXTS, *JSON)):
        return path.name.endswith(SUFFIXES)
    if path.name.endswith(MANIFEST) and any((path.parent / f"{stem(path)}{end}").exists() for end in STREAMS):
        return False
    try:
        with open_text(path) as handle:
            lines = (line for _, line in numbered(handle))
            line = next((line for line in lines if not _EMPTY.search(line)), "")
    except (OSError, EOFError, ValueError):
        return False
    if path.name.endswith(JSON):
        return any(f'"{field}"' in line for field in UNITS)
    columns = split_line(line)
    if columns.name is None:
        return not path.name.endswith(MANIFEST) and manifest_of(path) is not None
    return is_header(columns) or is_numbers(columns.units) or bool(_MEANT.fullmatch(columns.units))


def stem(path: Path) -> str:
    """The name of a file without .gz and its suffix."""
    return Path(path.name.removesuffix(".gz")).stem


def _beside(path: Path, name: str, ends: Sequence[str]) -> Path | None:
    return next((found for end in ends if (found := path.parent / f"{name}{end}").is_file() and found != path), None)


def manifest_of(path: Path) -> tuple[Path, int, int] | None:
    """The fairseq manifest of a file without names, its part and the number of parts: x.tsv, 1 and 4 of x_1_4.km."""
    if path.name.endswith(MANIFEST):
        return None
    if own := _beside(path, stem(path), MANIFEST):
        return own, 0, 1
    part = re.fullmatch(r"(.+)_(\d+)_([1-9]\d*)", stem(path))
    whole = _beside(path, part[1], MANIFEST) if part and int(part[2]) < int(part[3]) else None
    return (whole, int(part[2]), int(part[3])) if part and whole else None


def durations_of(path: Path) -> Path | None:
    """The file with the durations of a text file of units: x.durations beside x.units."""
    return _beside(path, stem(path), DURATIONS) if path.name.endswith((*STREAMS, *TEXTS)) else None


def with_companions(files: Sequence[Path]) -> list[Path]:
    """The files, and the manifests and durations that are read with them."""
    texts = [path for path in files if path.name.endswith((*STREAMS, *TEXTS))]
    beside = [manifest[0] for path in texts if (manifest := manifest_of(path))]
    beside += [path for path in map(durations_of, texts) if path]
    return list(dict.fromkeys([*files, *beside]))


def open_text(path: Path) -> TextIO:
    """A text file in UTF-8, or in UTF-16 with a byte order mark, which is left out; gzip is unpacked.

    Lines end at LF, CR LF or CR.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opener: Any = gzip.open if packed else open
    with opener(path, "rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return io.TextIOWrapper(opener(path, "rb"), encoding="utf-16" if wide else "utf-8-sig")


class Columns(NamedTuple):
    """A line of text in parts; `name` is None if the line is units alone."""

    name: str | None
    units: str
    durations: str | None = None


def is_numbers(text: str) -> bool:
    """Whether a text is integers or symbols of units."""
    return bool(NUMBERS.fullmatch(text) or SYMBOLS.fullmatch(text))


def split_line(line: str) -> Columns:
    """The parts of NAME<TAB>UNITS, NAME<TAB>UNITS<TAB>DURATIONS, NAME|UNITS, NAME UNITS, or of UNITS.

    A name may have bars and blanks: the last bar separates.

    >>> split_line("a|good|3 49")
    Columns(name='a|good', units='3 49', durations=None)
    """
    line = line.strip(" \r\n")
    if "\t" in line:
        name, units, *more = line.split("\t")
        lasting = more[0] if more and re.fullmatch(r"[\d\s,.\[\]]+", more[0]) else None
        return Columns(name.strip(), units.strip(), lasting)
    if "|" in line:
        name, _, units = line.rpartition("|")
        return Columns(name.strip(), units.strip())
    if not line or is_numbers(line):
        return Columns(None, line)
    name, _, units = line.partition(" ")
    return Columns(name, units)


def is_header(columns: Columns) -> bool:
    """Whether a line names its columns."""
    return columns.name in NAMES and columns.units in UNITS


def numbered(handle: TextIO) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines that are not blank."""
    return ((number, line) for number, line in enumerate(handle, 1) if line.strip())
