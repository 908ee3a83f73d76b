"""The time that a run still takes: what its jobs are expected to take, and in which order they can run."""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from speechladder.plan.context import Context
from speechladder.plan.costs import NOT_ESTIMATED, job_cost
from speechladder.plan.inputs import downloads, find_machine, job_of, jobs_of_a_new_run
from speechladder.plan.rates import Rates
from speechladder.plan.speech import Measured, find_hours
from speechladder.plan.stages import RESULTS
from speechladder.settings import Settings
from speechladder.settings.causes import PHONES, SPEECH, corpus_rungs
from speechladder.workflow.record import read_record

QUICK = 3.0  # seconds of a job that a plan does not estimate: a process starts, reads and writes
PRIOR = 10.0  # seconds of expectation that measured seconds are weighed against


@dataclass(frozen=True)
class Planned:
    """A job of a run: the ids of the jobs that it waits for, its cores, and the seconds that it is expected to take."""

    rule: str
    wildcards: Mapping[str, str]
    needs: frozenset[int] = frozenset()
    cores: int = 1
    seconds: float = QUICK
    log: str = ""


def planned_jobs(dag: Any) -> dict[int, Planned]:
    """Return the jobs that a DAG of Snakemake will run, by id; their seconds are not estimated yet."""
    jobs = {job: dag.jobid(job) for job in dag.needrun_jobs()}
    return {
        number: Planned(
            job.rule.name,
            dict(job.wildcards_dict),
            frozenset(jobs[other] for other in dag.dependencies[job] if other in jobs),
            job.threads if isinstance(job.threads, int) else 1,
            log=str(next(iter(job.log), "")),
        )
        for job, number in jobs.items()
    }


def estimated(jobs: Mapping[int, Planned], settings: Settings, cores: int) -> dict[int, Planned]:
    """Return the jobs with the seconds that a plan expects of each on this machine, of which the run uses `cores`.

    Raise UserError where the hours of the corpus are not known.
    """
    rates = Rates.load()
    remade = frozenset((job.rule, job.wildcards.get("rung", "")) for job in jobs.values())
    measured = Measured(RESULTS, settings, read_record(RESULTS), remade)
    machine = find_machine(None, rates, cpus=cores)
    context = Context(settings, find_hours(settings, measured), rates, machine, measured, downloads(settings))
    return {
        number: replace(job, seconds=max(QUICK, _seconds(context, job, min(job.cores, cores))))
        for number, job in jobs.items()
    }


def _seconds(context: Context, job: Planned, cores: int) -> float:
    if job.rule in NOT_ESTIMATED:
        return _whole_run(context, job, cores)
    work = job_cost(context, job_of(job.rule, job.wildcards))
    if job.rule == "download":
        return 3600 * context.cpu(work.cost.disk, "download", 3600).cpu.value
    # the plan counts a training in hours of lm.threads cores
    together = context.settings.lm.processes if job.rule == "train_lm" else min(work.cores, cores)
    return 3600 * work.cost.hours.value / together


def _whole_run(context: Context, job: Planned, cores: int) -> float:
    """A run of the whole workflow in a folder below: two rungs without continuations, on speech of the same length."""
    rungs = corpus_rungs(job.wildcards["corpus"]) if job.rule == "causes_run" else [PHONES, SPEECH]
    quiet = context.settings.continuation.model_copy(update={"enabled": False})
    settings = context.settings.model_copy(update={"rungs": rungs, "continuation": quiet})
    inner = replace(context, settings=settings)
    counts = jobs_of_a_new_run(settings, ())
    alone = sum(3600 * job_cost(inner, each).cost.hours.value * count for each, count in counts.items())
    return (alone + QUICK * counts.total()) / cores


def time_left(jobs: Mapping[int, Planned], running: Collection[int], cores: float) -> float:
    """Return the seconds until all jobs are done on so many cores, by the seconds of each that are left.

    A job starts when those that it needs are done, and its cores are free; of those that can start, the longest does.
    A job that needs more cores than there are takes all.
    """
    waits = {number: len(job.needs & jobs.keys()) for number, job in jobs.items() if number not in running}
    users: dict[int, list[int]] = {}
    for number in waits:
        for needed in jobs[number].needs & jobs.keys():
            users.setdefault(needed, []).append(number)
    ready = [(-jobs[number].seconds, number) for number, count in waits.items() if not count]
    heapq.heapify(ready)
    ends = [(jobs[number].seconds, number) for number in running if number in jobs]
    heapq.heapify(ends)
    free, now = cores - sum(min(jobs[number].cores, cores) for _, number in ends), 0.0
    while ready or ends:
        later = []
        while ready:
            seconds, number = heapq.heappop(ready)
            wanted = min(jobs[number].cores, cores)
            if wanted > free:
                later.append((seconds, number))
                continue
            free -= wanted
            heapq.heappush(ends, (now - seconds, number))
        ready = later
        if not ends:
            break  # the running jobs hold more cores than there are: nothing to wait for
        now, ended = heapq.heappop(ends)
        free += min(jobs[ended].cores, cores)
        for user in users.get(ended, ()):
            waits[user] -= 1
            if not waits[user]:
                heapq.heappush(ready, (-jobs[user].seconds, user))
    return now


def corrected(jobs: Mapping[int, Planned], took: Mapping[int, float]) -> dict[int, Planned]:
    """Return the jobs with their seconds corrected by those that finished jobs of this run `took`.

    What the jobs of a rule took over what was expected scales the others of the rule; a rule without finished jobs is
    scaled as the whole run. Few measured seconds change little: the expectation has the weight of `PRIOR` seconds.
    """
    whole = _ratio([(took[number], jobs[number].seconds) for number in took if number in jobs], 1.0)
    rules: dict[str, list[tuple[float, float]]] = {}
    for number in took:
        if number in jobs:
            rules.setdefault(jobs[number].rule, []).append((took[number], jobs[number].seconds))
    scale = {rule: _ratio(pairs, whole) for rule, pairs in rules.items()}
    return {number: replace(job, seconds=job.seconds * scale.get(job.rule, whole)) for number, job in jobs.items()}


def _ratio(pairs: Sequence[tuple[float, float]], prior: float) -> float:
    measured, expected = map(sum, zip(*pairs)) if pairs else (0.0, 0.0)
    return (measured + prior * PRIOR) / (expected + PRIOR)
