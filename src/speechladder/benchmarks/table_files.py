"""Rows of the tables that users bring: CSV, TSV or JSON lines, with or without gzip. A bad row never ends the file."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.text import Line, text_lines

_JSON = (".jsonl", ".ndjson", ".json")
_TABLE = (".csv", ".tsv")
_LONGEST_CELL = 100  # lines over which a quoted cell may extend

Row = dict[str, Any]


class BadRow(str):
    """The problem of a row that cannot be read."""


def table_rows(path: Path) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield the line (from 1) at which each row of a file begins, and the row; a row that cannot be read is a BadRow.

    The first row of a CSV or TSV names the columns. In a TSV a quote is a plain character, except around a whole
    cell. Raises UserError that names the file if it is missing, damaged, of another kind or without a header.
    """
    suffixes = [s.lower() for s in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if kind not in _JSON + _TABLE:
        raise UserError(f"{path}: pairs files are named {', '.join(_JSON + _TABLE)}, with .gz or without")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    lines, number = text_lines(path), 0
    try:
        for number, row in _json_rows(path, lines) if kind in _JSON else _cell_rows(path, lines):
            yield number, row
    except (EOFError, OSError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path}, line {number + 1}: not readable ({error}); fetch or compress the file again"
        ) from None


def cell_text(value: object) -> str | None:
    """The text of a cell, "" if it is empty; None for what is no text or number."""
    if value is None or value != value:  # NaN stands for nothing in tables that were written by pandas
        return ""
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _json_rows(path: Path, lines: Iterator[Line]) -> Iterator[tuple[int, Row | BadRow]]:
    first = True
    for number, text, problem in lines:
        if first and not problem and text.lstrip().startswith("["):
            raise UserError(f"{path}, line {number}: is a JSON array; write one object per line (jq -c '.[]')")
        first = first and not text.strip()
        if problem:
            yield number, BadRow(problem)
        elif text.strip():
            try:
                row = json.loads(text)
            except (json.JSONDecodeError, RecursionError) as error:
                row = BadRow(f"not JSON: {error}")
            yield number, row if isinstance(row, dict | BadRow) else BadRow("not a JSON object")


def _cell_rows(path: Path, lines: Iterator[Line]) -> Iterator[tuple[int, Row | BadRow]]:
    header = next((line for line in lines if line.problem or line.text.strip()), None)
    if header is None:
        return
    if header.problem:
        raise UserError(f"{path}, line {header.number}: {header.problem}")
    delimiter = max(",;\t", key=header.text.count)
    names = [name.strip() for name in next(csv.reader([header.text], delimiter=delimiter), [])]
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if len(names) < 2 or twice:
        fault = f"the column {twice[0]} is named twice" if twice else f"names one column, {header.text.strip()!r}"
        raise UserError(f"{path}, line {header.number}: {fault}; it has to name every column, once")
    waiting: list[Line] = []
    while line := waiting.pop(0) if waiting else next(lines, None):
        if line.problem:
            yield line.number, BadRow(line.problem)
            continue
        cells = _cells(line, lines, waiting, delimiter, len(names))
        if isinstance(cells, BadRow):
            yield line.number, cells
        elif any(cell.strip() for cell in cells[len(names) :]):  # the text of an unquoted comma would be cut
            fix = f"put quotes around a text with '{delimiter}'"
            yield line.number, BadRow(f"{len(cells)} cells in {len(names)} columns; {fix}")
        elif any(cell.strip() for cell in cells):
            yield line.number, dict(zip_longest(names, cells[: len(names)], fillvalue=""))


def _cells(first: Line, lines: Iterator[Line], waiting: list[Line], delimiter: str, columns: int) -> list[str] | BadRow:
    """The cells of the row that begins at `first`.

    A quoted cell may extend over more lines: these are taken from `waiting` and `lines`. If no line closes it, they go
    back to `waiting`.
    """
    cells, raw = _parsed([first.text], delimiter), first.text.split(delimiter)
    if isinstance(cells, list) and (delimiter != "\t" or len(cells) == columns or len(raw) != columns):
        return cells
    if delimiter == "\t" and (len(raw) == columns or not _is_open(first.text)):
        return raw
    taken = [first]
    if _is_open(first.text):
        for index in count():
            if index == len(waiting):
                waiting += [line for line in [next(lines, None)] if line]
            if index == len(waiting) or index == _LONGEST_CELL or waiting[index].problem:
                break
            taken.append(waiting[index])
            whole = _parsed([f"{line.text}\n" for line in taken[:-1]] + [taken[-1].text], delimiter)
            if isinstance(whole, list) and len(whole) >= columns:
                del waiting[: index + 1]
                return whole
    return raw if delimiter == "\t" else cells


def _parsed(lines: list[str], delimiter: str) -> list[str] | BadRow:
    """The cells of one row, or why it is none."""
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return BadRow(f'a quote that is not closed or stands inside a cell ({error}); write it twice: ""')
    if len(rows) > 1:
        return BadRow("more than one row")
    return rows[0] if rows else []


def _is_open(text: str) -> bool:
    """Whether a line has an odd number of quotes, so that a cell may extend beyond it."""
    return text.count('"') % 2 == 1
