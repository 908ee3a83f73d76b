"""Pairs of a good and a bad stimulus, and the files that hold them: JSON lines or CSV, with or without gzip.

The reader takes BLiMP's own files (Warstadt et al. 2020), Wuggy's tables of words and pseudowords, and any table with
the columns good and bad.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from speechladder.benchmarks.table_files import BadRow, Row, cell_text, table_rows
from speechladder.corpora.text import EMPTY, normalise, text_problem
from speechladder.io.errors import UserError

# Accepted column names of each field, in any case. The first is the field's own name.
COLUMNS = {
    "good": ("good", "sentence_good", "word", "correct"),
    "bad": ("bad", "sentence_bad", "nonword", "pseudoword", "incorrect"),
    "id": ("id", "pairid"),
    "type": ("type", "uid"),
    "good_audio": ("good_audio",),
    "bad_audio": ("bad_audio",),
    "two": ("two",),
}


@dataclass(frozen=True)
class Pair:
    """One stimulus pair: a model should find `good` likelier than `bad`.

    `type` groups pairs (phenomenon, repetition, word length). The audio paths are None if the synthesizer speaks the
    pair. `two` is the name of a crossed two, or "": the pairs (a + x | a + y) and (b + y | b + x), where each ending is
    right once and wrong once. A two is scored as a whole: see analysis.accuracy.
    """

    id: str
    type: str
    good: str
    bad: str
    good_audio: str | None = None
    bad_audio: str | None = None
    two: str = ""


class InTwo(Protocol):
    """A dataclass of a pair that may belong to a two."""

    id: str
    two: str


P = TypeVar("P", bound=InTwo)
T = TypeVar("T")


def _columns(path: Path, line: int, row: Row) -> dict[str, str]:
    """Field -> column name of this file; raises UserError with the allowed names if good or bad is missing."""
    present = {name.lower(): name for name in row}
    found = {}
    for field, aliases in COLUMNS.items():
        name = next((present[a] for a in aliases if a in present), None)
        if name is not None:
            found[field] = name
        elif field in ("good", "bad"):
            raise UserError(
                f"{path}, row {line}: no column for the {field} item; name it one of {', '.join(aliases)} "
                f"(found: {', '.join(row) or 'nothing'})"
            )
    return found


def _problem(pair: Pair, ids: set[str]) -> str | None:
    """The reason why a pair cannot be used, or None."""
    for field in ("good", "bad"):
        text = getattr(pair, field)
        if not text:
            return f"{field} is empty"
        if re.match(r"ERR\b|ERR_", text):
            return f"{field} is an error message: {text}"
        problem = text_problem(text)
        if problem == EMPTY:
            return f"{field} has no letters: {text!r}"
        if problem:
            return f"{problem}, in {field}: {text!r}"
    if normalise(pair.good) == normalise(pair.bad):
        return f"good and bad are equal once normalised: {pair.good!r}"
    if (pair.good_audio is None) != (pair.bad_audio is None):
        return "good_audio and bad_audio must be given together"
    for audio in (pair.good_audio, pair.bad_audio):
        if audio is not None and not Path(audio).is_file():
            return f"{audio}: no such audio file"
    return f"duplicate id {pair.id}" if pair.id in ids else None


def read_pairs(path: str | Path) -> tuple[list[Pair], list[tuple[int, str]]]:
    """Read a pairs file, and return the pairs and the rejects as (line number, reason).

    In BLiMP's files the id is UID-pairID and the type is UID. In a file without such columns the id is the file's name
    and line, and the type is the file's name. Audio paths are relative to the file. If one pair of a two is rejected,
    so is the other. Raises UserError that names file, row and column if the file is missing or unreadable, lacks the
    columns, has no usable row, or has a two of other than two pairs or with audio for one of them alone.
    """
    path = Path(path)
    stem = path.name.split(".")[0]
    pairs: list[Pair] = []
    rejects: list[tuple[int, str]] = []
    columns: dict[str, str] = {}
    ids: set[str] = set()
    twos: dict[str, list[int]] = {}  # rows of each two
    for line, row in table_rows(path):
        if isinstance(row, BadRow):
            rejects.append((line, row))
            continue
        if not columns:
            columns = _columns(path, line, row)
        cell = {field: cell_text(row.get(name)) or "" for field, name in columns.items()}
        odd = next((field for field, name in columns.items() if cell_text(row.get(name)) is None), None)
        kind = cell.get("type") or stem
        # a BLiMP pairID is unique within its UID only
        within = columns.get("id", "").lower() == "pairid"
        number = cell.get("id", "")
        name = (f"{kind}-{number}" if within else number) if number else f"{stem}-{line}"
        audio = [str(path.parent / a) if (a := cell.get(f"{side}_audio")) else None for side in ("good", "bad")]
        pair = Pair(name, kind, cell["good"], cell["bad"], *audio, two=cell.get("two", ""))
        reason = f"{odd} is no text: {row[columns[odd]]!r}" if odd else _problem(pair, ids)
        if pair.two:
            twos.setdefault(pair.two, []).append(line)
        if reason is None:
            ids.add(pair.id)
            pairs.append(pair)
        else:
            rejects.append((line, reason))
    pairs, rejects = _whole_twos(path, pairs, rejects, twos)
    if not pairs:
        first = f"; row {rejects[0][0]}: {rejects[0][1]}" if rejects else ""
        raise UserError(f"{path}: no usable pair among {len(rejects)} rows{first}")
    return pairs, rejects


def _whole_twos(
    path: Path, pairs: list[Pair], rejects: list[tuple[int, str]], twos: dict[str, list[int]]
) -> tuple[list[Pair], list[tuple[int, str]]]:
    """Reject each pair whose partner in a two is rejected.

    Raises UserError if a two has other than two pairs, or audio for one of them alone.
    """
    for two, lines in twos.items():
        if len(lines) != 2:
            raise UserError(
                f"{path}, row {lines[0]}: the two '{two}' has {len(lines)} pairs (rows {', '.join(map(str, lines))}); "
                "give exactly two pairs the same value in the column two, or leave it empty"
            )
    bad = {line for line, _ in rejects}
    torn = {two: lines for two, lines in twos.items() if len(bad.intersection(lines)) == 1}
    for one, other in torn.values():
        line, partner = (other, one) if one in bad else (one, other)
        rejects = [*rejects, (line, f"the other pair of its two is rejected (row {partner})")]
    kept = [pair for pair in pairs if pair.two not in torn]
    spoken = {pair.two: bool(pair.good_audio) for pair in kept}
    if mixed := next((pair for pair in kept if pair.two and bool(pair.good_audio) != spoken[pair.two]), None):
        raise UserError(
            f"{path}, rows {' and '.join(map(str, twos[mixed.two]))}: one pair of the two '{mixed.two}' has audio and "
            "the other has none, but one voice speaks a two; give good_audio and bad_audio for both pairs or for none"
        )
    return kept, sorted(rejects, key=lambda reject: reject[0])


def in_twos(pairs: Sequence[P]) -> list[list[P]]:
    """The pairs of each two together, and every other pair alone, in the order of their first pairs."""
    return by_two(pairs, [pair.two for pair in pairs])


def by_two(items: Sequence[T], twos: Iterable[str]) -> list[list[T]]:
    """The items of each two together, and every other item alone; `twos` has the two of each item, or ""."""
    units: dict[object, list[T]] = {}
    for number, (item, two) in enumerate(zip(items, twos, strict=True)):
        units.setdefault(two or number, []).append(item)
    return list(units.values())


def _unique(name: str, stem: str, taken: Collection[str]) -> str:
    """`name`, or if that is taken, `name` with the stem of its file before it."""
    serial, wanted = 2, name
    while wanted in taken:
        wanted = f"{stem}/{name}" if serial == 2 else f"{stem}/{name}#{serial - 1}"
        serial += 1
    return wanted


def spread(pairs_by_file: Mapping[str, list[P]], max_pairs: int) -> list[P]:
    """At most `max_pairs` pairs (0 takes all), as evenly over the files as possible and evenly spaced in each.

    The order of the files is kept, and the pairs of a two stand together, taken or left together. An id or a two that
    an earlier file has too gets its file's stem as a prefix. Raises UserError if `max_pairs` is less than a two.
    """
    quota = dict.fromkeys(pairs_by_file, 0)
    left = max_pairs or sum(map(len, pairs_by_file.values()))
    while left > 0:
        open_files = [name for name, pairs in pairs_by_file.items() if quota[name] < len(pairs)]
        if not open_files:
            break
        share = max(1, left // len(open_files))
        for name in open_files:
            take = min(share, len(pairs_by_file[name]) - quota[name], left)
            quota[name] += take
            left -= take
    out: list[P] = []
    ids: set[str] = set()
    twos: set[str] = set()
    for name, pairs in pairs_by_file.items():
        stem = Path(name).name.split(".")[0]
        for unit in _evenly(in_twos(pairs), quota[name], len(pairs)):
            two = _unique(unit[0].two, stem, twos) if unit[0].two else ""
            twos.add(two)
            for pair in unit:
                own = _unique(pair.id, stem, ids)
                ids.add(own)
                out.append(pair if (own, two) == (pair.id, pair.two) else replace(pair, id=own, two=two))
    if not out and any(pairs_by_file.values()):
        raise UserError(f"benchmarks.max_pairs={max_pairs}: is less than the two pairs of a two; raise it")
    return out


def _evenly(units: list[list[P]], quota: int, count: int) -> list[list[P]]:
    """Evenly spaced units with at most `quota` of the `count` pairs."""
    size = len(units) * quota // count if count else 0
    taken = [units[i * len(units) // size] for i in range(size)]
    while sum(map(len, taken)) > quota:
        taken.pop()
    return taken
