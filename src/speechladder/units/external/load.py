"""Load external units as the run's units: of a shard, of items and of prompts. Each is checked against its audio."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.alignment.cuts import aligned_ids
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.columns import GrowingTable, growing_table
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import EXTERNAL_UNITS, ITEMS, read_table
from speechladder.settings import Corpus, Units
from speechladder.units.external.codebooks import Loaded, one_stream
from speechladder.units.external.files import files_of
from speechladder.units.external.names import ItemNames, Owners
from speechladder.units.external.partition import list_column, read_partition
from speechladder.units.external.read import Row, read_rows
from speechladder.units.external.times import rate_mismatch, window

ROWS = 4096  # rows in a row group; they are held in memory until they are written
SHOWN = 3  # ids in an error message


class UnitsError(Exception):
    """A row's units cannot belong to the utterance or item that it names; the text is the reason."""


def load_units(
    units: Units,
    out: list[Path],
    partition: Path | None = None,
    shard: int | None = None,
    cuts: Path | None = None,
    alignment: Path | None = None,
    rejected: Path | None = None,
    items: Sequence[Path] = (),
    max_rejected: float = Corpus().max_rejected,
) -> None:
    """Load the units of your own tokenizer for a shard of the corpus, or for the items of benchmarks.

    Raise UserError if an input is missing, and as `load_shard` and `load_items` do.

    Args:
        out: the table to write, one for each of --items
        partition: units/external, which scripts/partition_units.py wrote; needs the options below, up to --rejected
        shard: number of the shard
        cuts: corpus/cuts.{shard}.jsonl.gz
        alignment: alignment/{shard}.parquet; only aligned utterances are loaded
        rejected: units/rejected.{shard}.jsonl to write
        items: benchmarks/{task}/items.parquet or continuation/prompts.parquet, in place of --partition
    """
    if units.source != "external":
        raise UserError("--source external and --path are needed")
    if bool(partition) == bool(items) or len(out) != len(items or [partition]):
        raise UserError("give either --partition or --items, and as many files to --out as there are items")
    if items:
        field = "units.items_path" if units.items_path else "units.path"
        load_items(items, out, files_of(units.items_path or units.path, field), units)
    elif partition and shard is not None and cuts and alignment and rejected:
        load_shard(partition, shard, cuts, alignment, out[0], rejected, units, max_rejected)
    else:
        raise UserError("--partition needs --shard, --cuts, --alignment and --rejected")


def checked_units(same: Sequence[Row], seconds: float, units: Units) -> Loaded:
    """The units (n,) or (n, codebooks) uint16, and durations, of the rows of one name, checked against `seconds`.

    Raise UnitsError if the rows are unusable, or if their units do not fit the settings or the duration. Raise
    UserError, with both places, if two rows have different units, because then one of them is not of this name.
    """
    row = same[0]
    for other in same:
        if other.problem:
            raise UnitsError(other.problem)
        if not (np.array_equal(row.units, other.units) and _same(row.durations, other.durations)):
            raise UserError(
                f"{row.where} ({row.name!r}) and {other.where} ({other.name!r}): different units of the same speech; "
                "leave out the wrong ones"
            )
    if row.units.max() >= units.clusters:
        at, *book = (int(place) for place in np.argwhere(row.units >= units.clusters)[0])
        of = f" of codebook {book[0] + 1}" if book else ""
        raise UnitsError(f"unit {row.units[(at, *book)]} at place {at}{of}, but units.clusters is {units.clusters}")
    durations = row.durations if units.rate else None
    if units.repeat and durations is None:
        raise UnitsError("no durations, which units.repeat needs")
    if reason := rate_mismatch(row.units, durations, units.rate, seconds):
        raise UnitsError(reason)
    return (np.repeat(row.units, durations, axis=0), None) if units.repeat else (row.units, durations)


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


# What writes the audio of items, and of the probe of a diagnosis.
_EXPORT = ("`snakemake results/units/export --cores all`", "`make diagnose-audio`")


class _Table:
    """An EXTERNAL_UNITS table to which rows are added."""

    def __init__(self, growing: GrowingTable, units: Units) -> None:
        self._growing, self._units, self._rows = growing, units, []

    def add(self, id: str, loaded: Loaded, seconds: float) -> None:
        self._rows.append((id, *one_stream(*loaded, self._units), seconds))
        if len(self._rows) == ROWS:
            self.flush()

    def flush(self) -> None:
        ids, units, durations, seconds = map(list, zip(*self._rows)) if self._rows else ([],) * 4
        columns = [ids, list_column(units), list_column(durations), seconds]
        self._growing.append(dict(zip(EXTERNAL_UNITS.names, columns)))
        self._rows = []


def _schema(units: Units) -> pa.Schema:
    """The schema of the table; its metadata says what the units are, of all codebooks together."""
    streams = units.streams
    return EXTERNAL_UNITS.with_metadata(
        {
            "source": "external",
            "rate": f"{units.rate * streams:g}",
            "clusters": str(units.vocabulary),
            "repeat": str(units.repeat),
        }
        | ({"codebooks": str(streams)} if streams > 1 else {})
    )


def rate_of(path: str | Path) -> float:
    """The rate of an EXTERNAL_UNITS table in units per second; 0 if they have none."""
    return float((pq.read_schema(path).metadata or {})[b"rate"])


def codebooks_of(path: str | Path) -> tuple[int, int]:
    """(codebooks in the stream of an EXTERNAL_UNITS table, ids of each); (1, 0) where there are not several."""
    metadata = pq.read_schema(path).metadata or {}
    count = int(metadata.get(b"codebooks", 1))
    return count, int(metadata[b"clusters"]) // count if count > 1 else 0


def load_shard(
    folder: Path,
    shard: int,
    cuts: Path,
    alignment: Path,
    out: Path,
    rejected: Path,
    units: Units,
    max_rejected: float,
) -> None:
    """Write units/{shard}.parquet (EXTERNAL_UNITS): the aligned utterances of a shard in the order of its cuts.

    Their units come from `folder` (partition_units): the utterance's own, or its part of the units of its recording.
    The units of the shard are held in memory. Utterances with missing or mismatched units are listed in `rejected`.
    Raise UserError if their share exceeds `max_rejected`.
    """
    aligned = aligned_ids(alignment)
    owners = Owners(read_cuts(cuts))
    own, whole = defaultdict(list), defaultdict(list)
    for recording, row in read_partition(folder, shard, units.num_codebooks):
        (whole[owners.recording(row.name)] if recording else own[owners.cut(row.name)]).append(row)
    rejects, recordings = Rejects(), {}
    with growing_table(out, _schema(units), ROWS) as growing:
        table = _Table(growing, units)
        for cut in owners.cuts.values():
            if cut.id not in aligned:
                continue
            same = own.get(cut.id) or whole.get(cut.path) or []
            try:
                loaded = (
                    checked_units(same, cut.duration, units) if cut.id in own else _part(same, cut, units, recordings)
                )
            except UnitsError as error:
                rejects.add(cut.id, str(error), same[0].where if same else cuts)
                continue
            table.add(cut.id, loaded, cut.duration)
        table.flush()
        rejects.write(rejected, len(aligned), max_rejected)


def _part(same: Sequence[Row], cut: Cut, units: Units, recordings: dict[str, Loaded | UnitsError]) -> Loaded:
    """The part of a recording's units that belongs to a cut; `recordings` caches them. Raise UnitsError."""
    if not same:
        raise UnitsError("no units of it in units.path")
    if cut.path not in recordings:
        try:
            recordings[cut.path] = checked_units(same, cut.num_samples / cut.sampling_rate, units)
        except UnitsError as error:
            recordings[cut.path] = error
    found = recordings[cut.path]
    if isinstance(found, UnitsError):
        raise found
    if not cut.start and round(cut.duration * cut.sampling_rate) == cut.num_samples:
        return found
    if not units.rate:
        raise UnitsError(
            "the units are those of its whole recording, and without a rate (units.rate) its part is unknown"
        )
    part = window(*found, units.rate, cut.start, cut.duration)
    reason = rate_mismatch(*part, units.rate, cut.duration) if len(part[0]) else "no unit within it"
    if reason:
        raise UnitsError(f"of its recording's units: {reason}")
    return part


def load_items(items: Sequence[Path], out: Sequence[Path], files: Sequence[Path], units: Units) -> None:
    """Write benchmarks/{task}/units.parquet (EXTERNAL_UNITS, `id` is the item) of each of `items` (ITEMS or PROMPTS).

    A row's name is an item, task/item, or the file that `export.export_audio` wrote. The units of all items are held in
    memory. Raise UserError, with the number and the first three, if items have missing or mismatched units. Nothing is
    rejected here, because a pair must not lose a member.
    """
    tables = {path.parent.name: read_table(path, ITEMS, columns=["item", "seconds"]) for path in items}
    wanted = {
        task: dict(zip(*table.select(["item", "seconds"]).to_pydict().values())) for task, table in tables.items()
    }
    found = _rows_of(wanted, files, units.num_codebooks)
    missing = [f"{task}/{item}" for task, some in wanted.items() for item in some if (task, item) not in found]
    if missing:
        total = sum(map(len, wanted.values()))
        raise UserError(
            f"units.items_path: {len(missing)} of {total} items have no units in {files[0]} (...), first "
            f"{', '.join(map(repr, missing[:SHOWN]))}; {_EXPORT['probe' in wanted]} writes their audio, which your "
            "tokenizer then encodes (docs/your-tokenizer.md)"
        )
    loaded, wrong = {}, []
    for (task, item), same in found.items():
        try:
            loaded[task, item] = checked_units(same, wanted[task][item], units)
        except UnitsError as error:
            wrong.append(f"{task}/{item}: {error} ({same[0].where})")
    if wrong:
        raise UserError(
            f"units.items_path: {len(wrong)} of {len(found)} items have units that do not fit them: "
            f"{'; '.join(wrong[:SHOWN])}; correct them and run again"
        )
    for (task, some), path in zip(wanted.items(), out, strict=True):
        with growing_table(path, _schema(units), ROWS) as growing:
            table = _Table(growing, units)
            for item, seconds in some.items():
                table.add(item, loaded[task, item], seconds)
            table.flush()


def _rows_of(
    wanted: dict[str, dict[str, float]], files: Sequence[Path], codebooks: int
) -> dict[tuple[str, str], list[Row]]:
    """The rows of each (task, item). Raise UserError if a name without a task means items of two tasks."""
    names, found = ItemNames(wanted), defaultdict(list)
    with progress("units of items", sum(map(len, wanted.values())), "items/s") as bar:
        for row in read_rows(files, codebooks):
            owners = names.find(row.name)
            if len(owners) > 1:
                tasks = " and ".join(task for task, _ in owners)
                raise UserError(f"{row.where}: {row.name!r} is an item of {tasks}; write TASK/{row.name}")
            if owners:
                kept = None if row.durations is None else row.durations.copy()
                found[owners[0]].append(row._replace(units=row.units.copy(), durations=kept))
                bar.advance(1)
    return found
