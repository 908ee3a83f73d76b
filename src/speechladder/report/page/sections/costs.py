"""Where the minutes went: the jobs of a run in time, and what each stage took."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import altair as alt

from speechladder.analysis.compare import run_settings
from speechladder.analysis.costs import COLUMNS, LEFT_OUT, job_names, read_benchmark
from speechladder.analysis.csv_tables import read_csv
from speechladder.report.notes import Row
from speechladder.report.page import charts
from speechladder.report.page.numbers import duration, number
from speechladder.report.page.section import Chart, Section, Table

ROW = 19  # pixels of a stage
BAR = {"height": 11, "color": "var(--link)", "opacity": 0.75}  # jobs side by side are darker
IDLE = 60.0  # seconds without a job from which a pause is cut out


class Job(NamedTuple):
    """A job of a stage: its name, and its first and last second."""

    stage: str
    name: str
    start: float
    end: float


def section(results: Path) -> Section | None:
    """The jobs in time, if their times can be believed, and a table; None if nothing was measured."""
    rows = read_csv(results / "costs.csv", COLUMNS)
    if not rows:
        return None
    jobs, cut = without_pauses(read_jobs(results, [row["stage"] for row in rows]))
    wall, cpu = (sum(number(row[name]) or 0 for row in rows) for name in ("wall_seconds", "cpu_seconds"))
    context = {
        "chart": _gantt(jobs) if jobs else _bars(rows),
        "in_time": bool(jobs),
        "cut": cut,
        "span": duration(max(job.end for job in jobs)) if jobs else "",
        "wall": duration(wall),
        "cpu": duration(cpu),
        "numbers": _numbers(rows),
    }
    return Section("Where the time went", "costs", "costs.html.j2", context)


def read_jobs(results: Path, stages: Sequence[str]) -> list[Job]:
    """The jobs of these stages in the order of their starts; none if their times cannot be believed.

    A job ends when Snakemake writes its benchmark file, and lasts as long as that file says. In a folder that was
    copied without the times of its files, all jobs seem to end within seconds.
    """
    found, own = [], _own_jobs(results)
    paths = [path for stage in stages for path in (results / "costs" / stage).glob("*.tsv")]
    for path in paths:
        if path.parent.name in LEFT_OUT or (own and path.name[:-4] not in own):
            continue
        end, seconds = path.stat().st_mtime, read_benchmark(path)["s"]
        found.append(Job(path.parent.name, path.name[:-4], end - seconds, end))
    ends = [job.end for job in found]
    longest = max((job.end - job.start for job in found), default=0.0)
    if len(found) > 1 and max(ends) - min(ends) < longest:
        return []
    first = min((job.start for job in found), default=0.0)
    return sorted(
        (job._replace(start=job.start - first, end=job.end - first) for job in found), key=lambda job: job.start
    )


def _own_jobs(results: Path) -> set[str]:
    """The names of the run's jobs, as costs.csv has them; empty if the run left no record of its settings."""
    settings = run_settings(results)
    if not settings:
        return set()
    return job_names(settings["corpus"]["shards"], settings["rungs"], settings["lm"]["seeds"])


def without_pauses(jobs: Sequence[Job]) -> tuple[list[Job], int]:
    """The jobs, moved so that no minute is left in which none runs, and how many pauses were cut out."""
    moved, last, gone, cut = [], 0.0, 0.0, 0
    for job in jobs:
        if job.start - last > IDLE:
            gone, cut = gone + job.start - last, cut + 1
        last = max(last, job.end)
        moved.append(job._replace(start=job.start - gone, end=job.end - gone))
    return moved, cut


def _gantt(jobs: Sequence[Job]) -> Chart:
    stages = list(dict.fromkeys(job.stage for job in jobs))
    values = [
        {
            "stage": job.stage,
            "start": round(job.start / 60, 3),
            "end": round(job.end / 60, 3),
            "job": "" if job.name == "all" else job.name,
            "took": duration(job.end - job.start),
        }
        for job in jobs
    ]
    base, y = charts.layer(values), charts.rows_of("stage", stages)
    axis = alt.Axis(title="minutes from the start", tickCount=6, grid=True)
    x = alt.X("start:Q", axis=axis, scale=alt.Scale(nice=False))
    hover = charts.tooltip(("stage", "stage"), ("job", "job"), ("took", "took"))
    bars = base.mark_bar(x2Offset=-1, **BAR).encode(x=x, x2="end:Q", y=y, tooltip=hover)
    # the shortest jobs are seen by their starts
    starts = base.mark_tick(thickness=2, xOffset=1, **BAR).encode(x=x, y=y, tooltip=hover)
    label = "The jobs of the run in time, a row for each stage; the sums are in the table."
    return charts.finish(("costs-time", "The jobs in time", label), values, [bars, starts], ROW * len(stages))


def _bars(rows: Sequence[Row]) -> Chart:
    values = [{"stage": row["stage"], "value": (number(row["wall_seconds"]) or 0) / 60} for row in rows]
    values.sort(key=lambda value: -value["value"])
    stages = [value["stage"] for value in values]
    x = alt.X("value:Q", axis=alt.Axis(title="minutes, summed over jobs", tickCount=6))
    bars = charts.layer(values).mark_bar(**BAR).encode(x=x, y=charts.rows_of("stage", stages))
    label = "Minutes of each stage, summed over its jobs; the figures are in the table."
    return charts.finish(("costs-stages", "Minutes of each stage", label), values, [bars], ROW * len(stages))


def _numbers(rows: Sequence[Row]) -> Table:
    head = ["stage", "jobs", "wall s", "CPU s", "peak MB", "s per second of speech"]
    columns = ("stage", "jobs", "wall_seconds", "cpu_seconds", "peak_memory_mb", "real_time_factor")
    return Table(
        "What each stage took, summed over its jobs", head, [[row[name] or "–" for name in columns] for row in rows]
    )
