"""Read a tokenizer's files row by row: Parquet, JSON lines or text, with any of the usual field names.

A row without usable units is still a row: it has a `problem`, so that its utterance is rejected with that reason. A
broken line, or a file without the fields, is a UserError that names the file and the line.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.io.errors import UserError
from speechladder.units.external.codebooks import EMPTY, as_frames, as_integers, misfit, shape
from speechladder.units.external.files import LINES, NAMES, NUMBERS, PARQUET, UNITS, Raw, files_of, open_text
from speechladder.units.external.text import of_text

DURATIONS = ("durations", "duration")
ROWS = 1024  # rows of a Parquet file read at once; a row may be an hour of speech


class Row(NamedTuple):
    """The units of one utterance, item or recording.

    `units` is (n,) uint16, or (n, codebooks) where there are several. `durations` is (n,) uint16, or None if the row
    has none. `problem` says why they are not usable; it is "" if they are. `where` names the file and the row.
    """

    name: str
    units: np.ndarray
    durations: np.ndarray | None
    problem: str
    where: str


def read_rows(files: Sequence[Path], codebooks: int = 1) -> Iterator[Row]:
    """Read every row, one file after the other, at most a thousand at once.

    Raise UserError naming the file, the row and the field if a row cannot be read.
    """
    for path in files:
        known = cache(partial(_by_codebook, path, codebooks))
        for raw in _raw(path):
            yield _row(raw, *as_frames(raw.units, codebooks, known))


def _by_codebook(path: Path, codebooks: int) -> bool | None:
    """Whether a file has a list for each codebook; its first row that has not as many frames as codebooks tells."""
    shapes = filter(None, (shape(raw.units) for raw in _raw(path)))
    return next((outer == codebooks for outer, inner in shapes if outer != inner and codebooks in (outer, inner)), None)


def _raw(path: Path) -> Iterator[Raw]:
    if path.name.endswith(PARQUET):
        return _of_parquet(path)
    return _of_lines(path) if path.name.endswith(LINES) else of_text(path)


@cache
def has_durations(path: str, field: str = "units.path", codebooks: int = 1) -> bool:
    """Whether the first row has durations.

    Raise UserError, before any job runs, if the file has no units, or has several codebooks where `codebooks` is 1, or
    one where there should be several.
    """
    files = files_of(path, field)
    raw = next((raw for file in files for raw in _raw(file)), None)
    if raw is None:
        raise UserError(f"{field}: {files[0]}: is empty; write a row for each utterance")
    if problem := misfit(raw.units, codebooks):
        raise UserError(f"{field}: {raw.where}: {problem}")
    return _row(raw, *as_frames(raw.units, codebooks, lambda: True)).durations is not None


def _row(raw: Raw, units: np.ndarray, problem: str) -> Row:
    durations = raw.durations if _is_durations(raw.durations, len(units)) else None
    if durations is None or problem:
        return Row(raw.name, units, None if durations is None else EMPTY, problem, raw.where)
    lasting, problem = as_integers(durations, "duration", 1)
    if not problem and len(lasting) != len(units):
        problem = f"{len(units)} units, but {len(lasting)} durations"
    return Row(raw.name, units, lasting, problem, raw.where)


def _is_durations(given: Any, count: int) -> bool:
    """Whether a field is durations. A single number is the seconds of audio in a manifest, unless it is of one unit."""
    if not isinstance(given, str):
        return isinstance(given, list | np.ndarray)
    return not given.strip().replace(".", "", 1).isdigit() or (count == 1 and bool(NUMBERS.fullmatch(given)))


def _of_lines(path: Path) -> Iterator[Raw]:
    number = 0
    try:
        with open_text(path) as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield _of_object(json.loads(line), f"{path}, line {number}")
    except (ValueError, EOFError, OSError) as error:
        line = number + (not isinstance(error, json.JSONDecodeError))  # a line that cannot be read is not counted yet
        raise UserError(
            f"{path}, line {line}: not readable as JSON lines ({error}); write one object per line"
        ) from None


def _of_object(row: Any, where: str) -> Raw:
    if not isinstance(row, dict):
        raise UserError(f"{where}: no object; write lines like {{'id': ..., 'units': [3, 49, 7]}}")
    name = next((row[field] for field in NAMES if field in row), None)
    given = next((field for field in UNITS if field in row), None)
    if not isinstance(name, str) or given is None:
        lacks = f"none of {', '.join(UNITS)}" if isinstance(name, str) else f"none of {', '.join(NAMES)} that is a text"
        raise UserError(f"{where}: {lacks}; there are {', '.join(row)}")
    durations = next((row[field] for field in DURATIONS if isinstance(row.get(field), list | str)), None)
    return Raw(name, row[given], durations, where)


def _of_parquet(path: Path) -> Iterator[Raw]:
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
                    yield Raw(id, parts[0][at], parts[1][at] if lasting else None, where)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise UserError(f"{path}, after row {number}: not readable ({error})") from None


def _column(schema: pa.Schema, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def _lists(column: pa.Array) -> Sequence[Any]:
    """The values of a column by row: lists of integers as views of one array, anything else as Python objects."""
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_integer(kind.value_type) or column.null_count:
        return column.to_pylist()
    flat = column.flatten()
    if flat.null_count:
        return column.to_pylist()
    ends = np.cumsum(column.value_lengths().to_numpy())
    return np.split(flat.to_numpy(), ends[:-1])
