"""Tables of millions of rows, without a Python object per row: read as columns, and written in row groups."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.io.errors import UserError
from speechladder.io.files import atomic
from speechladder.io.hashing import stable_hash
from speechladder.io.spans import Span
from speechladder.io.tables import read_table

ROW_GROUP = 1 << 20  # rows, pyarrow's default: a growing table gets the same bytes as one that is written at once


class GrowingTable:
    """A Parquet table to which rows are appended (see `growing_table`)."""

    def __init__(self, writer: pq.ParquetWriter, rows: int) -> None:
        self._writer, self._rows = writer, rows
        self._waiting: list[pa.Table] = [writer.schema.empty_table()]
        self._count, self._begun = 0, False

    def append(self, columns: dict[str, Sequence[Any]]) -> None:
        """Append rows, given as columns of equal length in the order of the schema."""
        self._waiting.append(pa.table(columns, schema=self._writer.schema))
        self._count += len(self._waiting[-1])
        if self._count >= self._rows:
            held = pa.concat_tables(self._waiting)
            whole = self._count - self._count % self._rows
            for start in range(0, whole, self._rows):
                self._write(held.slice(start, self._rows))
            self._waiting, self._count = [held.slice(whole)], self._count - whole

    def close(self) -> None:
        """Write the rows that are still in memory."""
        if self._count or not self._begun:
            self._write(pa.concat_tables(self._waiting))

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.combine_chunks(), row_group_size=self._rows)
        self._begun = True


@contextmanager
def growing_table(path: str | Path, schema: pa.Schema, rows: int = ROW_GROUP) -> Iterator[GrowingTable]:
    """Yield a table to append to. It becomes `path` if the block succeeds, and is removed otherwise.

    At most `rows` rows, one row group, are held in memory. The bytes are those of `tables.write_table`.
    """
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        table = GrowingTable(writer, rows)
        yield table
        table.close()


def batches(
    path: str | Path, schema: pa.Schema, columns: Sequence[str], size: int = 1 << 16
) -> Iterator[pa.RecordBatch]:
    """Stream `columns` of a table, at most `size` rows at a time; raises UserError as `tables.read_table` does."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid):
        read_table(path, schema, [columns[0]])  # raises a UserError that says what is wrong
        raise
    with file:
        here = file.schema_arrow
        for name in columns:
            if name not in here.names or here.field(name).type != schema.field(name).type:
                raise UserError(
                    f"{path}: column {name!r} is missing or not {schema.field(name).type}; delete it and run again"
                )
        yield from file.iter_batches(batch_size=size, columns=list(columns))


class SpanColumn:
    """A column of lists of tables.SPAN. `column[n]` gives row n, and no other row becomes Python objects.

    `labels` (spans,) is dictionary-encoded, `starts` and `ends` (spans,) are float64 seconds, `lengths` (rows,) int64.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        lists = column.combine_chunks()
        spans = lists.flatten()
        self.labels: pa.DictionaryArray = spans.field("label").dictionary_encode()
        self.starts: np.ndarray = spans.field("start").to_numpy(zero_copy_only=False)
        self.ends: np.ndarray = spans.field("end").to_numpy(zero_copy_only=False)
        self.lengths: np.ndarray = lists.value_lengths().fill_null(0).to_numpy().astype(np.int64)
        self._last = np.cumsum(self.lengths)
        self._names: list[str] = self.labels.dictionary.to_pylist()
        self._codes: np.ndarray = self.labels.indices.to_numpy()

    def __getitem__(self, row: int) -> list[Span]:
        here = slice(self._last[row] - self.lengths[row], self._last[row])
        labels = [self._names[code] for code in self._codes[here].tolist()]
        return list(map(Span, labels, self.starts[here].tolist(), self.ends[here].tolist()))

    def rows_with(self, labels: set[str]) -> dict[int, set[str]]:
        """Row -> those of `labels` that occur in it, for the rows that have any."""
        wanted = np.array([name in labels for name in self._names], bool)
        at = np.flatnonzero(wanted[self._codes]) if wanted.any() else np.zeros(0, np.int64)
        found: dict[int, set[str]] = {}
        for row, code in zip(np.searchsorted(self._last, at, "right").tolist(), self._codes[at].tolist()):
            found.setdefault(row, set()).add(self._names[code])
        return found

    @property
    def names(self) -> set[str]:
        """Every label that occurs in the column."""
        return set(self._names)


class SeenIds:
    """A set of ids that takes 8 bytes each: sorted runs of 64-bit hashes, each at most half as long as the one before.

    The probability that two of eleven million ids share a hash is 3e-6.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def among(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that were added before."""
        hashes = _hashes(ids)
        met = np.zeros(len(ids), bool)
        for run in self._runs:
            met |= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] == hashes
        return {ids[n] for n in np.flatnonzero(met)}

    def add(self, ids: Sequence[str]) -> None:
        """Add ids."""
        if len(ids):
            self._runs.append(np.sort(_hashes(ids)))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            self._runs[-2:] = [np.sort(np.concatenate(self._runs[-2:]))]


def _hashes(ids: Sequence[str]) -> np.ndarray:
    return np.fromiter((stable_hash(name) for name in ids), np.uint64, len(ids))
