"""results/costs.csv: what each stage took, from Snakemake's benchmark files."""

import csv
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow.compute as pc

from speechladder.analysis.csv_tables import fixed, write_csv
from speechladder.io.errors import UserError
from speechladder.io.tables import UTTERANCES, read_table
from speechladder.settings import TASKS

COLUMNS = (
    "stage", "jobs", "wall_seconds", "cpu_seconds", "peak_memory_mb", "speech_seconds", "real_time_factor",
)  # fmt: skip
SPEECH_STAGES = ("build_corpus", "align", "extract_units")  # pass once over the corpus
LEFT_OUT = ("make_table", "variability", "variability_run")  # run after this table, or not for it
MEASURES = ("s", "cpu_time", "max_rss")  # seconds, seconds, MB


def read_benchmark(path: Path) -> dict[str, float]:
    """Wall seconds `s`, `cpu_time` and `max_rss` in MB of one job; NaN where Snakemake could not measure.

    Jobs shorter than its sampling have '-' or NA there. Of several lines (benchmark repeats, a header written twice)
    times are the mean and memory the maximum. Raises UserError naming the file when it has no wall time.
    """
    try:
        lines = list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as a benchmark file ({error}); delete it") from None
    found = {}
    for name in MEASURES:
        numbers = [n for n in (_number(line.get(name)) for line in lines) if not math.isnan(n)]
        together = max(numbers, default=math.nan) if name == "max_rss" else sum(numbers) / max(len(numbers), 1)
        found[name] = together if numbers else math.nan
    if math.isnan(found["s"]):
        raise UserError(f"{path}: column 's' holds no time; delete the file")
    return found


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def speech_seconds(utterances: Path) -> float:
    """Seconds of speech that reach the ladder (tokens/utterances.parquet)."""
    return float(pc.sum(read_table(utterances, UTTERANCES, ["seconds"])["seconds"]).as_py() or 0.0)


def jobs_of(shards: int, rungs: Sequence[str], seeds: Sequence[int]) -> set[str]:
    """Names of the benchmark files that a run leaves: by shard, rung, model, task, and `all` for a rule of one job."""
    models = {f"{rung}.seed{seed}" for rung in rungs for seed in seeds}
    return {"all", *map(str, range(shards)), *rungs, *models, *TASKS}


def write_costs(results: Path, jobs: Collection[str]) -> None:
    """Write results/costs.csv from results/costs/{rule}/{job}.tsv, stages in the order of the alphabet.

    Files of other jobs than `jobs` (of `jobs_of`) are of an earlier run with more shards, rungs or seeds.
    wall_seconds adds up jobs that may have run side by side. The real-time factor is wall seconds per second of
    speech that reaches the ladder: what was rejected on the way is paid for and not counted. Empty: not measured.
    """
    seconds = speech_seconds(results / "tokens" / "utterances.parquet")
    rows = []
    for folder in sorted(path for path in (results / "costs").glob("*") if path.is_dir()):
        if folder.name in LEFT_OUT:
            continue
        found = [read_benchmark(path) for path in sorted(folder.glob("*.tsv")) if path.name[:-4] in jobs]
        if not found:
            continue
        wall = sum(job["s"] for job in found)
        cpu = [job["cpu_time"] for job in found if not math.isnan(job["cpu_time"])]
        memory = [job["max_rss"] for job in found if not math.isnan(job["max_rss"])]
        spoken = folder.name in SPEECH_STAGES and seconds > 0
        values = [folder.name, len(found), fixed(wall, 1), fixed(sum(cpu), 1) if cpu else ""]
        values += [fixed(max(memory), 0) if memory else ""]
        values += [fixed(seconds, 1), fixed(wall / seconds, 4)] if spoken else ["", ""]
        rows.append(dict(zip(COLUMNS, values)))
    write_csv(results / "costs.csv", COLUMNS, rows)
