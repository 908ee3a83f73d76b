"""All entries of a leaderboard, checked, and what they reach. Everything is computed from the answers to single items.

Accuracies and their intervals are those of table.csv (analysis.accuracy). Each entry is compared with the first one as
two rungs of a run are (analysis.factors): each resample draws the same items for both, and seeds for each. An entry
whose interval holds 0 is tied with the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.analysis.accuracy import Estimate, ScoredPairs, generator, match_halves
from speechladder.analysis.csv_tables import percent, read_csv
from speechladder.analysis.factors import compare
from speechladder.analysis.table import estimate_accuracy
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import read_table
from speechladder.leaderboard.contract import (
    PARTS,
    SCHEMA,
    Contract,
    check_settings,
    check_stages,
)
from speechladder.leaderboard.entry import ANSWER, ANSWERS, DIAGNOSIS, ENTRY, TABLE, check_answers

MAIN = NORMS[0]  # the norm of the first columns of table.csv, by which entries are sorted
FIELDS = {  # of entry.json, that the board and its page read
    **dict.fromkeys(("contract", "units", "settings", "stages", "facts", "costs"), dict),
    **dict.fromkeys(("rung", "command", "commit", "date"), str),
    "clean": bool,
}
FACTS = ("tokens_per_second", "bits_per_second")
Cell = tuple[str, str]  # task, norm


@dataclass(frozen=True)
class Entry:
    """An entry: what it says of itself, its answers, and what the diagnosis found, empty without one."""

    name: str
    about: Mapping[str, Any]
    answers: pa.Table
    diagnosis: Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """What an entry reaches: shares, by task and norm. `behind` is its difference to the first entry."""

    entry: Entry
    accuracies: Mapping[Cell, Estimate]
    behind: Mapping[Cell, Estimate]

    def tied(self, cell: Cell) -> bool:
        """Whether the difference to the first entry cannot be told from 0."""
        found = self.behind[cell]
        return found.low <= 0 <= found.high


def read_entries(folder: Path, contract: Contract) -> list[Entry]:
    """The entries in `folder`, by name. Raises UserError for the first that is not of the contract, is not whole, or
    has a model that answers as another does."""
    entries = [_read(path, contract) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    if not entries:
        raise UserError(f"{folder}: no entries; make one: make entry NAME=... UNITS=... (CONTRIBUTING.md)")
    models: dict[bytes, str] = {}
    for entry in entries:
        for seed in contract.seeds:
            nll = entry.answers.filter(pc.equal(entry.answers["seed"], seed))["nll"].to_numpy()
            this = f"{entry.name} (seed {seed})"
            if (other := models.setdefault(nll.tobytes(), this)) != this:
                raise UserError(
                    f"{folder}: {other} and {this} have equal answers to the last digit, so they are one model; make "
                    "the copy again, or delete it"
                )
    return entries


def _read(folder: Path, contract: Contract) -> Entry:
    for name in (ENTRY, ANSWERS, TABLE):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: no such file; make it again: make entry NAME={folder.name}")
    path = folder / ENTRY
    about = read_json(path)
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise UserError(f"{path}: no entry of schema {SCHEMA}; make it again: make entry NAME={folder.name}")
    missing = [field for field, kind in FIELDS.items() if not isinstance(about.get(field), kind)]
    missing += [f"facts.{name}" for name in FACTS if name not in about.get("facts", {})]
    if missing or about.get("name") != folder.name:
        wrong = f"field '{missing[0]}' is missing or malformed" if missing else f"its name is {about.get('name')!r}"
        raise UserError(f"{path}: {wrong}; make it again: make entry NAME={folder.name}")
    _check_hashes(path, about["contract"], contract)
    check_settings(path, about["settings"], contract)
    check_stages(path, about["stages"], contract)
    answers = read_table(folder / ANSWERS, ANSWER).sort_by([(name, "ascending") for name in ("task", "item", "seed")])
    check_answers(folder / ANSWERS, answers, contract)
    found = folder / DIAGNOSIS
    return Entry(folder.name, about, answers, read_json(found) if found.is_file() else {})


def _check_hashes(path: Path, found: Any, contract: Contract) -> None:
    """Raise UserError that names each part of the speech and the items that is not the contract's."""
    other = [part for part in PARTS if found.get(part) != getattr(contract.world, part)]
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

    Raises UserError if the accuracies in the table.csv of an entry in `folder` are not those of its answers.
    """
    seed, analysis, cells = contract.settings["seed"], contract.analysis, [*product(TASKS, NORMS)]
    pairs = {entry.name: scored_pairs(entry, contract) for entry in entries}
    accuracies: dict[str, dict[Cell, Estimate]] = {}
    for entry in entries:
        own, rung = pairs[entry.name], entry.about["rung"]
        accuracies[entry.name] = {
            (task, norm): estimate_accuracy(own[task], rung, task, norm, seed, analysis) for task, norm in cells
        }
        _check_table(folder / entry.name / TABLE, accuracies[entry.name])
    first_task = next(iter(TASKS))
    order = sorted(entries, key=lambda entry: (-accuracies[entry.name][first_task, MAIN].value, entry.name))
    top, out = pairs[order[0].name], []
    for entry in order:
        behind = {}
        for task, norm in cells:
            random = generator(seed, "leaderboard", entry.name, task, norm)
            both = top[task].outcomes(norm), pairs[entry.name][task].outcomes(norm)
            behind[task, norm] = compare(*both, analysis.confidence, analysis.resamples, random).difference
        out.append(Standing(entry, accuracies[entry.name], behind))
    return out


def _check_table(path: Path, accuracies: Mapping[Cell, Estimate]) -> None:
    """Raise UserError if a table.csv has an accuracy that is not that of the answers."""
    (row, *others) = read_csv(path) or [{}]
    for (task, norm), found in accuracies.items():
        name = f"{task}_{norm}"
        if others or row.get(name) != percent(found.value):
            raise UserError(
                f"{path}: {name} is {row.get(name)}, and by the answers in {ANSWERS} it is {percent(found.value)}; "
                "a table is not edited: make the entry again"
            )
