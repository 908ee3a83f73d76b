"""A plan: the jobs that are left, stage by stage, with what they cost."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from speechladder.plan.context import Context
from speechladder.plan.costs import NOT_ESTIMATED, Work, job_cost
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.jobs import Job, Jobs, jobs_of_a_new_run
from speechladder.plan.models import Model, plan_model
from speechladder.settings import STAGES


@dataclass(frozen=True)
class Stage:
    """A row: jobs that are left, hours of speech that they read, their cost, and hours on the wall."""

    name: str
    jobs: int
    hours: Figure
    cost: Cost
    wall: Figure

    @property
    def figures(self) -> dict[str, Figure]:
        """The figures of the row by name."""
        cost = self.cost
        return {"hours_of_speech": self.hours, "disk_bytes": cost.disk, "cpu_hours": cost.cpu, "gpu_hours": cost.gpu,
                "wall_hours": self.wall}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The rows, the jobs by rule of rules that belong to no row, and the models that are trained."""

    stages: list[Stage]
    unknown: dict[str, int]
    models: list[Model]

    @property
    def total(self) -> Stage:
        """All rows together; hours on the wall as if one stage followed the other."""
        cost, wall = Cost(), Figure()
        for stage in self.stages:
            cost, wall = cost + stage.cost, wall + stage.wall
        return Stage("total", sum(s.jobs for s in self.stages) + sum(self.unknown.values()), Figure(), cost, wall)

    @property
    def room(self) -> dict[str, float]:
        """Bytes that are downloaded, as far as they are known, and bytes that the run writes beside them."""
        fetched = sum(stage.cost.disk.value for stage in self.stages if stage.name == "download")
        return {"downloads": fetched, "written": self.total.cost.disk.value - fetched}


def make(context: Context, jobs: Jobs) -> Plan:
    """Return the plan of the jobs that Snakemake lists, or of a run that has not begun if Snakemake failed."""
    counts = jobs_of_a_new_run(context.settings, context.files) if jobs.error else jobs.counts
    by_stage: dict[str, dict[Job, int]] = {stage.title: {} for stage in STAGES.values()}
    unknown: Counter[str] = Counter()
    for job, count in counts.items():
        if job.rule in STAGES and job.rule not in NOT_ESTIMATED:
            by_stage[STAGES[job.rule].title][job] = count
        elif job.rule != "all":
            unknown[job.rule] += count
    rungs = list(context.settings.rungs)
    models = sorted(by_stage["train"], key=lambda job: (job.point, [*rungs, job.rung].index(job.rung)))
    stages = [_stage(name, context, found) for name, found in by_stage.items() if found]
    return Plan(stages, dict(unknown), [_model(context, job) for job in models])


def _stage(name: str, context: Context, jobs: Mapping[Job, int]) -> Stage:
    """Return the row of some jobs."""
    speech, cost, wall = Figure(), Cost(), Figure()
    by_rule: dict[str, list[tuple[Work, int]]] = {}
    for job, count in jobs.items():
        work = job_cost(context, job)
        by_rule.setdefault(job.rule, []).append((work, count))
        speech, cost = speech + work.speech.times(count), cost + work.cost.times(count)
    for works in by_rule.values():
        wall += _wall(context, works)
    if name == "train":
        wall = _training_wall(context, jobs)
    elif name == "download":
        wall = context.cpu(cost.disk, "download", 3600).cpu
    return Stage(name, sum(jobs.values()), speech, cost, wall)


def _wall(context: Context, works: Iterable[tuple[Work, int]]) -> Figure:
    """Return the hours on the wall of a rule's jobs, spread over the GPUs if they use one, else over the cores."""
    hours, cores, on_gpu = Figure(), 0, False
    for work, count in works:
        hours, cores = hours + work.cost.hours.times(count), cores + work.cores * count
        on_gpu = on_gpu or work.cost.gpu.value > 0
    return hours.times(1 / min(cores, context.machine.gpus if on_gpu else context.machine.cpus))


def _model(context: Context, job: Job) -> Model:
    name = f"{job.rung} {job.point.partition('/')[2].strip('/')}".strip()
    return plan_model(context.at_point(job.point), job.rung, name)


def _training_wall(context: Context, jobs: Mapping[Job, int]) -> Figure:
    """Return the hours on the wall of the trainings, the longest first.

    Each takes lm.processes GPUs, or lm.processes times lm.threads cores. Communication of processes is not counted.
    """
    lm, machine = context.settings.lm, context.machine
    places = max(1, machine.gpus or machine.cpus // lm.threads)
    together = min(lm.processes, places)
    models = [(_model(context, job), count) for job, count in jobs.items()]
    hours = [model.hours / together for model, count in models for _ in range(count)]
    basis = sum((model.cost.hours for model, _ in models), Figure()).basis
    return Figure(makespan(hours, places // together), basis)


def makespan(hours: Iterable[float], lanes: int) -> float:
    """Return the hours until all jobs are done on `lanes` places, if the longest start first."""
    busy = [0.0] * lanes
    for job in sorted(hours, reverse=True):
        heapq.heapreplace(busy, busy[0] + job)
    return max(busy)
