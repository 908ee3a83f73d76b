"""results/variability.csv: loss and accuracies against the world's dial for factor C, a run per setting of the dial."""

from collections.abc import Iterable
from pathlib import Path

from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.analysis.table import ACCURACIES

COLUMNS = ("variability", "rung", "valid_bits_per_second", *ACCURACIES)


def combine(tables: Iterable[tuple[int, Path]], out: Path) -> None:
    """Write `out` from (setting of the dial, its table.csv), rows by setting, then as in the tables.

    Raises UserError naming the table that is missing or lacks a column.
    """
    rows = []
    for variability, path in sorted(tables):
        for row in read_csv(path, COLUMNS[1:]):
            rows.append({name: row.get(name, variability) for name in COLUMNS})
    write_csv(out, COLUMNS, rows)
