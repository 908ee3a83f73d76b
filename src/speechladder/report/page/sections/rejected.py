"""What the stages left out, and why."""

from pathlib import Path

from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.rejected import COLUMNS
from speechladder.report.page.section import Section, Table


def section(results: Path) -> Section:
    """A row for each stage and reason, and how many there are in all."""
    rows = read_csv(results / "rejected.csv", COLUMNS)
    left = [row for row in rows if int(row["count"])]
    clean = [row["stage"] for row in rows if not int(row["count"])]
    lines = [[row["stage"], row["reason"], f"{int(row['count']):,}"] for row in left]
    table = (
        Table("Left out, by stage and reason", ["stage", "reason", "count"], lines, frozenset({1})) if left else None
    )
    total = sum(int(row["count"]) for row in left)
    context = {"table": table, "total": total, "clean": clean}
    return Section("What was left out", "rejected", "rejected.html.j2", context)
