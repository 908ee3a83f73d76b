"""What a run has done, does now and has left, from Snakemake's events."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from speechladder.io.progress import duration
from speechladder.plan.left import Planned, corrected, time_left
from speechladder.settings.stages import STAGES

OVERDUE = 0.1  # of the time that a job has taken, left if it takes longer than expected
SHOWN = 3  # running jobs that a line names
TAIL = 20_000  # bytes of a log that are looked at
LINES = 30  # of the log of a failed job that are shown; a traceback is shown from its beginning
_PERCENT = re.compile(r"(?:^|[ (])(\d{1,3}) ?%[ ,)]")


class Run:
    """The jobs of a run by their ids; `clock` gives seconds. Nothing here prints."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.begun = clock, clock()
        self.total = 0
        self.jobs: dict[int, Planned] = {}
        self.running: dict[int, float] = {}  # when each started
        self.took: dict[int, float] = {}  # seconds of each finished job
        self.failed: set[int] = set()
        self.cores: float = 1
        self.estimated = False  # whether `jobs` are all jobs, with their expected seconds

    def expect(self, jobs: Mapping[int, Planned], cores: float, estimated: bool) -> None:
        """Take all jobs of the run."""
        self.jobs, self.cores, self.estimated, self.total = dict(jobs), cores, estimated, len(jobs)

    def meet(self, number: int, rule: str, wildcards: Mapping[str, str], log: str) -> None:
        """Take a job that starts, if it was not among those that were expected."""
        self.jobs.setdefault(number, Planned(rule, dict(wildcards), log=log))
        self.total = max(self.total, len(self.jobs))

    def start(self, number: int) -> None:
        """Note that a job starts, perhaps after a failure."""
        self.running[number] = self.clock()
        self.failed.discard(number)

    def finish(self, number: int) -> list[str]:
        """Note that a job has ended well; return the title of its stage if that ends with it."""
        self.took[number] = self.clock() - self.running.pop(number, self.clock())
        stage = self._stage(number)
        return [stage] if stage and all(n in self.took for n in self.jobs if self._stage(n) == stage) else []

    def fail(self, number: int) -> None:
        """Note that a job has failed."""
        self.running.pop(number, None)
        self.failed.add(number)

    def _stage(self, number: int) -> str:
        job = self.jobs.get(number)
        return STAGES[job.rule].title if job and job.rule in STAGES else ""

    def stages(self) -> tuple[int, int]:
        """Return how many stages are done, and how many there are."""
        all_of = {self._stage(n) for n in self.jobs} - {""}
        return len(all_of - {self._stage(n) for n in self.jobs if n not in self.took}), len(all_of)

    def left(self) -> float | None:
        """Return the seconds that the run still takes; None if they are not known."""
        if not self.estimated:
            return None
        jobs = corrected(self.jobs, self.took)
        rest = {number: job for number, job in jobs.items() if number not in self.took}
        for number, since in self.running.items():
            if number in rest:
                rest[number] = replace(rest[number], seconds=self._job_left(number, rest[number], self.clock() - since))
        return time_left(rest, self.running, self.cores)

    def _job_left(self, number: int, job: Planned, taken: float) -> float:
        """By the share that the job's log says is done, where it can say so; else by what is expected."""
        expected = max(job.seconds - taken, OVERDUE * taken)
        done = share_done(job.log) if job.rule == "train_lm" else None
        return taken * (1 - done) / done if done and done > 0.05 else expected

    def line(self) -> str:
        """Return the run in one line: jobs, stages, time left, and what runs now, the longest first."""
        seconds, (done, stages) = self.left(), self.stages()
        parts = [f"{len(self.took)}/{self.total} jobs"] + [f"{done}/{stages} stages"] * bool(stages and self.estimated)
        if seconds is not None and self.running:
            parts.append(f"about {duration(seconds)} left")
        parts += [f"{len(self.failed)} failed"] * bool(self.failed)
        names = [self._now(n) for n in sorted(self.running, key=self.running.__getitem__)]
        more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
        now = ", ".join([*names[:SHOWN], *more])
        return f"[{clock_text(self.clock() - self.begun)}] {', '.join(parts)}" + (f": {now}" if now else "")

    def name(self, number: int) -> str:
        """Return a job as a reader calls it: 'train_lm speech-hubert seed 0'."""
        job = self.jobs.get(number)
        return job_name(job.rule, job.wildcards) if job else f"job {number}"

    def _now(self, number: int) -> str:
        job = self.jobs.get(number)
        done = share_done(job.log) if job else None
        return self.name(number) + ("" if done is None else f" ({100 * done:.0f} %)")


def job_name(rule: str, wildcards: Mapping[str, str]) -> str:
    """Return a rule with what its job is about.

    >>> job_name("train_lm", {"point": "", "rung": "text-bpe", "seed": "0"})
    'train_lm text-bpe seed 0'
    """
    words = [f"{name} {value}" if value.isdigit() else value.strip("/") for name, value in wildcards.items() if value]
    return " ".join([rule, *words])


def clock_text(seconds: float) -> str:
    """Return a time as a clock shows it: '4:10', '1:04:10'."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def tail(log: str) -> str:
    """Return the end of a log; '' if there is none."""
    try:
        with Path(log).open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - TAIL))
            return handle.read().decode(errors="replace")
    except OSError:
        return ""


def share_done(log: str) -> float | None:
    """Return the last share that the log of a job names (io.progress, Snakemake's own); None if there is none."""
    lines = [line for line in tail(log).splitlines() if line.strip()] if log else []
    for line in reversed(lines[-20:]):
        found = _PERCENT.search(line)
        if found:
            return min(1.0, int(found[1]) / 100)
    return None


def last_lines(log: str) -> list[str]:
    """Return what the log of a failed job says at its end: the last traceback with what follows, or the last lines."""
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", tail(log)) if line.strip()]
    begins = [n for n, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    return lines[begins[-1] :] if begins else lines[-LINES:]
