"""results/variability.csv: loss and accuracies at each level of the world's variability (factor C), a run per level."""

from collections.abc import Iterable
from pathlib import Path

from speechladder.analysis.csv_tables import accuracy_columns, read_csv, write_csv


def variability_columns() -> tuple[str, ...]:
    """The columns of variability.csv, with those of every registered task."""
    return ("variability", "rung", "valid_bits_per_second", *accuracy_columns())


def combine_levels(tables: Iterable[tuple[int, Path]], out: Path) -> None:
    """Write `out` from (variability level, its table.csv): rows by level, then in the order of the tables.

    Raises UserError that names a table that is missing or lacks a column.
    """
    rows, columns = [], variability_columns()
    for level, path in sorted(tables):
        for row in read_csv(path, columns[1:]):
            rows.append({name: row.get(name, level) for name in columns})
    write_csv(out, columns, rows)
