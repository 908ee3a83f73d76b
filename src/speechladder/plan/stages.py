"""A plan: the jobs that are left, stage by stage, with what they cost."""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from speechladder.plan import costs, evaluation
from speechladder.plan.context import Context
from speechladder.plan.costs import Work
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.jobs import Job, Jobs, jobs_of_a_new_run
from speechladder.plan.models import Model, plan_model

# The rows of a plan and the rules of each. What a job of a rule costs stands in COSTS; jobs of the others take seconds.
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
        *("continue_rung", "make_prompts", "extract_prompt_units", "build_asr", "train_vocoder", "hear_rung"),
        *("hear_reference", "make_judge_text", "train_judge", "judge_continuations"),
    ),
    "report": ("make_table", "export_slm21", "units_sweep", "scaling"),
}


def _report(context: Context, job: Job) -> Work:
    return Work(Cost(cpu=Figure(context.rates.get("report").value, "assumed")))


COSTS: dict[str, Callable[[Context, Job], Work]] = {
    "download": costs.download,
    "unpack_archive": costs.unpack_archive,
    "build_corpus": costs.build_corpus,
    "split_manifest": costs.split_manifest,
    "audit_corpus": costs.audit_corpus,
    "align": costs.align,
    "train_mfa": costs.train_mfa,
    **dict.fromkeys(("sample_features", "sweep_samples"), costs.sample_features),
    **dict.fromkeys(("train_kmeans", "sweep_kmeans"), costs.train_kmeans),
    **dict.fromkeys(("extract_units", "sweep_units"), costs.extract_units),
    "sweep_quality": costs.sweep_quality,
    "select_utterances": costs.select_utterances,
    **dict.fromkeys(("tokenize_rung", "sweep_tokens"), costs.tokenize_rung),
    "take_fraction": costs.take_fraction,
    **dict.fromkeys(("train_lm", "sweep_lm", "train_scaled"), costs.train_lm),
    "make_items": evaluation.make_items,
    "transcribe_stories": evaluation.transcribe_stories,
    **dict.fromkeys(("extract_item_units", "sweep_item_units"), evaluation.item_units),
    **dict.fromkeys(("tokenize_items", "sweep_item_tokens"), evaluation.tokenize_items),
    **dict.fromkeys(("score_rung", "sweep_scores", "score_scaled"), evaluation.score_rung),
    "continue_rung": evaluation.continue_rung,
    "hear_rung": evaluation.hear_rung,
    "train_vocoder": evaluation.train_vocoder,
    "train_judge": evaluation.train_judge,
    "judge_continuations": evaluation.judge_continuations,
    **dict.fromkeys(("make_table", "units_sweep", "scaling"), _report),
}


@dataclass(frozen=True)
class Stage:
    """A row: jobs that are left, hours of speech that they read, their cost, and hours on the wall."""

    name: str
    jobs: int
    hours: Figure
    cost: Cost
    wall: Figure


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
    def fetched(self) -> Figure:
        """Bytes that are downloaded, as far as they are known."""
        return next((stage.cost.disk for stage in self.stages if stage.name == "download"), Figure())


def make(context: Context, jobs: Jobs) -> Plan:
    """Return the plan of the jobs that Snakemake lists, or of a run that has not begun if Snakemake failed."""
    counts = jobs_of_a_new_run(context.settings, context.files) if jobs.error else jobs.counts
    stages, models = [], []
    known = {rule: stage for stage, rules in RULES.items() for rule in rules}
    for name in RULES:
        chosen = {job: count for job, count in counts.items() if known.get(job.rule) == name}
        if chosen:
            stages.append(_stage(name, context, chosen))
        if chosen and name == "train":
            order = {rung: number for number, rung in enumerate(context.settings.rungs)}
            models = [
                _model(context, job) for job in sorted(chosen, key=lambda job: (job.point, order.get(job.rung, 99)))
            ]
    unknown = Counter()
    for job, count in counts.items():
        if job.rule not in known and job.rule != "all":
            unknown[job.rule] += count
    return Plan(stages, dict(unknown), models)


def _stage(name: str, context: Context, jobs: Mapping[Job, int]) -> Stage:
    """Return the row of some jobs."""
    speech, cost, wall = Figure(), Cost(), Figure()
    by_rule: dict[str, list[tuple[Work, int]]] = {}
    for job, count in jobs.items():
        if job.rule in COSTS:
            work = COSTS[job.rule](context.at_point(job.point), job)
            by_rule.setdefault(job.rule, []).append((work, count))
            speech, cost = speech + work.speech.times(count), cost + work.cost.times(count)
    for works in by_rule.values():
        wall += _wall(context, works)
    if name == "train":
        wall = _training_wall(context, jobs)
    elif name == "download" and cost.disk.value:
        wall = cost.disk.times(1 / context.rates.get("download").value / 3600, "assumed")
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

    Each takes lm.processes GPUs, or lm.processes times lm.threads cores; what processes lose by talking is not counted.
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
