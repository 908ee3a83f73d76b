"""The user's units as the run's: those of a shard, of items and of prompts, each checked against its audio."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.columns import GrowingTable, growing_table
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ALIGNMENT, GIVEN_UNITS, ITEMS, read_table
from speechladder.settings import Units
from speechladder.units.external.names import Owners, spellings
from speechladder.units.external.partition import dealt, lists
from speechladder.units.external.read import Row, rows
from speechladder.units.external.times import misfit, window

ROWS = 4096  # in a row group, and held before they are written
SHOWN = 3  # ids in an error
Taken = tuple[np.ndarray, np.ndarray | None]  # units, durations


class UnitsError(Exception):
    """A row's units cannot be those of what it names; the text is the reason."""


def take(some: Sequence[Row], seconds: float, units: Units) -> Taken:
    """The units that rows of one name agree on, (n,) uint16 with their durations, checked against `seconds`. Raises
    UnitsError."""
    row = some[0]
    for other in some:
        if other.problem:
            raise UnitsError(other.problem)
        if not (np.array_equal(row.units, other.units) and _same(row.durations, other.durations)):
            raise UnitsError(f"{len(some)} rows with different units ({row.where}; {other.where})")
    if row.units.max() >= units.clusters:
        at = int(np.argmax(row.units >= units.clusters))
        raise UnitsError(f"unit {row.units[at]} at place {at}, but units.clusters is {units.clusters}")
    durations = row.durations if units.rate else None
    if units.repeat and durations is None:
        raise UnitsError("no durations, by which units.repeat would write the units out")
    if reason := misfit(row.units, durations, units.rate, seconds):
        raise UnitsError(reason)
    return (np.repeat(row.units, durations), None) if units.repeat else (row.units, durations)


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


class _Table:
    """A GIVEN_UNITS table, `growing`, that rows are added to."""

    def __init__(self, growing: GrowingTable) -> None:
        self._growing, self._rows = growing, []

    def add(self, id: str, taken: Taken, seconds: float) -> None:
        self._rows.append((id, *taken, seconds))
        if len(self._rows) == ROWS:
            self.flush()

    def flush(self) -> None:
        ids, units, durations, seconds = map(list, zip(*self._rows)) if self._rows else ([],) * 4
        columns = [ids, lists(units), lists(durations), seconds]
        self._growing.append(dict(zip(GIVEN_UNITS.names, columns)))
        self._rows = []


def _schema(units: Units) -> pa.Schema:
    """The table's, whose metadata says what the units are."""
    return GIVEN_UNITS.with_metadata(
        {"source": "given", "rate": f"{units.rate:g}", "clusters": str(units.clusters), "repeat": str(units.repeat)}
    )


def rate_of(path: str | Path) -> float:
    """The rate of a GIVEN_UNITS table in units a second, 0 where they have none."""
    return float((pq.read_schema(path).metadata or {})[b"rate"])


def take_shard(
    folder: Path,
    shard: int,
    cuts: Path,
    alignment: Path,
    out: Path,
    rejected: Path,
    units: Units,
    max_rejected: float,
) -> None:
    """Write units/{shard}.parquet (GIVEN_UNITS): the aligned utterances of a shard in the order of its cuts, with the
    units that `folder` (deal.deal) has for them, their own or the part of their recording's that is theirs.

    Holds the shard's units. What has none, or some that cannot be its, goes to `rejected`; UserError above a share of
    `max_rejected`.
    """
    aligned = set(read_table(alignment, ALIGNMENT, columns=["id"])["id"].to_pylist())
    owners = Owners(read_cuts(cuts))
    own, whole = defaultdict(list), defaultdict(list)
    for recording, row in dealt(folder, shard):
        (whole[owners.recording(row.name)] if recording else own[owners.cut(row.name)]).append(row)
    rejects, recordings = Rejects(), {}
    with growing_table(out, _schema(units), ROWS) as growing:
        table = _Table(growing)
        for cut in owners.cuts.values():
            if cut.id not in aligned:
                continue
            some = own.get(cut.id) or whole.get(cut.path) or []
            try:
                taken = take(some, cut.duration, units) if cut.id in own else _part(some, cut, units, recordings)
            except UnitsError as error:
                rejects.add(cut.id, str(error), some[0].where if some else cuts)
                continue
            table.add(cut.id, taken, cut.duration)
        table.flush()
        rejects.write(rejected, len(aligned), max_rejected)


def _part(some: Sequence[Row], cut: Cut, units: Units, recordings: dict[str, Taken | UnitsError]) -> Taken:
    """A cut's part of the units of its recording, which `recordings` keeps. Raises UnitsError."""
    if not some:
        raise UnitsError("no units of it in units.path")
    if cut.path not in recordings:
        try:
            recordings[cut.path] = take(some, cut.num_samples / cut.sampling_rate, units)
        except UnitsError as error:
            recordings[cut.path] = error
    found = recordings[cut.path]
    if isinstance(found, UnitsError):
        raise found
    if not cut.start and round(cut.duration * cut.sampling_rate) == cut.num_samples:
        return found
    if not units.rate:
        raise UnitsError(
            "the units are of its whole recording, and without a rate nothing says which are its (units.rate)"
        )
    taken = window(*found, units.rate, cut.start, cut.duration)
    reason = misfit(*taken, units.rate, cut.duration) if len(taken[0]) else "no unit within it"
    if reason:
        raise UnitsError(f"of its recording's units: {reason}")
    return taken


def take_items(items: Sequence[Path], out: Sequence[Path], files: Sequence[Path], units: Units) -> None:
    """Write benchmarks/{task}/units.parquet (GIVEN_UNITS, `id` is the item) of each of `items` (ITEMS or PROMPTS).

    A row's name is an item, task/item, or the file that `listing.write_listing` wrote. Holds the items' units. Raises
    UserError, with the number and the first three, where items have no units or some that cannot be theirs: a pair must
    not lose a member, so nothing is rejected here.
    """
    tables = {path.parent.name: read_table(path, ITEMS, columns=["item", "seconds"]) for path in items}
    wanted = {
        task: dict(zip(*table.select(["item", "seconds"]).to_pydict().values())) for task, table in tables.items()
    }
    found = _rows_of(wanted, files)
    missing = [f"{task}/{item}" for task, some in wanted.items() for item in some if (task, item) not in found]
    if missing:
        total = sum(map(len, wanted.values()))
        raise UserError(
            f"units.items_path: {len(missing)} of {total} items have no units in {files[0]} (...), first "
            f"{', '.join(map(repr, missing[:SHOWN]))}; `snakemake --cores all results/units/to_encode` writes their "
            "audio, to run your tokenizer over (docs/your-tokenizer.md)"
        )
    taken, wrong = {}, []
    for (task, item), some in found.items():
        try:
            taken[task, item] = take(some, wanted[task][item], units)
        except UnitsError as error:
            wrong.append(f"{task}/{item}: {error} ({some[0].where})")
    if wrong:
        raise UserError(
            f"units.items_path: {len(wrong)} of {len(found)} items have units that cannot be theirs: "
            f"{'; '.join(wrong[:SHOWN])}; correct them and run again"
        )
    for (task, some), path in zip(wanted.items(), out, strict=True):
        with growing_table(path, _schema(units), ROWS) as growing:
            table = _Table(growing)
            for item, seconds in some.items():
                table.add(item, taken[task, item], seconds)
            table.flush()


def _rows_of(wanted: dict[str, dict[str, float]], files: Iterable[Path]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each (task, item). UserError where an item's name alone is that of two tasks' items."""
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for task, some in wanted.items():
        for item in some:
            places[f"{task}/{item}"].append((task, item))
            places[item].append((task, item))
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with progress("units of items", sum(map(len, wanted.values())), "items/s") as bar:
        for path in files:
            for row in rows([path]):
                owners = next((places[s] for s in _item_spellings(row.name) if s in places), [])
                if len(owners) > 1:
                    tasks = " and ".join(task for task, _ in owners)
                    raise UserError(f"{row.where}: {row.name!r} is an item of {tasks}; write TASK/{row.name}")
                if owners:
                    kept = None if row.durations is None else row.durations.copy()
                    found[owners[0]].append(row._replace(units=row.units.copy(), durations=kept))
                    bar.advance(1)
    return found


def _item_spellings(name: str) -> list[str]:
    """As `spellings`, the file's folder, which is the task, before its name first."""
    task, here = PurePosixPath(name).parent.name, spellings(name)
    return [name, *(f"{task}/{spelling}" for spelling in here[1:] if task), *here[1:]]
