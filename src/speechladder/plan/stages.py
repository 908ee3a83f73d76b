"""A plan: the jobs that are left, stage by stage, with what they cost."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.plan.context import Context
from speechladder.plan.costs import NOT_ESTIMATED, Model, job_cost, plan_model
from speechladder.plan.inputs import Job, Jobs, Machine, downloads, dry_run, jobs_of_a_new_run
from speechladder.plan.rates import Cost, Figure, Rates
from speechladder.plan.speech import Measured, find_hours
from speechladder.settings import STAGES, load
from speechladder.workflow.config import checked
from speechladder.workflow.presets import HOME, configuration
from speechladder.workflow.record import check_same_corpus, read_record

RESULTS = Path("results")


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
        values = (self.hours, self.cost.disk, self.cost.cpu, self.cost.gpu, self.wall)
        return dict(zip(("hours_of_speech", "disk_bytes", "cpu_hours", "gpu_hours", "wall_hours"), values))


@dataclass(frozen=True)
class Plan:
    """What is printed.

    `stages` are the rows, `unknown` the jobs of rules that belong to no row, `models` those that are trained. `error`
    is why Snakemake did not list the jobs, `conflict` why the run would not start in this folder.
    """

    context: Context
    stages: list[Stage]
    unknown: dict[str, int]
    models: list[Model]
    error: str = ""
    title: str = ""
    conflict: str = ""

    @property
    def total(self) -> Stage:
        """All rows together; hours on the wall as if one stage followed the other."""
        cost, wall = sum((s.cost for s in self.stages), Cost()), sum((s.wall for s in self.stages), Figure())
        return Stage("total", sum(s.jobs for s in self.stages) + sum(self.unknown.values()), Figure(), cost, wall)

    @property
    def room(self) -> dict[str, float]:
        """Bytes that are downloaded, as far as they are known, and bytes that the run writes beside them."""
        fetched = sum(stage.cost.disk.value for stage in self.stages if stage.name == "download")
        return {"downloads": fetched, "written": self.total.cost.disk.value - fetched}


def plan_run(
    files: Sequence[Path], words: Sequence[str], rates: Rates, machine: Machine, target: str, dry: bool = True
) -> Plan:
    """Plan the run of `target` in the working directory with config.yaml, `files` and --config `words`.

    If paths of the configuration do not exist on this machine, the plan counts with the settings as they are written
    and says what Snakemake says. Raise UserError for mistakes in the settings themselves, and for hours that are not
    known. `dry`: ask Snakemake for the jobs; else plan a run that has not begun.
    """
    config, conflict = configuration(files, words), ""
    settings = load(config, " and ".join([*map(str, files), *["--config"] * bool(words)]) or "config/config.yaml")
    try:
        settings = checked(config, HOME)
    except UserError as error:
        jobs = Jobs(error=str(error))
    else:
        jobs = dry_run(files, words, target) if dry else Jobs(error="Snakemake was not asked")
    remade = frozenset((job.rule, job.rung) for job in jobs.counts if not job.point)
    measured = Measured(RESULTS, settings, read_record(RESULTS), remade)
    context = Context(settings, find_hours(settings, measured), rates, machine, measured, downloads(settings))
    try:
        check_same_corpus(RESULTS, settings)
    except UserError as error:
        conflict = str(error)
    title = " ".join(["Plan of", ", ".join(path.stem for path in files) or "the default run", *words])
    return replace(make(context, jobs), title=title, conflict=conflict)


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
    trained = sorted(by_stage["train"], key=lambda job: (job.point, [*rungs, job.rung].index(job.rung)))
    models = {job: _model(context, job) for job in trained}
    stages = [_stage(name, context, found, models) for name, found in by_stage.items() if found]
    return Plan(context, stages, dict(unknown), list(models.values()), jobs.error)


def _model(context: Context, job: Job) -> Model:
    name = f"{job.rung} {job.point.partition('/')[2].strip('/')}".strip()
    return plan_model(context.at_point(job.point), job.rung, name)


def _stage(name: str, context: Context, jobs: Mapping[Job, int], models: Mapping[Job, Model]) -> Stage:
    """Return the row of some jobs. A rule's jobs are spread over the GPUs if they use one, else over the cores."""
    speech, cost, wall = Figure(), Cost(), Figure()
    spread: dict[str, tuple[Figure, int, int]] = {}  # by rule: hours, cores, places
    for job, count in jobs.items():
        work = job_cost(context, job)
        speech, cost = speech + work.speech.times(count), cost + work.cost.times(count)
        hours, cores, places = spread.get(job.rule, (Figure(), 0, context.machine.cpus))
        places = context.machine.gpus if work.cost.gpu.value else places
        spread[job.rule] = hours + work.cost.hours.times(count), cores + work.cores * count, places
    for hours, cores, places in spread.values():
        wall += hours.times(1 / min(cores, places))
    if name == "train":
        wall = _training_wall(context, [models[job] for job, count in jobs.items() for _ in range(count)])
    elif name == "download":
        wall = context.cpu(cost.disk, "download", 3600).cpu
    return Stage(name, sum(jobs.values()), speech, cost, wall)


def _training_wall(context: Context, models: Sequence[Model]) -> Figure:
    """Return the hours on the wall of the trainings, the longest first.

    Each takes lm.processes GPUs, or lm.processes times lm.threads cores. Communication of processes is not counted.
    """
    lm, machine = context.settings.lm, context.machine
    places = max(1, machine.gpus or machine.cpus // lm.threads)
    together = min(lm.processes, places)
    hours = [model.cost.hours for model in models]
    return Figure(makespan([h.value / together for h in hours], places // together), sum(hours, Figure()).basis)


def makespan(hours: Iterable[float], lanes: int) -> float:
    """Return the hours until all jobs are done on `lanes` places, if the longest start first."""
    busy = [0.0] * lanes
    for job in sorted(hours, reverse=True):
        heapq.heapreplace(busy, busy[0] + job)
    return max(busy)
