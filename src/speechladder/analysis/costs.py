"""results/costs.csv: the time and memory of each stage, from Snakemake's benchmark files and the logs of the jobs."""

import csv
import math
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow.compute as pc

from speechladder.analysis.csv_tables import fixed, write_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io import usage
from speechladder.io.errors import UserError
from speechladder.io.tables import UTTERANCES, read_table

COLUMNS = (
    "stage", "jobs", "wall_seconds", "cpu_seconds", "peak_memory_mb", "speech_seconds", "real_time_factor",
)  # fmt: skip
SPEECH_STAGES = ("build_corpus", "speak_corpus", "align", "extract_units")  # stages that pass once over the corpus
# these run after this table, or for another one
LEFT_OUT = (
    "make_table",
    "make_report",
    "variability",
    "variability_run",
    "causes",
    "causes_run",
    "questions",
    "synthesized_run",
)
MEASURES = ("s", "cpu_time", "max_rss")  # seconds, seconds, MB


def read_benchmark(path: Path) -> dict[str, float]:
    """Wall seconds `s`, `cpu_time` and `max_rss` in MB of one job; NaN if Snakemake could not measure a value.

    A job that ends before Snakemake's first sample has '-' or NA there. If a file has several lines (repeats, a header
    written twice), times are their mean and memory is their maximum. Raises UserError that names a file without wall
    time.
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


def log_of(path: Path) -> Path:
    """The log of the job whose benchmark file is costs/{rule}/{job}.tsv: logs/{rule}/{job}.log, logs/{rule}.log."""
    logs, rule = path.parents[2] / "logs", path.parent.name
    return logs / f"{rule}.log" if path.stem == "all" else logs / rule / f"{path.name[:-4]}.log"


def read_job(path: Path) -> dict[str, float]:
    """What `read_benchmark` returns, or CPU seconds and memory of the last line of the job's log, if they are more.

    Neither overstates them: samples miss what lies between them, and the log has the memory of the largest process,
    where samples have that of all together.
    """
    found = read_benchmark(path)
    if used := usage.read(log_of(path)):
        for name, value in (("cpu_time", used.cpu_seconds), ("max_rss", used.peak_mb)):
            found[name] = value if math.isnan(found[name]) else max(found[name], value)
    return found


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def speech_seconds(utterances: Path) -> float:
    """Seconds of speech that reach the ladder (tokens/utterances.parquet)."""
    return float(pc.sum(read_table(utterances, UTTERANCES, ["seconds"])["seconds"]).as_py() or 0.0)


def job_names(shards: int, rungs: Sequence[str], seeds: Sequence[int]) -> set[str]:
    """The names of a run's benchmark files: shards, rungs, models, tasks, and `all` for a rule with one job."""
    models = {f"{rung}.seed{seed}" for rung in rungs for seed in seeds}
    return {"all", *map(str, range(shards)), *rungs, *models, *TASKS}


def write_costs(results: Path, jobs: Collection[str]) -> None:
    """Write results/costs.csv from results/costs/{rule}/{job}.tsv and the logs, with the stages in alphabetical order.

    `jobs` comes from `job_names`; files of other jobs belong to an earlier run with more shards, rungs or seeds and are
    ignored. wall_seconds is a sum over jobs that may have run side by side. The real-time factor is wall seconds per
    second of speech that reaches the ladder, so speech that was rejected adds to the time alone. An empty cell means
    that a value was not measured.
    """
    seconds = speech_seconds(results / "tokens" / "utterances.parquet")
    rows = []
    for folder in sorted(path for path in (results / "costs").glob("*") if path.is_dir()):
        if folder.name in LEFT_OUT:
            continue
        found = [read_job(path) for path in sorted(folder.glob("*.tsv")) if path.name[:-4] in jobs]
        if not found:
            continue
        wall = sum(job["s"] for job in found)
        cpu = [job["cpu_time"] for job in found if not math.isnan(job["cpu_time"])]
        memory = [job["max_rss"] for job in found if not math.isnan(job["max_rss"])]
        spoken = folder.name in SPEECH_STAGES and seconds > 0
        values = [folder.name, len(found), fixed(wall, 1), fixed(sum(cpu) if cpu else None, 1)]
        values += [fixed(max(memory, default=None), 0)]
        values += [fixed(seconds, 1), fixed(wall / seconds, 4)] if spoken else ["", ""]
        rows.append(dict(zip(COLUMNS, values)))
    write_csv(results / "costs.csv", COLUMNS, rows)
