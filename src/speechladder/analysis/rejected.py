"""results/rejected.csv: what each stage left out, and why (invariant 4)."""

import re
from collections import Counter
from pathlib import Path

from speechladder.analysis.csv_tables import write_csv
from speechladder.io.files import read_jsonl

COLUMNS = ("stage", "reason", "count")
STAGES = ("corpus", "alignment", "units", "tokens", "benchmarks")


def kind(reason: str) -> str:
    """The reason without its particulars: 'too fast: 31.2 phones/s' is 'too fast', quoted words are '...'."""
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r"'[^']*'", "'...'", reason.split(": ")[0])).strip() or "unknown"


def write_rejected(results: Path) -> None:
    """Write results/rejected.csv from {stage}/**/rejected*.jsonl; a stage without rejects has one row with count 0."""
    rows = []
    for stage in STAGES:
        counts: Counter[str] = Counter()
        for path in sorted((results / stage).rglob("rejected*.jsonl")):
            counts.update(kind(str(row.get("reason", ""))) for row in read_jsonl(path))
        found = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) or [("none", 0)]
        rows += [dict(zip(COLUMNS, (stage, *pair))) for pair in found]
    write_csv(results / "rejected.csv", COLUMNS, rows)
