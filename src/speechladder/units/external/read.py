"""Read a tokenizer's files row by row: Parquet or JSON lines, with any of the usual field names.

A row without usable units is still a row: it has a `problem`, so that its utterance is rejected with that reason. A
broken line, or a file without the fields, is a UserError that names the file and the line.
"""

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.io.errors import UserError
from speechladder.io.files import files_below

PARQUET, LINES = (".parquet",), (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json")
NAMES = ("id", "file_name", "path")  # fields with the name of the utterance or recording; the first one found is used
UNITS = ("units", "audio_repr")
DURATIONS = ("durations", "duration")
LARGEST = 2**16 - 1
ROWS = 1024  # rows of a Parquet file read at once; a row may be an hour of speech

_SYMBOLS = re.compile(r"(?:<[A-Za-z_]*\d+>)+")  # as slamkit writes units: <Un3><Un49>
_NUMBERS = re.compile(r"\s*\d+(?:\s+\d+)*\s*")  # as fairseq writes them: 3 49
EMPTY = np.zeros(0, np.uint16)


class Row(NamedTuple):
    """The units of one utterance, item or recording.

    `units` and `durations` are (n,) uint16; `durations` is None if the row has none. `problem` says why they are not
    usable; it is "" if they are. `where` names the file and the row.
    """

    name: str
    units: np.ndarray
    durations: np.ndarray | None
    problem: str
    where: str


def files_of(path: str | Path, field: str = "units.path") -> list[Path]:
    """The files of units at `path`, a file or folder. Raise UserError if there are none."""
    path = Path(path)
    if path.is_dir():
        found = [file for file in files_below(path) if file.name.endswith((*PARQUET, *LINES)) and file.name[0] != "."]
    else:
        found = [path] if path.is_file() and path.name.endswith((*PARQUET, *LINES)) else []
    if not found:
        what = "no such file or folder" if not path.exists() else "no files" if path.is_dir() else "no file"
        raise UserError(f"{field}: {path}: {what} of units; their names end in {', '.join((*PARQUET, *LINES))}")
    return found


def read_rows(files: Sequence[Path]) -> Iterator[Row]:
    """Read every row, one file after the other, at most a thousand at once.

    Raise UserError naming the file, the row and the field if a row cannot be read.
    """
    for path in files:
        yield from _of_parquet(path) if path.name.endswith(PARQUET) else _of_lines(path)


@cache
def has_durations(path: str, field: str = "units.path") -> bool:
    """Whether the first row has durations. Raise UserError, before any job runs, if the file has no units."""
    files = files_of(path, field)
    first = next(read_rows(files), None)
    if first is None:
        raise UserError(f"{field}: {files[0]}: is empty; write a row for each utterance")
    return first.durations is not None


def _of_lines(path: Path) -> Iterator[Row]:
    opener, number = (gzip.open if path.suffix == ".gz" else open), 0
    try:
        with opener(path, "rt", encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield _of_object(json.loads(line), f"{path}, line {number}")
    except (ValueError, EOFError, OSError) as error:
        line = number + (not isinstance(error, json.JSONDecodeError))  # a line that cannot be read is not counted yet
        raise UserError(
            f"{path}, line {line}: not readable as JSON lines ({error}); write one object per line"
        ) from None


def _of_object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{where}: no object; write lines like {{'id': ..., 'units': [3, 49, 7]}}")
    name = next((row[field] for field in NAMES if field in row), None)
    given = next((field for field in UNITS if field in row), None)
    if not isinstance(name, str) or given is None:
        lacks = f"none of {', '.join(UNITS)}" if isinstance(name, str) else f"none of {', '.join(NAMES)} that is a text"
        raise UserError(f"{where}: {lacks}; there are {', '.join(row)}")
    # a single number is the duration of the audio in a manifest, in seconds
    durations = next((row[field] for field in DURATIONS if isinstance(row.get(field), list)), None)
    return _row(name, row[given], durations, where)


def _row(name: str, units: Any, durations: Any, where: str) -> Row:
    found, problem = as_integers(units, "unit", 0)
    if durations is None or problem:
        return Row(name, found, None if durations is None else EMPTY, problem, where)
    lasting, problem = as_integers(durations, "duration", 1)
    if not problem and len(lasting) != len(found):
        problem = f"{len(found)} units, but {len(lasting)} durations"
    return Row(name, found, lasting, problem, where)


def as_integers(given: Any, what: str, least: int) -> tuple[np.ndarray, str]:
    """(n,) uint16 and "", or an empty array and what is wrong. Lists of integers and texts of them are accepted.

    >>> as_integers("<Un3><Un49>", "unit", 0)[0].tolist()
    [3, 49]
    """
    if isinstance(given, str):
        if not (_SYMBOLS.fullmatch(given) or _NUMBERS.fullmatch(given)):
            return EMPTY, f"{what}s {given[:40]!r} are neither <Un3><Un49> nor 3 49"
        given = list(map(int, re.findall(r"\d+", given)))
    if not isinstance(given, list | np.ndarray):
        return EMPTY, f"{what}s are {type(given).__name__}, not a list of integers"
    if not len(given):
        return EMPTY, f"no {what}s: the list is empty"
    try:
        values = np.asarray(given)
    except (ValueError, OverflowError):  # lists of different lengths
        values = np.empty((0, 0))
    if values.ndim != 1:
        return EMPTY, f"{what}s are lists within a list; write one stream of integers"
    if values.dtype.kind not in "iu":
        at = next((n for n, v in enumerate(given) if type(v) is not int or not least <= v <= LARGEST), 0)
        return EMPTY, f"{what} {given[at]!r} at place {at} is no integer from {least} to {LARGEST:,}"
    wrong = (values < least) | (values > LARGEST)
    if wrong.any():
        at = int(np.argmax(wrong))
        return EMPTY, f"{what} {values[at]} at place {at} is no integer from {least} to {LARGEST:,}"
    return values.astype(np.uint16), ""


def _of_parquet(path: Path) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    with file:
        here = file.schema_arrow
        name, units, lasting = (_column(here, names) for names in (NAMES, UNITS, DURATIONS))
        if name is None or units is None:
            lacks = ", ".join(NAMES if name is None else UNITS)
            raise UserError(f"{path}: no column is called {lacks}; there are {', '.join(here.names)}")
        if lasting is not None and not _is_list(here.field(lasting).type):
            lasting = None  # the duration of the audio in a manifest, in seconds
        number, columns = 0, [name, units, *([lasting] if lasting else [])]
        try:
            for batch in file.iter_batches(ROWS, columns=columns):
                names = batch.column(0).cast(pa.string()).to_pylist()
                parts = [_lists(column) for column in batch.columns[1:]]
                for at, id in enumerate(names):
                    number += 1
                    where = f"{path}, row {number}"
                    if id is None:
                        raise UserError(f"{where}: {name} is missing")
                    yield _row(id, parts[0][at], parts[1][at] if lasting else None, where)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise UserError(f"{path}, after row {number}: not readable ({error})") from None


def _column(schema: pa.Schema, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _lists(column: pa.Array) -> Sequence[Any]:
    """The values of a column by row: lists of integers as views of one array, anything else as Python objects."""
    kind = column.type
    if not _is_list(kind) or not pa.types.is_integer(kind.value_type) or column.null_count:
        return column.to_pylist()
    flat = column.flatten()
    if flat.null_count:
        return column.to_pylist()
    ends = np.cumsum(column.value_lengths().to_numpy())
    return np.split(flat.to_numpy(), ends[:-1])
