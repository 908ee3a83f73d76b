"""The user's units dealt to the shards of the corpus, in one pass over the files: units/given/.

Rows wait in memory until there are MEMORY bytes of them, then they are written as one Parquet file with a row group for
each shard; a shard's job reads its row groups alone. So neither the files nor a shard's part of them need to fit into
memory here, and no more than one file is open, however many shards there are.
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
from speechladder.units.external.names import Names
from speechladder.units.external.read import EMPTY, Row, rows

MEMORY = 1 << 28  # bytes of rows that wait
STEP = 256  # rows between two looks at the bar
_ROW = 500  # bytes of a row beside its numbers
_PART = pa.schema(
    [
        ("shard", pa.int32()),
        ("name", pa.string()),
        ("recording", pa.bool_()),  # whether the name is a recording's, else an utterance's
        ("units", pa.list_(pa.uint16())),
        ("durations", pa.list_(pa.uint16())),
        ("problem", pa.string()),
        ("where", pa.string()),
    ]
)


def deal(files: Sequence[Path], cuts: Sequence[Path], out: Path, memory: int = MEMORY) -> None:
    """Write the folder `out`: the rows of `files` that are of this corpus, by shard, each as often as shards need it.

    `cuts` are the shards' cuts in order. What is of no utterance (items, another corpus) is counted and left out.
    Raises UserError where nothing is of this corpus, and as `read.rows` does.
    """
    names, count, strange = Names(cuts), 0, []
    strangers = 0
    with atomic_folder(out) as folder, progress("units: deal", names.count, "rows/s") as bar:
        waiting = _Waiting(folder, memory)
        for path in files:
            for row in rows([path]):
                count += 1
                if not count % STEP:
                    bar.advance(STEP)
                try:
                    shards, recording = names.find(row.name)
                except UserError as error:
                    raise UserError(f"{row.where}: {error}") from None
                for shard in shards:
                    waiting.add(shard, recording, row)
                if not shards:
                    strangers += 1
                    strange = strange if len(strange) == 3 else [*strange, row.name]
        shown = ", ".join(map(repr, strange))
        if strangers == count:
            ours = ", ".join(map(repr, names.first))
            raise UserError(
                f"units.path: none of the {count} rows of {files[0]} (...) is of an utterance of this corpus. They are "
                f"called {shown}, its utterances {ours}. Use those ids, or the names of the recordings' files "
                "(results/units/to_encode lists both: docs/your-tokenizer.md)"
            )
        if strangers:
            say(f"units: {strangers} of {count} rows are of no utterance of the corpus, first {shown}")
        waiting.spill()


class _Waiting:
    """Rows that are not on disk yet."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder, self._memory = folder, memory
        self._rows: list[tuple[int, bool, Row]] = []
        self._bytes, self._files = 0, 0

    def add(self, shard: int, recording: bool, row: Row) -> None:
        # copies: a row may be a view of a batch
        row = row._replace(units=row.units.copy(), durations=None if row.durations is None else row.durations.copy())
        self._rows.append((shard, recording, row))
        self._bytes += _ROW + 2 * len(row.units) * (1 if row.durations is None else 2)
        if self._bytes >= self._memory:
            self.spill()

    def spill(self) -> None:
        """Write them, a row group for each shard."""
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
        lists([row.units for *_, row in some]),
        lists([row.durations for *_, row in some]),
        [row.problem for *_, row in some],
        [row.where for *_, row in some],
    ]
    return pa.table(dict(zip(_PART.names, columns)), schema=_PART)


def lists(values: Sequence[np.ndarray | None]) -> pa.Array:
    """(n,) uint16 arrays, or None, as a column of lists."""
    lengths = [0 if value is None else len(value) for value in values]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    flat = np.concatenate([EMPTY, *(value for value in values if value is not None)])
    missing = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.array(flat, pa.uint16()), mask=missing)


def dealt(folder: Path, shard: int) -> Iterator[tuple[bool, Row]]:
    """(whether it is a recording's, row) of a shard, in the order of the files."""
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
                    row = Row(name[at], units[at].values.to_numpy(), lasting, problem[at], where[at])
                    yield recording[at], row
