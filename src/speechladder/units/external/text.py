"""Text files of units, a line for each utterance: textlesslib, GSLM, fairseq, ESPnet.

A line has its name, or the file has a fairseq manifest beside it, whose line has the name. Durations are a third column
or a file beside.
"""

import re
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple

from speechladder.io.errors import UserError
from speechladder.units.external.files import (
    MANIFEST,
    Columns,
    Raw,
    durations_of,
    is_header,
    is_numbers,
    manifest_of,
    numbered,
    open_text,
    split_line,
    stem,
)


def of_text(path: Path) -> Iterator[Raw]:
    """The rows of a text file.

    Raise UserError that names the file and the line if lines have no names, or if files that belong together differ.
    """
    try:
        yield from _rows(path)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: not readable as text ({error}); write it as UTF-8") from None


def _rows(path: Path) -> Iterator[Raw]:
    with open_text(path) as handle:
        first = next((split_line(line) for _, line in numbered(handle)), None)
    if first is None:
        return
    if path.name.endswith(MANIFEST) and not first.units:
        raise UserError(f"{path}: is a manifest and has no units; name the file of units, beside which it lies")
    names, wanted, source = (repeat(""), _count(path).filled, "") if first.name is not None else _given_names(path)
    lasting, header = durations_of(path), is_header(first)
    others = _entries(lasting, wanted - header, str(path)) if lasting else None
    for (number, row), name in islice(zip(_entries(path, wanted, source), names), int(header), None):
        where = f"{path}, line {number}"
        if (row.name is None) != (first.name is None) and (row.name or row.units):
            raise UserError(f"{where}: {'no name' if row.name is None else 'a name'}, unlike the first line")
        durations: str | list[int | str] | None = row.durations
        if others:
            at, beside = next(others)
            if not beside.units and beside.name != row.name:  # no name, but durations that are no numbers
                beside = Columns(None, beside.name or "")
            if None not in (beside.name, row.name) and beside.name != row.name:
                raise UserError(f"{where}: {row.name!r}, but {lasting}, line {at}: {beside.name!r}")
            durations = _listed(beside.units)
        yield Raw(row.name if row.name is not None else name, row.units, durations, where)


def _listed(durations: str) -> list[int | str]:
    """Durations as a list, so that one number is no seconds; a text that is no numbers is one element."""
    return list(map(int, re.findall(r"\d+", durations))) if is_numbers(durations) else [durations] * bool(durations)


class _Counts(NamedTuple):
    """Lines of a file: all, those up to the last one that is not blank, and those that are not blank."""

    all: int
    last: int
    filled: int


def _count(path: Path) -> _Counts:
    total = last = filled = 0
    with open_text(path) as handle:
        for total, line in enumerate(handle, 1):
            if line.strip():
                last, filled = total, filled + 1
    return _Counts(total, last, filled)


def _entries(path: Path, wanted: int, of: str) -> Iterator[tuple[int, Columns]]:
    """(number, parts) of `wanted` lines. Blank lines are left out if there are enough without them, else they count.

    Raise UserError with both counts if the file has another number of lines than `of`, to which it belongs.
    """
    counts = _count(path)
    if counts.filled != wanted and not (counts.filled < wanted and counts.last <= wanted <= counts.all):
        raise UserError(f"{path}: {counts.filled} lines, but {of} has {wanted}; line i belongs to line i")
    with open_text(path) as handle:
        for number, line in enumerate(handle, 1):
            if number <= wanted if counts.filled < wanted else line.strip():
                yield number, split_line(line)


def _given_names(path: Path) -> tuple[Iterator[str], int, str]:
    """The names of lines without names, how many, and from where: those of a manifest, or of one line the file's."""
    found = manifest_of(path)
    if found is None:
        lines = _count(path).filled
        if lines == 1:
            return iter([stem(path)]), 1, ""
        raise UserError(
            f"{path}: {lines} lines without names; write lines like NAME|3 49 7, or put the manifest {stem(path)}.tsv "
            "beside it: the root in its first line, and after it the audio file of each line"
        )
    manifest, part, parts = found
    with open_text(manifest) as handle:
        root = next((line for _, line in numbered(handle)), "").strip()
    if re.search(r"\.\w+\s+\d+$", root):
        raise UserError(f"{manifest}, line 1: {root!r} is no root folder; the first line of a manifest is the root")
    rows = _count(manifest).filled - 1
    first, last = (round(rows / parts * edge) for edge in (part, part + 1))  # as fairseq cuts a manifest in parts
    source = f"{manifest} without its root" if parts == 1 else f"part {part} of {parts} of {manifest}"
    return islice(_files(manifest), first, last), last - first, source


def _files(manifest: Path) -> Iterator[str]:
    """The audio files of a fairseq manifest, each with the root."""
    with open_text(manifest) as handle:
        lines = numbered(handle)
        _, root = next(lines)
        for _, line in lines:
            yield str(Path(root.strip(), re.sub(r"\s+\d+$", "", line.strip())))
