"""results/rejected.csv: what each stage left out, and why (invariant 4)."""

import re
from collections import Counter
from pathlib import Path

from speechladder.analysis.csv_tables import write_csv
from speechladder.io.files import read_jsonl
from speechladder.settings import TASKS

COLUMNS = ("stage", "reason", "count")
BY_SHARD = ("corpus", "alignment", "units")


def kind(reason: str) -> str:
    """The reason without its particulars: 'too fast: 31.2 phones/s' is 'too fast', quoted words are '...'."""
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r"'[^']*'", "'...'", reason.split(": ")[0])).strip() or "unknown"


def write_rejected(results: Path, shards: int) -> None:
    """Write results/rejected.csv from the stages' rejected files; a stage without rejects has one row with count 0.

    Those of shards from `shards` on are of an earlier run.
    """
    files = {stage: [results / stage / f"rejected.{n}.jsonl" for n in range(shards)] for stage in BY_SHARD}
    files["tokens"] = [results / "tokens" / "rejected.jsonl"]
    files["benchmarks"] = [results / "benchmarks" / task / "rejected.jsonl" for task in TASKS]
    rows = []
    for stage, paths in files.items():
        counts: Counter[str] = Counter()
        for path in filter(Path.is_file, paths):
            counts.update(kind(str(row.get("reason", ""))) for row in read_jsonl(path))
        found = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) or [("none", 0)]
        rows += [dict(zip(COLUMNS, (stage, *pair))) for pair in found]
    write_csv(results / "rejected.csv", COLUMNS, rows)
