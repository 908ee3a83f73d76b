"""zerospeech's sLM21 as items: sWUGGY (lexical) and sBLIMP (syntactic), from its gold tables and recordings.

The folders lexical/{dev,test} and syntactic/{dev,test}, at any depth of the archive, hold recordings and a gold.csv
each. The rows of a gold.csv are compared with the recordings, and each mismatch is listed with file and row. A pair is
a word and a non-word, or two sentences, with the same id (within type and subtype) in the same voice.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from speechladder.benchmarks.gold_phones import Notation, detect, spell
from speechladder.benchmarks.official import OfficialPair, id_part, read_member, spread_over_types
from speechladder.benchmarks.spoken import Half, Stimuli, VoicedPair
from speechladder.corpora.text import text_problem
from speechladder.fetch.archives import Store
from speechladder.fetch.members import rejects_summary
from speechladder.io.errors import UserError
from speechladder.io.rejects import Rejects
from speechladder.io.text import encoding_problem

LEXICAL, SYNTACTIC = "lexical", "syntactic"  # the parts, which are folders of the archive
FIELDS = {
    LEXICAL: ("filename", "id", "voice", "frequency", "word", "phones", "length", "correct"),
    SYNTACTIC: ("filename", "id", "voice", "type", "subtype", "transcription", "correct"),
}
# Occurrences of the word in LibriSpeech in zerospeech's bands. A band begins at its edge and ends below the next edge.
BANDS = {"oov": 0, "1-5": 1, "6-20": 5, "21-100": 20, ">100": 100}
OOV = "oov"
NO_BAND = "no frequency"  # such pairs count in the overall score and in no band
LENGTHS = "lengths"  # metadata of items.parquet: JSON, pair -> number of phones of the word in the gold table
_FLAGS = {"1": True, "0": False, "1.0": True, "0.0": False, "true": True, "false": False}

Readers = dict[str, Callable[[], np.ndarray]]  # name of a recording without suffix -> what reads it


def band(frequency: float | None) -> str:
    """zerospeech's frequency band.

    >>> band(0), band(4), band(5), band(100)
    ('oov', '1-5', '6-20', '>100')
    """
    if frequency is None:
        return NO_BAND
    return [name for name, edge in BANDS.items() if edge <= frequency][-1]


@dataclass(frozen=True)
class _Row:
    """A row of a gold table as half of a pair; `problem` says why it is unusable, or is "".

    `half.correct` is None if its flag cannot be read, and the word's band is the `half.type` of the correct row alone.
    """

    number: int
    name: str
    half: Half
    length: int | None
    spelt: bool  # whether the text was made from the phones
    problem: str

    @property
    def place(self) -> tuple[str, str]:
        """The pair and the voice that the row belongs to."""
        return self.half.id, self.half.voice


def folder_of(store: Store, part: str, split: str, where: str) -> str:
    """The folder of the archive that holds this part (lexical, syntactic) and split, with its slash.

    Raises UserError that lists the splits of the archive if it lacks this one.
    """
    tables = [n for n in store.names() if re.search(r"(^|/)(lexical|syntactic)/[^/]+/gold\.csv$", n)]
    found = sorted((n for n in tables if f"/{n}".endswith(f"/{part}/{split}/gold.csv")), key=len)
    if not found:
        there = ", ".join(sorted({"/".join(n.split("/")[-3:-1]) for n in tables})) or "none"
        raise UserError(
            f"{where}: no {part}/{split}/gold.csv (gold tables: {there}{rejects_summary(store.rejects)}); set "
            "benchmarks.slm21 to sLM21 as zerospeech publishes it, and benchmarks.slm21_splits to splits that it holds"
        )
    return found[0].removesuffix("gold.csv")


def recordings(store: Store, folder: str) -> dict[str, str]:
    """Name without suffix -> member of the archive, for the recordings in one of its folders."""
    paths = (PurePosixPath(n) for n in store.names() if n.startswith(folder))
    return {p.stem: str(p) for p in paths if p.suffix.lower() == ".wav" and str(p.parent) == folder.rstrip("/")}


def read_slm21(store: Store, where: str, part: str, splits: Sequence[str], max_pairs: int, rejects: Rejects) -> Stimuli:
    """The pairs of a part (lexical, syntactic), split after split: `max_pairs` of each (0: all), evenly over the types.

    The type of a pair is its frequency band (lexical) or its type in the gold table (syntactic). Pairs that cannot be
    used go to `rejects`, voice by voice. Rows and recordings that belong to no pair are mentioned there. `where` names
    the archive in messages. Raises UserError that names file and column if a table is missing or of another form.
    """
    pairs: list[OfficialPair] = []
    notations: dict[str, None] = {}
    lost = spelt = 0
    for split in splits:
        folder = folder_of(store, part, split, where)
        source = f"{where}: {folder}gold.csv"
        readers = {name: partial(read_member, store, path) for name, path in recordings(store, folder).items()}
        table = _table(store.read(f"{folder}gold.csv"), FIELDS[part], source)
        notation = detect((cells["phones"] for _, cells in table), source) if part == LEXICAL else None
        if notation:
            notations[notation.name + (" with stress" if notation.stress else "")] = None
        rows = [_row(number, cells, split, notation, readers) for number, cells in table]
        spelt += sum(row.spelt for row in rows)
        found, gone = _pair_up(rows, readers, source, rejects)
        pairs += spread_over_types(found, max_pairs)
        lost += gone
    counts = {split: sum(pair.voiced[0][0].split == split for pair in pairs) for split in splits}
    notes = [f"zerospeech's sLM21, {', '.join(f'{split} {n:,} pairs' for split, n in counts.items())}"]
    notes += [f"phones are those of its gold table ({', '.join(notations)})"] if notations else []
    if spelt:
        notes.append(
            f"it does not spell {spelt:,} non-words: their letters were made from their phones, so text rungs tell "
            "them from words too easily"
        )
    facts = {"splits": counts, "phones": list(notations), "spelt": spelt}
    lengths = {pair.id: pair.length for pair in pairs if pair.length is not None}
    metadata = {LENGTHS: json.dumps(lengths)} if part == LEXICAL else {}
    return Stimuli([voiced for pair in pairs for voiced in pair.voiced], where, lost, facts, notes, metadata)


def _table(content: bytes, fields: Sequence[str], source: str) -> list[tuple[int, dict[str, str]]]:
    """Row number (2 for the first row below the header) and cells by field; raises UserError that names the column."""
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True)
        names = {(name or "").strip().lower(): name for name in reader.fieldnames or []}
        missing = [field for field in fields if field not in names]
        if missing:
            raise UserError(f"{source}: column '{missing[0]}' is missing; expected {','.join(fields)}")
        return [(reader.line_num, {field: (row[names[field]] or "").strip() for field in fields}) for row in reader]
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        problem = encoding_problem(content.splitlines()[number - 1])
        raise UserError(
            f"{source}: not readable as CSV (line {number}: {problem}); download the archive again"
        ) from None
    except csv.Error as error:
        raise UserError(f"{source}: not readable as CSV ({error}); download the archive again") from None


def _row(number: int, cells: dict[str, str], split: str, notation: Notation | None, readers: Readers) -> _Row:
    """One row, with the first problem that it has."""
    name = re.sub(r"\.wav$", "", cells["filename"], flags=re.IGNORECASE)
    correct = _FLAGS.get(cells["correct"].lower())
    kind = [cells["type"], cells["subtype"]] if notation is None else []
    pair = "/".join([split, *map(id_part, [*kind, cells["id"]])]) if cells["id"] else ""
    text = cells["transcription"] if notation is None else cells["word"]
    problems = []
    if correct is None:
        problems.append(f"unreadable flag: correct is '{cells['correct']}', not 1 or 0")
    phones, length, spelt, group = None, None, False, cells.get("type", "")
    if notation is not None:
        try:
            phones = tuple(notation.read(cells["phones"]))
        except ValueError as error:
            problems.append(str(error))
        if not text and correct is False and phones:
            text, spelt = spell(phones), True
        if correct:
            frequency, length = _number(cells["frequency"]), _number(cells["length"])
            group = NO_BAND if frequency is None else band(frequency)
            if cells["frequency"] and frequency is None:
                problems.append(f"unreadable frequency: '{cells['frequency']}'")
    if problem := text_problem(text):
        problems.append(f"{problem}, in '{text}'")
    if name not in readers:
        problems.append(f"missing recording: {name}.wav")
    own = f"{split}/{name}", pair, id_part(cells["voice"]), correct, group, text, readers.get(name)
    half = Half(*own, split=split, phones=phones, official=True)
    length = None if length is None else round(length)
    return _Row(number, name, half, length, spelt, problems[0] if problems else "")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _pair_up(rows: list[_Row], readers: Readers, source: str, rejects: Rejects) -> tuple[list[OfficialPair], int]:
    """The pairs that the rows form, in the order of the table, and the number of voiced pairs that were lost."""
    places: dict[tuple[str, str], list[_Row]] = {}
    known: dict[str, _Row] = {}
    for row in rows:
        at = f"{source}, row {row.number}"
        same = known.setdefault(row.name, row)
        if not row.half.id or not row.name:
            rejects.mention(f"row {row.number}", f"no {'id' if row.name else 'filename'}", at)
        elif same is not row and (same.place, same.half.correct) == (row.place, row.half.correct):
            rejects.mention(row.name, f"duplicate row: '{row.name}' is in row {same.number} too", at)
        else:
            problem = row.problem or (f"duplicate filename: row {same.number} has it too" if same is not row else "")
            places.setdefault(row.place, []).append(replace(row, problem=problem))
    for name in sorted(set(readers) - set(known)):
        rejects.mention(name, "recording without a row in gold.csv", source)
    found: dict[str, list[VoicedPair]] = {}
    lengths: dict[str, int | None] = {}
    lost = 0
    for (pair, voice), own in places.items():
        halves = {row.half.correct: row for row in own if not row.problem}
        if len(own) == 2 and halves.keys() == {True, False}:
            good, bad = halves[True], halves[False]
            lengths.setdefault(pair, good.length)
            found.setdefault(pair, []).append((good.half, replace(bad.half, type=good.half.type)))
            continue
        lost += 1
        wrong = next((row for row in own if row.problem), own[-1])
        rejects.add(f"{pair}|{voice}", wrong.problem or _unpaired(own), f"{source}, row {wrong.number}")
    pairs = [OfficialPair(pair, voiced[0][0].type, voiced, lengths[pair]) for pair, voiced in found.items()]
    return pairs, lost


def _unpaired(rows: list[_Row]) -> str:
    if len(rows) == 1:
        return f"half missing: no {'incorrect' if rows[0].half.correct else 'correct'} row"
    return f"not a pair: {sum(bool(row.half.correct) for row in rows)} correct of {len(rows)} rows"
