"""All entries of a leaderboard, checked, and what they reach. Everything is computed from the answers to single items.

Accuracies and their intervals are those of table.csv (analysis.accuracy). Each entry is compared with the first one as
two rungs of a run are (analysis.factors): each resample draws the same items for both, and seeds for each. An entry
whose interval holds 0 is tied with the first.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.analysis.accuracy import Estimate, ScoredPairs, generator, match_halves
from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.factors import compare
from speechladder.analysis.table import estimates, row_cells
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import read_table
from speechladder.leaderboard.contract import (
    SCHEMA,
    Contract,
    check_settings,
    check_stages,
    other_parts,
)
from speechladder.leaderboard.entry import (
    ANSWER,
    ANSWERS,
    DIAGNOSIS,
    ENTRY,
    TABLE,
    check_answers,
    check_name,
    entry_command,
    read_diagnosis,
)
from speechladder.report.page.numbers import at

MAIN = NORMS[0]  # the norm of the first columns of table.csv, by which entries are sorted
COPIED = 0.01  # share of equal likelihoods from which two models are one; other models have none
FACTS = ("tokens_per_second", "bits_per_second", "vocab_size", "train_tokens", "passes", "valid_bits_per_second")
Cell = tuple[str, str]  # task, norm


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _text(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value))


_COMMIT = r"[0-9a-f]{7,40}\+?|unknown"
FIELDS: Mapping[str, Callable[[Any], bool]] = {  # of entry.json, that the board and its page read: whether one fits
    **dict.fromkeys(("contract", "units", "settings", "stages", "facts", "costs"), _mapping),
    "rung": _text(r"[\w-]+"),
    "command": _text(r"[^`\n]+"),
    "commit": _text(_COMMIT),
    "date": _text(r"\d{4}-\d\d-\d\d"),
    "tokens_sha256": _text("[0-9a-f]{64}"),
    "clean": lambda value: isinstance(value, bool),
    "trained_at": lambda value: value is None or _text(_COMMIT)(value),
    "quality": lambda value: value is None or _mapping(value),
}


@dataclass(frozen=True)
class Entry:
    """An entry: what it says of itself, its answers, and what the diagnosis found, empty without one."""

    name: str
    about: Mapping[str, Any]
    answers: pa.Table
    diagnosis: Mapping[str, Any]


def is_tie(difference: Estimate) -> bool:
    """Whether a difference cannot be told from 0."""
    return difference.low <= 0 <= difference.high


@dataclass(frozen=True)
class Standing:
    """What an entry reaches: shares, by task and norm.

    `behind` is its difference to the first entry, and `behind_units` to the first one that is made of units; empty of
    an entry that is not.
    """

    entry: Entry
    accuracies: Mapping[Cell, Estimate]
    behind: Mapping[Cell, Estimate]
    behind_units: Mapping[Cell, Estimate]

    def tied(self, cell: Cell) -> bool:
        """Whether the difference to the first entry cannot be told from 0."""
        return is_tie(self.behind[cell])


def read_entries(folder: Path, contract: Contract) -> list[Entry]:
    """The entries in `folder`, by name. Raises UserError for the first that is not of the contract, is not whole, or
    has a model that answers as another does."""
    entries = [_read(path, contract) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    if not entries:
        raise UserError(f"{folder}: no entries; make one: make entry NAME=... UNITS=... (CONTRIBUTING.md)")
    _refuse_copies(folder, entries, contract)
    return entries


def _refuse_copies(folder: Path, entries: Sequence[Entry], contract: Contract) -> None:
    """Raise UserError if two models share answers to the last digit, or two entries share all their tokens."""
    models = {
        f"{entry.name} (seed {seed})": entry.answers.filter(pc.equal(entry.answers["seed"], seed))["nll"].to_numpy()
        for entry in entries
        for seed in contract.seeds
    }
    for (one, own), (other, found) in combinations(models.items(), 2):
        if (own == found).mean() > COPIED:
            raise UserError(
                f"{folder}: {one} and {other} have {np.sum(own == found):,} equal answers to the last digit, which two "
                "models do not have; make the copy again, or delete it"
            )
    for one, other in combinations(entries, 2):
        if one.about["tokens_sha256"] == other.about["tokens_sha256"]:
            raise UserError(
                f"{folder}: {one.name} and {other.name} have the same tokens (tokens_sha256), so they are one "
                "tokenizer; delete one of them"
            )


def _read(folder: Path, contract: Contract) -> Entry:
    check_name(folder.name)
    for name in (ENTRY, ANSWERS, TABLE):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file; make it again: make entry NAME={folder.name}")
    path = folder / ENTRY
    about = read_json(path)
    _check_about(path, about)
    _check_hashes(path, about["contract"], contract)
    check_settings(path, about["settings"], contract)
    check_stages(path, about["stages"], contract)
    answers = read_table(folder / ANSWERS, ANSWER).sort_by([(name, "ascending") for name in ("task", "item", "seed")])
    check_answers(folder / ANSWERS, answers, contract)
    found = folder / DIAGNOSIS
    if found.is_file() and about["quality"] is None:
        raise UserError(f"{found}: the rung {about['rung']} is not made of units, so they explain nothing; delete it")
    diagnosis = read_diagnosis(found, about["units"], contract) if found.is_file() else {}
    return Entry(folder.name, about, answers, diagnosis)


def _check_about(path: Path, about: Any) -> None:
    """Raise UserError that names the field of entry.json that is not as `entry.make_entry` writes it."""
    again, name = f"make it again: make entry NAME={path.parent.name}", path.parent.name
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise UserError(f"{path}: no entry of schema {SCHEMA}; {again}")
    wrong = [field for field, fits in FIELDS.items() if not fits(about.get(field))]
    if not wrong:
        wrong += [f"facts.{fact}" for fact in FACTS if not _is_number(about["facts"].get(fact))]
        wrong += [f"costs.{rule}" for rule, cost in about["costs"].items() if not _is_number(at(cost, "cpu_seconds"))]
    if wrong:
        raise UserError(f"{path}: field '{wrong[0]}' is missing or malformed; {again}")
    if about.get("name") != name:
        raise UserError(f"{path}: its name is {about.get('name')!r}; {again}")
    facts = about["facts"]
    most = facts["tokens_per_second"] * math.log2(max(facts["vocab_size"], 1))
    if not 0 <= facts["bits_per_second"] <= most:
        raise UserError(
            f"{path}: facts.bits_per_second: {facts['bits_per_second']} is not from 0 to {most:.0f}, which "
            f"{facts['vocab_size']:,.0f} tokens can carry; {again}"
        )
    command = entry_command(name, about["rung"], about["units"])
    if about["command"] != command:
        raise UserError(
            f"{path}: command is {about['command']!r}, and by its units and rung it is {command!r}; {again}"
        )


def _check_hashes(path: Path, found: Any, contract: Contract) -> None:
    """Raise UserError that names each part of the speech and the items that is not the contract's."""
    other = other_parts(found, contract)
    if found.get("name") != contract.name or other:
        what = f"{', '.join(other)}: other hashes than" if other else f"it is of {found.get('name')}, not of"
        raise UserError(f"{path}: {what} {contract.name}; only entries of the same speech and items are compared")


def scored_pairs(entry: Entry, contract: Contract) -> dict[str, ScoredPairs]:
    """The answers of an entry as matched halves, by task."""
    index = contract.index()
    place = {key: row for row, key in enumerate(zip(index["task"].to_pylist(), index["item"].to_pylist()))}
    keys = zip(entry.answers["task"].to_pylist(), entry.answers["item"].to_pylist())
    items = index.take(pa.array([place[key] for key in keys]))
    table = entry.answers
    for name in index.schema.names[2:]:
        table = table.append_column(name, items[name])
    tasks = np.array(table["task"].to_pylist())
    return {task: match_halves(table.filter(pa.array(tasks == task)), f"{entry.name}, {task}") for task in TASKS}


def rank(entries: Sequence[Entry], contract: Contract, folder: Path) -> list[Standing]:
    """The entries from the highest sWUGGY (by the main norm) to the lowest, with what each reaches.

    Raises UserError if a cell in the table.csv of an entry in `folder` is not that of its answers and entry.json.
    """
    seed, analysis, cells = contract.settings["seed"], contract.analysis, [*product(TASKS, NORMS)]
    pairs = {entry.name: scored_pairs(entry, contract) for entry in entries}
    accuracies: dict[str, dict[Cell, Estimate]] = {}
    for entry in entries:
        rung, facts = entry.about["rung"], entry.about["facts"]
        found = estimates(pairs[entry.name], rung, seed, analysis)
        _check_table(folder / entry.name / TABLE, row_cells(rung, facts, len(contract.seeds), found))
        accuracies[entry.name] = {(task, norm): found[f"{task}_{norm}"] for task, norm in cells}
    first_task = next(iter(TASKS))
    order = sorted(entries, key=lambda entry: (-accuracies[entry.name][first_task, MAIN].value, entry.name))
    units = [entry.name for entry in order if entry.about["units_sha256"]]

    def behind(name: str, first: str) -> dict[Cell, Estimate]:
        out = {}
        for task, norm in cells:
            random = generator(seed, "leaderboard", name, *([first] if first != order[0].name else []), task, norm)
            both = pairs[first][task].outcomes(norm), pairs[name][task].outcomes(norm)
            out[task, norm] = compare(*both, analysis.confidence, analysis.resamples, random).difference
        return out

    return [
        Standing(
            entry,
            accuracies[entry.name],
            behind(entry.name, order[0].name),
            behind(entry.name, units[0]) if entry.name in units else {},
        )
        for entry in order
    ]


def _check_table(path: Path, computed: Mapping[str, object]) -> None:
    """Raise UserError if a cell of a table.csv is not what was computed for its column."""
    rows = read_csv(path)
    if len(rows) != 1:
        raise UserError(f"{path}: {len(rows)} rows, and an entry has 1; make the entry again")
    for name, value in computed.items():
        if rows[0].get(name) != str(value):
            raise UserError(
                f"{path}: {name} is {rows[0].get(name)}, and by {ANSWERS} and {ENTRY} it is {value}; a table is not "
                "edited: make the entry again"
            )
