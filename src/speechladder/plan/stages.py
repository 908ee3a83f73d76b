"""A plan: the jobs that are left, stage by stage, with what they cost."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from speechladder.plan.context import Context
from speechladder.plan.costs import Work, job_cost
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.jobs import Job, Jobs, jobs_of_a_new_run
from speechladder.plan.models import Model, plan_model

# The rows of a plan and the rules of each. plan.costs says what a job of each costs.
RULES = {
    "download": ("download",),
    "unpack": ("unpack_archive", "index_archive"),
    "corpus": ("build_corpus", "split_manifest", "audit_corpus"),
    "align": ("align", "fetch_mfa", "prepare_mfa", "train_mfa", "alignment_quality", "phone_durations"),
    "k-means sample": (
        *("sample_features", "features_abx", "speaker_statistics"),
        *("sweep_samples", "sweep_speakers", "sweep_voices"),
    ),
    "k-means": ("train_kmeans", "sweep_kmeans"),
    "units": ("extract_units", "units_quality", "deal_units", "sweep_units", "sweep_quality"),
    "tokens": ("tokenize_rung", "select_utterances", "sweep_tokens", "take_fraction"),
    "train": ("train_lm", "sweep_lm", "train_scaled"),
    "items": (
        *("make_items", "transcribe_stories", "voice_statistics", "extract_item_units", "tokenize_items"),
        *("sweep_item_units", "sweep_item_tokens"),
    ),
    "scores": ("score_rung", "sweep_scores", "score_scaled"),
    "continue": (
        *("continue_rung", "make_prompts", "extract_prompt_units", "build_asr", "train_vocoder", "transcribe_rung"),
        *("transcribe_reference", "make_judge_text", "train_judge", "judge_continuations"),
    ),
    "report": ("make_table", "export_slm21", "units_sweep", "scaling"),
}


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
    stage_of = {rule: stage for stage, rules in RULES.items() for rule in rules}
    by_stage: dict[str, dict[Job, int]] = {name: {} for name in RULES}
    unknown: Counter[str] = Counter()
    for job, count in counts.items():
        if job.rule in stage_of:
            by_stage[stage_of[job.rule]][job] = count
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
    name = f"{job.rung} {job.point.partition('/')[2]}".strip()
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
