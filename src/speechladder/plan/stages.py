"""A plan: what each stage costs as a whole, and how much of it is still to be done."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from speechladder.constants import FRAME_RATE
from speechladder.plan import evaluation
from speechladder.plan.context import Context, encoder_config
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.inputs import File, Jobs
from speechladder.plan.models import Model, plan_model
from speechladder.plan.rates import worst
from speechladder.settings import CORPORA

SAMPLE_SHARE = 0.5  # of an utterance's frames that the k-means sample takes (units.sample.SHARE, which imports torch)
ITEM_CORES = 8  # of the aligner of an official benchmark (workflow/rules/benchmarks.smk)
RULES = {  # of each stage; the first is the one whose jobs tell how much is left
    "download": ("download",),
    "unpack": ("unpack_archive", "index_archive"),
    "corpus": ("build_corpus", "split_manifest", "audit_corpus"),
    "align": ("align", "fetch_mfa", "prepare_mfa", "train_mfa", "alignment_quality", "phone_durations"),
    "k-means sample": ("sample_features", "features_abx", "speaker_statistics"),
    "k-means": ("train_kmeans",),
    "units": ("extract_units", "units_quality", "partition_units"),
    "tokens": ("tokenize_rung", "select_utterances"),
    "train": ("train_lm",),
    "items": ("make_items", "transcribe_stories", "voice_statistics", "extract_item_units", "tokenize_items"),
    "scores": ("score_rung",),
    "continue": (
        "continue_rung",
        *("make_prompts", "extract_prompt_units", "build_asr", "train_vocoder", "hear_rung", "hear_reference"),
        *("make_judge_text", "train_judge", "judge_continuations"),
    ),
    "report": ("make_table", "export_slm21"),
}


@dataclass(frozen=True)
class Stage:
    """A row: jobs still to be run, hours of speech that they pass over, their cost, and hours on the wall."""

    name: str
    jobs: int
    hours: Figure
    cost: Cost
    wall: Figure


@dataclass(frozen=True)
class Plan:
    """The rows, those of them that Snakemake has and this module does not know, and the models."""

    stages: list[Stage]
    unknown: dict[str, int]
    models: list[Model]

    @property
    def total(self) -> Stage:
        """All rows together; hours on the wall as if stages ran one after the other."""
        cost, wall = Cost(), Figure()
        for stage in self.stages:
            cost, wall = cost + stage.cost, wall + stage.wall
        return Stage("total", sum(s.jobs for s in self.stages) + sum(self.unknown.values()), Figure(), cost, wall)


@dataclass(frozen=True)
class _Whole:
    """A stage before anything of it is done: its leading rule's jobs, hours of speech, cost, how many run at once."""

    jobs: int
    hours: Figure
    cost: Cost
    lanes: int
    others: int = 0  # jobs of its other rules
    cores: int = 1  # of a job


def make(context: Context, files: list[File], jobs: Jobs) -> Plan:
    """The plan of a run. Jobs as Snakemake counts them; where it could not, those of a run that has not begun."""
    models = [
        plan_model(rung, context.settings, context.hours, context.rates, context.machine, context.results)
        for rung in context.settings.rungs
    ]
    wholes, stages = _wholes(context, files, models), []
    for name, whole in wholes.items():
        counts = [jobs.counts.get(rule, 0) for rule in RULES[name]]
        if jobs.error:
            counts = [whole.jobs, whole.others]
        share = min(1.0, counts[0] / whole.jobs) if whole.jobs else 0.0
        if name == "train":
            stages.append(_training(context, models, counts[0]))
            continue
        cost = whole.cost.times(share)
        wall = cost.cpu.times(1 / whole.lanes / whole.cores) + cost.gpu.times(1 / whole.lanes)
        if name == "download" and cost.disk.value:
            wall = cost.disk.times(1 / context.rates.get("download").value / 3600, "assumed")
        stages.append(Stage(name, sum(counts), whole.hours.times(share), cost, wall))
    known = {rule for rules in RULES.values() for rule in rules} | {"all"}
    unknown = {rule: count for rule, count in jobs.counts.items() if rule not in known}
    return Plan([stage for stage in stages if stage.jobs], unknown, models)


def _wholes(context: Context, files: list[File], models: list[Model]) -> dict[str, _Whole]:
    s, machine = context.settings, context.machine
    speech = Figure(context.hours.total, context.hours.basis)
    shards, cores, one = s.corpus.shards, machine.cpus, Figure()
    encoders = machine.gpus or cores
    rungs = len(s.rungs)
    found = evaluation.items(context)
    heard, continuing = evaluation.continuing(context, models)
    spoken = heard > 0 or continuing.cpu.value + continuing.gpu.value > 0
    absent = [file for file in files if not file.there]
    packed = [file for file in absent if file.name.endswith((".tar.gz", ".tgz"))]
    tars = len(s.corpus.archives) if s.corpus.name in CORPORA else 0
    sampled, sample_bytes = _sample(context)
    codebooks = int(s.units.source != "external")
    speakers = int(codebooks and s.units.normalisation == "speaker")
    return {
        "download": _Whole(len(absent), one, Cost(disk=_size(absent)), 1),
        "unpack": _Whole(tars, one, _unpacking(context, packed), min(cores, max(tars, 1))),
        "corpus": _Whole(shards, speech, _corpus(context), min(shards, cores), 2),
        "align": _Whole(shards, speech, _aligning(context), cores, 1),
        "k-means sample": _Whole(
            codebooks, sampled, context.encode(sampled.value) + Cost(disk=sample_bytes), 1, speakers
        ),
        "k-means": _Whole(codebooks, one, _kmeans(context), 1),
        "units": _Whole(shards, speech, _units(context), min(shards, encoders), 1),
        "tokens": _Whole(rungs, speech.times(rungs), _tokens(context, models), min(rungs, cores), 1),
        "train": _Whole(rungs * len(s.lm.seeds), one, Cost(), 1),
        "items": _Whole(
            3,
            Figure(found.hours, found.basis),
            evaluation.making(context, found),
            1,
            rungs + 2 + speakers,
            min(ITEM_CORES, cores),
        ),
        "scores": _Whole(rungs, one, evaluation.scoring(context, models, found), min(rungs, encoders)),
        "continue": _Whole(
            rungs if spoken else 0,
            Figure(heard, "derived"),
            continuing,
            min(rungs, encoders),
            rungs + 7 if spoken else 0,
        ),
        "report": _Whole(1, one, Cost(cpu=Figure(context.rates.get("report").value, "assumed")), 1),
    }


def _size(files: Iterable[File]) -> Figure:
    """Bytes of downloads, as far as they are known."""
    return Figure(sum(file.bytes or 0.0 for file in files), "published")


def _unpacking(context: Context, packed: list[File]) -> Cost:
    size = _size(packed)
    if not packed:
        return Cost()
    speed = context.rates.get("unpack")
    return Cost(cpu=size.times(1 / speed.value / 3600, speed.basis), disk=size.times(1.0, "assumed"))


def _corpus(context: Context) -> Cost:
    hours, basis, name = context.hours, context.hours.basis, context.settings.corpus.name
    cost = context.starts(context.settings.corpus.shards, "start_light")
    cost += Cost(disk=context.stored(hours.total, "bytes_cuts", basis))
    if name == "world":
        spoken = Cost(
            cpu=context.at(hours.total, "speak", basis), disk=context.stored(hours.total, "bytes_world", basis)
        )
        return cost + spoken
    cuts, speed = hours.total * 3600 / hours.utterance, context.rates.get("manifest")
    once = Figure(cuts / speed.value / 3600, worst([speed.basis, "derived", basis]))
    if name == "libriheavy":
        cost += Cost(disk=context.stored(cuts, "bytes_manifest", basis))
    return cost + Cost(cpu=once.times(3))  # dealt to shards, checked against the audio, counted


def _aligning(context: Context) -> Cost:
    s, hours = context.settings, context.hours
    cost = context.starts(s.corpus.shards, "start_light")
    cost += Cost(disk=context.stored(hours.total, "bytes_alignment", hours.basis))
    if s.alignment.aligner in ("truth", "textgrids"):
        return cost
    rate = "align_mfa" if s.alignment.aligner == "mfa" else "align_pocketsphinx"
    cost += Cost(cpu=context.at(hours.total, rate, hours.basis))
    if s.alignment.aligner == "mfa" and s.alignment.mfa_model is None:
        # training passes over its speech some forty times
        cost += Cost(cpu=context.at(40 * min(s.alignment.mfa_train_hours, hours.train), rate, "assumed"))
    return cost


def _sample(context: Context) -> tuple[Figure, Figure]:
    """(hours of speech encoded for the k-means sample, bytes of the sample)."""
    units, hours = context.settings.units, context.hours
    speech = min(hours.train, units.sample_frames / FRAME_RATE / 3600 / SAMPLE_SHARE)
    frames = min(units.sample_frames, hours.train * 3600 * FRAME_RATE)
    width = encoder_config(units.encoder)[0]["hidden_size"]
    return Figure(speech, "derived"), Figure(4.0 * width * frames, "derived")


def _kmeans(context: Context) -> Cost:
    units = context.settings.units
    width = encoder_config(units.encoder)[0]["hidden_size"]
    frames = min(units.sample_frames, context.hours.train * 3600 * FRAME_RATE)
    frames = min(frames, units.clusters * units.max_points_per_centroid)
    flops = 2.0 * frames * units.clusters * width * units.iterations
    flops *= units.kmeans_restarts
    if units.kmeans in ("torch", "faiss-gpu"):
        return context.flops(flops, "kmeans_flops", "fp32") + context.starts(1)
    rate = context.rates.get("kmeans_flops")  # auto too: whether faiss-gpu will be there is not known here
    return Cost(cpu=Figure(flops / rate.value / 3600, worst([rate.basis, "derived"]))) + context.starts(
        1, "start_light"
    )


def _units(context: Context) -> Cost:
    hours = context.hours
    cost = context.encode(hours.total, hours.basis) + context.assign(hours.total, hours.basis)
    disk = context.stored(hours.total, "bytes_units", hours.basis)
    return cost + context.starts(context.settings.corpus.shards) + Cost(disk=disk)


def _tokens(context: Context, models: list[Model]) -> Cost:
    hours = context.hours
    cost = Cost(cpu=context.at(hours.total, "select", hours.basis))
    cost += Cost(cpu=context.at(hours.total * len(models), "tokenize", hours.basis))
    share = hours.total / hours.train
    for model in models:
        utterances = hours.total * 3600 / hours.utterance
        disk = Figure(2.0 * model.pass_tokens * share, worst([model.rate.basis, hours.basis]))
        cost += Cost(disk=disk + Figure(30.0 * utterances, "assumed"))  # id, offset, length, seconds of each
    return cost


def _training(context: Context, models: list[Model], left: int) -> Stage:
    """The models that are not there yet, each one on lm.processes GPUs or as many times lm.threads cores, the longest
    first; as if many processes lost nothing to talking."""
    s = context.settings
    todo = [
        model
        for model in models
        for seed in s.lm.seeds
        if not (context.results / "lm" / model.rung / f"seed{seed}").exists()
    ]
    if left and left != len(todo):  # Snakemake makes some anew that are there: which, its table does not say
        todo = sorted((m for m in models for _ in s.lm.seeds), key=lambda m: -m.hours)[:left]
    cost = context.starts(left)
    for model in todo if left else ():
        disk = Figure(model.kept, "derived")
        cost += Cost(cpu=model.cpu, gpu=model.gpu, disk=disk)
    places = context.machine.gpus or context.machine.cpus // s.lm.threads
    together = min(s.lm.processes, max(1, places))
    wall = makespan([model.hours / together for model in todo] if left else [], max(1, places // together))
    basis = worst([cost.cpu.basis, cost.gpu.basis])
    return Stage("train", left, Figure(), cost, Figure(wall, basis))


def makespan(hours: Iterable[float], lanes: int) -> float:
    """Hours until jobs are done on `lanes` places, the longest begun first."""
    busy = [0.0] * lanes
    for job in sorted(hours, reverse=True):
        heapq.heapreplace(busy, busy[0] + job)
    return max(busy)


def unknown_hint(unknown: Mapping[str, int]) -> str:
    """A line for rules that have no estimate."""
    return ", ".join(f"{rule} ({count})" for rule, count in unknown.items())


def needs_room(plan: Plan, files: list[File]) -> tuple[float, float]:
    """(bytes still to be downloaded, bytes that the run writes beside them)."""
    downloads = _size(file for file in files if not file.there).value
    total = plan.total.cost.disk.value
    fetched = next((stage.cost.disk.value for stage in plan.stages if stage.name == "download"), 0.0)
    return downloads, total - fetched
