"""Growing tables, streams of batches and columns of spans give the same as plain tables, in less memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speechladder.io.columns import SeenIds, SpanColumn, batches, growing_table
from speechladder.io.errors import UserError
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ALIGNMENT, SPAN, TOKEN_INDEX, UNITS, read_table, write_table


def index(rows: range) -> list[dict]:
    return [{"id": f"utterance {n}", "offset": 3 * n, "length": n % 7, "seconds": n / 7} for n in rows]


def columns(rows: list[dict]) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in TOKEN_INDEX.names}


@pytest.mark.parametrize("sizes", [[0], [1], [5, 5], [3, 10, 1, 12], [25], [10, 10]])
def test_a_table_that_grows_has_the_bytes_of_one_written_at_once(tmp_path: Path, sizes: list[int]) -> None:
    start = 0
    with growing_table(tmp_path / "grown", TOKEN_INDEX, rows=10) as table:
        for size in sizes:
            table.append(columns(index(range(start, start + size))))
            start += size
    whole = pa.Table.from_pylist(index(range(start)), TOKEN_INDEX)
    pq.write_table(whole, tmp_path / "once", compression="zstd", row_group_size=10)
    assert (tmp_path / "grown").read_bytes() == (tmp_path / "once").read_bytes()
    assert read_table(tmp_path / "grown", TOKEN_INDEX).to_pylist() == index(range(start))


def test_a_small_table_is_as_write_table_has_it(tmp_path: Path) -> None:
    with growing_table(tmp_path / "grown", TOKEN_INDEX) as table:
        for n in range(0, 30, 6):
            table.append(columns(index(range(n, n + 6))))
    write_table(tmp_path / "once", index(range(30)), TOKEN_INDEX)
    assert (tmp_path / "grown").read_bytes() == (tmp_path / "once").read_bytes()
    with growing_table(tmp_path / "grown", TOKEN_INDEX):
        pass
    write_table(tmp_path / "once", [], TOKEN_INDEX)
    assert (tmp_path / "grown").read_bytes() == (tmp_path / "once").read_bytes()


def test_a_failed_table_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), growing_table(tmp_path / "grown", TOKEN_INDEX) as table:
        table.append(columns(index(range(3))))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_batches_are_the_table(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", index(range(25)), TOKEN_INDEX)
    parts = list(batches(tmp_path / "t.parquet", TOKEN_INDEX, ["id", "length"], size=10))
    assert [len(part) for part in parts] == [10, 10, 5]
    assert [row["length"] for part in parts for row in part.to_pylist()] == [n % 7 for n in range(25)]


def test_errors_of_batches_are_those_of_read_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run the stage"):
        list(batches(tmp_path / "t.parquet", TOKEN_INDEX, ["id"]))
    (tmp_path / "t.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        list(batches(tmp_path / "t.parquet", TOKEN_INDEX, ["id"]))
    write_table(tmp_path / "t.parquet", [], UNITS)
    with pytest.raises(UserError, match="column 'length' is missing or not int32"):
        list(batches(tmp_path / "t.parquet", TOKEN_INDEX, ["id", "length"]))


ROWS = [
    [Span("SIL", 0.0, 0.1), Span("K", 0.1, 0.25)],
    [],
    [Span("XX1", 0.0, 0.5)],
    [Span("K", 0.5, 0.7), Span("YY", 0.7, 0.7), Span("XX1", 0.7, 1.0)],
]


def test_spans_by_row() -> None:
    parts = [pa.array([as_rows(row) for row in rows], pa.list_(SPAN)) for rows in (ROWS[:1], ROWS[1:])]
    column = SpanColumn(pa.chunked_array(parts))
    assert [column[n] for n in range(4)] == ROWS
    assert column.lengths.tolist() == [2, 0, 1, 3] and column.names == {"SIL", "K", "XX1", "YY"}
    assert column.rows_with({"XX1", "YY", "nothing"}) == {2: {"XX1"}, 3: {"XX1", "YY"}}
    assert column.rows_with({"nothing"}) == {}
    sliced = SpanColumn(pa.chunked_array([parts[1].slice(1, 1)]))
    assert sliced[0] == ROWS[2] and sliced.names == {"XX1"}
    empty = SpanColumn(pa.chunked_array([], pa.list_(SPAN)))
    assert len(empty.lengths) == 0 and empty.rows_with({"K"}) == {}


def test_spans_of_a_table(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "words": [], "phones": as_rows(row), "seconds": 1.0, "aligner": "a"}
        for n, row in enumerate(ROWS)
    ]
    write_table(tmp_path / "a.parquet", rows, ALIGNMENT)
    column = SpanColumn(read_table(tmp_path / "a.parquet", ALIGNMENT, ["phones"]).column("phones"))
    assert [column[n] for n in range(4)] == ROWS


def test_seen_ids_are_found_again() -> None:
    seen, known = SeenIds(), set()
    for start in range(0, 1000, 37):
        ids = [f"u{n}" for n in range(start, start + 60)]
        assert seen.among(ids) == known & set(ids)
        seen.add(ids)
        known |= set(ids)
    assert seen.among([]) == set() and seen.among(["other"]) == set()
