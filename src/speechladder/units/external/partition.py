"""Partition external units by the shards of the corpus, in one pass over the files: units/external/.

Rows are collected in memory until there are MEMORY bytes of them. Then they are written as one Parquet file with a row
group for each shard, and the job of a shard reads only its own row groups. So neither the files nor a shard's part of
them need to fit in memory here, and only one file is open at a time, however many shards there are.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder
from speechladder.io.progress import progress, say
from speechladder.io.tables import ITEMS, read_table
from speechladder.units.external.codebooks import EMPTY
from speechladder.units.external.files import files_of
from speechladder.units.external.names import ItemNames, Names, spellings
from speechladder.units.external.read import Row, read_rows

PROBE = "probe/"  # how a diagnosis names the items of its probe speech: probe/ITEM
MEMORY = 1 << 28  # bytes of rows that are collected before they are written
STEP = 256  # rows between two updates of the progress bar
_ROW = 500  # bytes of a row in addition to its numbers
_PART = pa.schema(
    [
        ("shard", pa.int32()),
        ("name", pa.string()),
        ("recording", pa.bool_()),  # whether the name is that of a recording; otherwise it is that of an utterance
        ("units", pa.list_(pa.uint16())),
        ("durations", pa.list_(pa.uint16())),
        ("problem", pa.string()),
        ("where", pa.string()),
    ]
)


def partition_units(path: str, cuts: list[Path], out: Path, codebooks: int = 1, items: Sequence[Path] = ()) -> None:
    """Partition the units of your own tokenizer by the shards of the corpus.

    A row is written for every shard that needs it. Rows of items are left out. Rows that belong to neither are left out
    too, and counted. Raise UserError if no row belongs to this corpus, or if a file cannot be read.

    Args:
        path: units.path: the file or folder of your units
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard, in order
        out: folder to write: units/external
        codebooks: units.num_codebooks: how many ids there are for each frame
        items: items.parquet of every task, and prompts.parquet, whose rows may stand in the same files
    """
    names = {table.parent.name: read_table(table, ITEMS, columns=["item"])["item"].to_pylist() for table in items}
    partition_files(files_of(path), cuts, out, codebooks=codebooks, items=ItemNames(names) if names else None)


def partition_files(
    files: Sequence[Path],
    cuts: Sequence[Path],
    out: Path,
    memory: int = MEMORY,
    codebooks: int = 1,
    items: ItemNames | None = None,
) -> None:
    """As `partition_units`, with at most `memory` bytes of rows in memory."""
    names, count, unknown, others = Names(cuts), 0, 0, 0
    examples: list[str] = []
    with atomic_folder(out) as folder, progress("units: partition", names.count, "rows/s") as bar:
        waiting = _Waiting(folder, memory)
        for row in read_rows(files, codebooks):
            count += 1
            if not count % STEP:
                bar.advance(STEP)
            try:
                shards, recording = names.find(row.name)
            except UserError as error:
                raise UserError(f"{row.where}: {error}") from None
            for shard in shards:
                waiting.add(shard, recording, row)
            if not shards and (_of_probe(row.name) or (items and items.find(row.name))):
                others += 1
            elif not shards:
                unknown += 1
                examples = examples if len(examples) == 3 else [*examples, row.name]
        shown = ", ".join(map(repr, examples)) or "as items are"
        if unknown + others == count:
            ours = ", ".join(map(repr, names.first))
            raise UserError(
                f"units.path: none of the {count} rows of {files[0]} (...) belongs to an utterance of this corpus. The "
                f"rows are called {shown}; its utterances are called {ours}. Use those ids, or the file names of the "
                "recordings (results/units/export lists both: docs/your-tokenizer.md)"
            )
        if unknown:
            neither = " and to no item" if items else ""
            say(f"units: {unknown} of {count} rows belong to no utterance of the corpus{neither}, first {shown}")
        waiting.spill()


def _of_probe(name: str) -> bool:
    """Whether a row is of the probe speech of a diagnosis."""
    return any(spelling.startswith(PROBE) for spelling in spellings(name))


class _Waiting:
    """Rows that are not written yet."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder, self._memory = folder, memory
        self._rows: list[tuple[int, bool, Row]] = []
        self._bytes, self._files = 0, 0

    def add(self, shard: int, recording: bool, row: Row) -> None:
        # copy the arrays, because a row may be a view of a batch
        row = row._replace(units=row.units.copy(), durations=None if row.durations is None else row.durations.copy())
        self._rows.append((shard, recording, row))
        self._bytes += _ROW + row.units.nbytes + (0 if row.durations is None else row.durations.nbytes)
        if self._bytes >= self._memory:
            self.spill()

    def spill(self) -> None:
        """Write the rows, with a row group for each shard."""
        if not self._rows:
            return
        self._rows.sort(key=lambda row: row[0])
        shards = np.array([shard for shard, _, _ in self._rows])
        edges = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(shards)]
        with pq.ParquetWriter(self._folder / f"{self._files:05d}.parquet", _PART, compression="zstd") as file:
            for first, last in pairwise(edges):
                file.write_table(_as_table(self._rows[first:last]), row_group_size=last - first)
        self._files += 1
        self._rows, self._bytes = [], 0


def _as_table(some: list[tuple[int, bool, Row]]) -> pa.Table:
    columns = [
        [shard for shard, _, _ in some],
        [row.name for _, _, row in some],
        [recording for _, recording, _ in some],
        list_column([row.units.ravel() for *_, row in some]),
        list_column([row.durations for *_, row in some]),
        [row.problem for *_, row in some],
        [row.where for *_, row in some],
    ]
    return pa.table(dict(zip(_PART.names, columns)), schema=_PART)


def list_column(values: Sequence[np.ndarray | None]) -> pa.Array:
    """A column of lists from (n,) uint16 arrays or None."""
    lengths = [0 if value is None else len(value) for value in values]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    flat = np.concatenate([EMPTY, *(value for value in values if value is not None)])
    missing = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.array(flat, pa.uint16()), mask=missing)


def read_partition(folder: Path, shard: int, codebooks: int = 1) -> Iterator[tuple[bool, Row]]:
    """(whether the name is that of a recording, row) for the rows of a shard, in the order of the files.

    `codebooks` is what the rows were partitioned with.
    """
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                if file.metadata.row_group(group).column(0).statistics.min != shard:
                    continue
                table = file.read_row_group(group).combine_chunks()
                name, recording, problem, where = (
                    table.column(column).to_pylist() for column in ("name", "recording", "problem", "where")
                )
                units, durations = (table.column(column).chunk(0) for column in ("units", "durations"))
                for at in range(len(table)):
                    lasting = durations[at].values.to_numpy() if durations[at].is_valid else None
                    values = units[at].values.to_numpy()
                    values = values if codebooks == 1 else values.reshape(-1, codebooks)
                    row = Row(name[at], values, lasting, problem[at], where[at])
                    yield recording[at], row
