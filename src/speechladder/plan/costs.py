"""What a job of each rule costs: hours of speech times rates, and the operations of models."""

from collections.abc import Callable
from typing import NamedTuple

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import FRAME_RATE
from speechladder.lm.compute import active_parameters, score_flops, train_flops
from speechladder.plan.context import Context
from speechladder.plan.figures import Cost, Figure, worst
from speechladder.plan.items import all_items, task_items
from speechladder.plan.jobs import Job
from speechladder.plan.models import hub_parameters, plan_model, train_cost
from speechladder.rungs import registry
from speechladder.workflow.rungs import spoken_rungs

SAMPLE_SHARE = 0.5  # of an utterance's frames that the k-means sample takes (units.sample.SHARE, which imports torch)
MFA_PASSES = 40  # of MFA's training over its speech
MANIFEST_PASSES = 3  # over the cuts of a natural corpus: written to shards, checked against the audio, counted
JUDGE_TOKENS = 3.8  # per second of speech: 2.7 words of 1.4 tokens, assumed
JUDGED = 100  # tokens of a text, assumed
UTTERANCE_BYTES = 30  # of id, offset, length and seconds beside a rung's tokens, assumed
ITEM_CORES = 8  # of the aligner of an official benchmark (workflow/rules/official.smk)
SPOKEN = (
    "phones",
    "phone-frames",
    "units",
    "unit-runs",
)  # of registry.TRANSCRIBED_AS, for an ASR


class Work(NamedTuple):
    """A job's cost, the hours of speech that it reads, and how many cores share the job."""

    cost: Cost = Cost()
    speech: Figure = Figure()
    cores: int = 1


def _file(c: Context, job: Job) -> Figure:
    """Return the bytes of the download that a job names, 0 if they are not known."""
    return Figure(next((file.bytes or 0.0 for file in c.files if file.name == job.name), 0.0), "published")


def _make_cuts(c: Context, speech: Figure) -> Cost:
    """Return the cost of cuts: the world is spoken, a natural corpus is read from its manifests."""
    if c.settings.corpus.name == "world":
        return c.cpu(speech, "speak") + c.disk(speech, "bytes_world")
    cuts = speech.times(3600 / c.hours.utterance, "derived")
    written = c.disk(cuts, "bytes_manifest") if c.settings.corpus.name == "libriheavy" else Cost()
    return written + c.cpu(cuts.times(MANIFEST_PASSES), "manifest", 3600)


def _align(c: Context, speech: Figure) -> Cost:
    """Return the cost of the aligner; `truth` and `textgrids` have nothing to compute."""
    aligner = c.settings.alignment.aligner
    return c.cpu(speech, f"align_{aligner}") if aligner in ("mfa", "pocketsphinx") else Cost()


def _recognise(c: Context, speech: Figure) -> Cost:
    """Return the cost of the run's ASR."""
    if c.settings.continuation.asr == "pocketsphinx":
        return c.cpu(speech, "transcribe_pocketsphinx")
    return c.gpu(speech, "transcribe_gpu") if c.machine.gpus else c.cpu(speech, "transcribe_cpu")


def _items(c: Context) -> Figure:
    return all_items(c.settings, c.measured).hours


def _make_items(c: Context, job: Job) -> Work:
    """Take each task as a third of all items."""
    found, aligner = all_items(c.settings, c.measured), c.settings.alignment.aligner
    cost = c.disk(found.hours, "bytes_audio") + c.cpu(found.synthetic, "speak") + _align(c, found.hours)
    cores = ITEM_CORES if found.synthetic.value < found.hours.value or aligner == "mfa" else 1
    return Work(cost.times(1 / len(TASKS)) + c.start(), found.hours / len(TASKS), cores)


def _sample(c: Context, job: Job) -> Work:
    units = c.settings.units
    speech = Figure(min(c.hours.train, units.sample_frames / FRAME_RATE / 3600 / SAMPLE_SHARE), "derived")
    return Work(c.encode(speech) + Cost(disk=Figure(4.0 * c.width * _frames(c), "derived")), speech)


def _frames(c: Context) -> float:
    """Return the frames of the k-means sample."""
    return min(c.settings.units.sample_frames, c.hours.train * 3600 * FRAME_RATE)


def _kmeans(c: Context, job: Job) -> Work:
    """Every iteration compares every frame with every centroid."""
    units = c.settings.units
    frames = min(_frames(c), units.clusters * units.max_points_per_centroid)
    flops = Figure(2.0 * frames * units.clusters * c.width * units.iterations * units.kmeans_restarts, "derived")
    if units.kmeans in ("torch", "faiss-gpu"):
        return Work(c.flops(flops, "kmeans_flops", "fp32") + c.start())
    # also for auto: whether faiss finds a GPU is not known here
    return Work(c.cpu(flops, "kmeans_flops", 3600) + c.start("start_light"))


def _sweep_quality(c: Context, job: Job) -> Work:
    """Speech is encoded once and assigned to every codebook of the layer."""
    sweep = c.settings.sweep
    speech = Figure(min(sweep.minutes / 60, c.hours.total), "derived")
    each = sum((c.assign(speech, clusters) for clusters in sweep.clusters), Cost())
    return Work(c.encode(speech) + each.times(len(sweep.normalisations) * len(sweep.seeds)) + c.start(), speech)


def _tokenize(c: Context, job: Job) -> Work:
    model = plan_model(c, job.rung)
    tokens = Figure(2.0 * model.pass_tokens * c.hours.total / c.hours.train, worst([model.rate.basis, c.hours.basis]))
    listed = Figure(UTTERANCE_BYTES * c.hours.total * 3600 / c.hours.utterance, "assumed")
    return Work(c.cpu(c.speech, "tokenize") + Cost(disk=tokens + listed), c.speech)


def _score(c: Context, job: Job) -> Work:
    """Every item by every model, layer by layer, and the learning curve's pairs by every snapshot."""
    s, found, model = c.settings, all_items(c.settings, c.measured), plan_model(c, job.rung)
    length = found.hours.value * 3600 / max(found.count, 1) * model.rate.value + 1
    points = s.lm.learning_points if s.scores.learning else 0
    curve = min(found.count, 2 * s.scores.learning_pairs * len(TASKS) or found.count) * points
    each, last = (score_flops(s.lm, model.vocabulary, length, layers) * length for layers in (s.scores.layers, False))
    flops = (found.count * each + curve * last) * len(s.lm.seeds)
    columns = (s.lm.layers + 1) * s.scores.layers + 2
    disk = Figure(8.0 * columns * found.count * len(s.lm.seeds), found.hours.basis)
    basis = worst([found.hours.basis, model.rate.basis])
    return Work(c.flops(Figure(flops, basis), "score_flops", "fp32") + Cost(disk=disk) + c.start())


def _continuations(c: Context) -> int:
    """Return how many continuations a rung has."""
    return c.settings.continuation.prompts * c.settings.continuation.samples * len(c.settings.lm.seeds)


def _continue(c: Context, job: Job) -> Work:
    wanted, model = c.settings.continuation, plan_model(c, job.rung)
    seconds = _continuations(c) * wanted.seconds + wanted.prompts * wanted.prompt_seconds
    flops = model.rate.times(2 * active_parameters(c.settings.lm, model.vocabulary) * seconds)
    return Work(c.flops(flops, "generate_flops", "fp64") + c.start())


def _transcribe(c: Context, job: Job) -> Work:
    spoken = registry.get(job.rung).transcribed_as in SPOKEN
    speech = Figure(_continuations(c) * c.settings.continuation.seconds / 3600 * spoken, "derived")
    return Work(_recognise(c, speech) + c.start(), speech)


def _train_judge(c: Context, job: Job) -> Work:
    s = c.settings
    steps = s.continuation.judge_steps * s.lm.window * s.lm.batch_windows
    flops = Figure(train_flops(s.lm, s.tokens.text_vocab, s.lm.window) * steps)
    return Work(train_cost(c, s.lm, s.tokens.text_vocab, flops) + c.start())


def _judge(c: Context, job: Job) -> Work:
    s, wanted = c.settings, c.settings.continuation
    seconds = _continuations(c) * len(spoken_rungs(s)) * (wanted.seconds + wanted.prompt_seconds)
    each, precision = score_flops(s.lm, s.tokens.text_vocab, JUDGED, False), "fp32"
    if wanted.judge == "hf":
        each, precision = 2 * hub_parameters(wanted.judge_model).value, "bf16"
    return Work(c.flops(Figure(each * seconds * JUDGE_TOKENS, "assumed"), "score_flops", precision) + c.start())


# Rule -> the cost of one of its jobs; jobs of other rules take seconds.
COSTS: dict[str, Callable[[Context, Job], Work]] = {
    "download": lambda c, job: Work(Cost(disk=_file(c, job))),
    "unpack_archive": lambda c, job: Work(
        c.cpu(_file(c, job), "unpack", 3600) + Cost(disk=_file(c, job).times(1, "assumed"))
    ),
    "build_corpus": lambda c, job: Work(
        _make_cuts(c, c.shard) + c.disk(c.shard, "bytes_cuts") + c.start("start_light"), c.shard, 2
    ),
    "align": lambda c, job: Work(
        _align(c, c.shard) + c.disk(c.shard, "bytes_alignment") + c.start("start_light"), c.shard
    ),
    "train_mfa": lambda c, job: Work(
        _align(c, Figure(MFA_PASSES * min(c.settings.alignment.mfa_train_hours, c.hours.train), "assumed")), cores=16
    ),
    "sample_features": _sample,
    "train_kmeans": _kmeans,
    "extract_units": lambda c, job: Work(
        c.encode(c.shard) + c.assign(c.shard) + c.disk(c.shard, "bytes_units") + c.start(), c.shard
    ),
    "sweep_quality": _sweep_quality,
    "select_utterances": lambda c, job: Work(c.cpu(c.speech, "select")),
    "tokenize_rung": _tokenize,
    "take_fraction": lambda c, job: Work(Cost(disk=Figure(2.0 * plan_model(c, job.rung).pass_tokens, "derived"))),
    "train_lm": lambda c, job: Work(plan_model(c, job.rung).cost + c.start()),
    "make_items": _make_items,
    "transcribe_stories": lambda c, job: Work(_recognise(c, task_items(c.settings, c.measured, TASKS["topic"]).hours)),
    "extract_item_units": lambda c, job: Work(c.encode(_items(c)) + c.assign(_items(c)) + c.start()),
    "tokenize_items": lambda c, job: Work(c.start()),
    "score_rung": _score,
    "continue_rung": _continue,
    "transcribe_rung": _transcribe,
    "train_vocoder": lambda c, job: Work(c.cpu(Figure(c.settings.continuation.vocoder_steps), "vocoder_steps", 3600)),
    "train_judge": _train_judge,
    "judge_continuations": _judge,
    **dict.fromkeys(
        ("make_table", "units_sweep", "scaling"),
        lambda c, job: Work(Cost(cpu=Figure(c.rates.get("report").value, "assumed"))),
    ),
}
NOT_ESTIMATED = ("variability_run",)  # runs of the whole workflow


def job_cost(context: Context, job: Job) -> Work:
    """Return what a job costs, with the settings of its point."""
    cost = COSTS.get(job.rule)
    return cost(context.at_point(job.point), job) if cost else Work()
