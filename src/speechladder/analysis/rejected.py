"""results/rejected.csv: what each stage left out, and why."""

import re
from collections import Counter
from pathlib import Path

from speechladder.analysis.csv_tables import write_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.files import read_jsonl

COLUMNS = ("stage", "reason", "count")
BY_SHARD = ("corpus", "alignment", "units")  # stages that write a file per shard


def reason_kind(reason: str) -> str:
    """A reason without its details: 'too fast: 31.2 phones/s' becomes 'too fast', and quoted words become '...'."""
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r"'[^']*'", "'...'", reason.split(": ")[0])).strip() or "unknown"


def write_rejected(results: Path, shards: int) -> None:
    """Write results/rejected.csv from the rejected files of the stages.

    A stage without rejects has one row with count 0. Files of shards from `shards` on belong to an earlier run and are
    not counted.
    """
    files = {stage: [results / stage / f"rejected.{n}.jsonl" for n in range(shards)] for stage in BY_SHARD}
    files["tokens"] = [results / "tokens" / "rejected.jsonl"]
    files["benchmarks"] = [results / "benchmarks" / task / "rejected.jsonl" for task in TASKS]
    rows = []
    for stage, paths in files.items():
        counts: Counter[str] = Counter()
        for path in filter(Path.is_file, paths):
            counts.update(reason_kind(str(row.get("reason", ""))) for row in read_jsonl(path))
        found = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) or [("none", 0)]
        rows += [dict(zip(COLUMNS, (stage, *pair))) for pair in found]
    write_csv(results / "rejected.csv", COLUMNS, rows)
