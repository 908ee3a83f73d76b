"""What a job of each rule costs: amounts of speech, tokens or operations times rates, in one table, COSTS."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import FRAME_RATE
from speechladder.io.files import read_json
from speechladder.lm.compute import active_parameters, parameters, plan_memory, score_flops, train_flops, usual_mode
from speechladder.lm.schedule import planned_steps
from speechladder.lm.warm_start import with_init_dimensions
from speechladder.plan.context import Context
from speechladder.plan.inputs import Job
from speechladder.plan.rates import Cost, Figure, worst
from speechladder.plan.speech import TOKENS, Measured, task_items
from speechladder.rungs import registry
from speechladder.settings import LM, Settings
from speechladder.settings.external import external_model
from speechladder.workflow.rungs import spoken_rungs

# Tokens per second of speech in the paper (arXiv 2412.17048, its table; vocabularies of 2048).
PAPER_TOKENS = {
    "text-bpe": 4.45, "text-raw": 14.53, "phone-bpe": 4.04, "phone-raw": 9.97, "phone-repeat": 50.0,
    "speech-hubert": 50.0,
}  # fmt: skip
# Tokens per second of speech of another rung, by what it needs.
USUAL_TOKENS = {
    "text": 14.5, "pauses": 0.0, "alignment": 10.0, "units": 50.0, "audio": 50.0, "frames": 0.0, "confusions": 0.0,
    "seed": 0.0,
}  # fmt: skip
# The same of rungs that shorten units, as measured on the default world; of another encoder assumed.
SHORTENED = {"speech-hubert-dedup": 30.0, "unit-bpe": 12.0, "unit-phone": 10.0}
# Segments per second of speech, pauses included, assumed.
SEGMENTS = {"phone": 10.0, "auto": 10.0, "syllable": 5.0, "word": 3.5}
SPECIALS = 4  # <pad>, <s>, </s>, <unk>
ALPHABET = 500  # symbols of a rung that learns its alphabet, assumed
LARGE, SMALL, MEDIUM = (
    500_000_000,
    50_000_000,
    10_000_000,
)  # parameters from which a GPU, a GPU, a CPU reach more FLOP/s
ADAM = 16  # bytes per parameter of a checkpoint: weights, best weights, two moments, in fp32; less with Muon
SAMPLE_SHARE = 0.5  # of an utterance's frames that the k-means sample takes (units.kmeans.bottom_k.SHARE)
LABEL_ITERATIONS = 125  # evaluations of the objective of a phone classifier, at most (units.classifier.ITERATIONS)
MFA_PASSES = 40  # of MFA's training over its speech
MANIFEST_PASSES = 3  # over the cuts of a natural corpus: written to shards, checked against the audio, counted
JUDGE_TOKENS = 3.8  # per second of speech: 2.7 words of 1.4 tokens, assumed
JUDGED = 100  # tokens of a text, assumed
PROBE_SECONDS = 30.0  # of a sentence of the probe in all its recordings, as a trial had them
UTTERANCE_BYTES = 30  # of id, offset, length and seconds beside a rung's tokens, assumed
ITEM_CORES = 8  # of the aligner of an official benchmark (workflow/rules/official.smk)


@dataclass(frozen=True)
class Model:
    """A model of one rung and one seed; `name` is the rung, and the point of the sweep or of the scaling grid."""

    name: str
    vocabulary: int
    rate: Figure  # tokens per second of speech
    parameters: int
    pass_tokens: float  # tokens of the training data
    steps: int
    tokens: float  # tokens that it is trained on
    cost: Cost  # hours of one core or one GPU, and the bytes that stay
    while_training: float  # bytes of checkpoints beside them


def token_rate(rung: str, settings: Settings, measured: Measured) -> Figure:
    """Return a rung's tokens per second of speech.

    The first of these that exists: the rate in meta.json of an earlier run with the same settings; for units of the
    user's own, their frames per second, which is the most that it can be; the paper's rate; a rate that is usual for
    what the rung needs.
    """
    needs_units = "units" in registry.get(rung).needs
    path = measured.file(f"tokens/{rung}/meta.json", "tokenize_rung", *TOKENS, *(["units"] * needs_units), rung=rung)
    if path:
        return Figure(float(read_json(path)["tokens_per_second"]), "measured")
    if settings.units.source == "external" and settings.units.rate and needs_units:
        return Figure(settings.units.rate * settings.units.streams, "assumed")
    if needs_units and settings.units.segments in SEGMENTS:
        return Figure(SEGMENTS[settings.units.segments], "assumed")
    if rung in PAPER_TOKENS:
        return Figure(PAPER_TOKENS[rung], "published")
    if rung in SHORTENED:
        return Figure(SHORTENED[rung], "assumed")
    found = registry.get(rung)
    return Figure(FRAME_RATE if found.per_frame else max(USUAL_TOKENS[need] for need in found.needs), "assumed")


def vocabulary(rung: str, settings: Settings) -> int:
    """Return the size of a rung's vocabulary, special tokens included."""
    found = registry.get(rung)
    symbols = len(found.alphabet(settings.tokens, settings.units.vocabulary)) if found.alphabet else ALPHABET
    return found.bpe_size(settings.tokens) or symbols + SPECIALS


def plan_model(context: Context, rung: str, name: str = "") -> Model:
    """Return the model of a rung at a context's settings.

    It trains to the step limit of lm.schedule. An earlier end, by validation or by lm.max_hours, is not foreseen.
    """
    settings, hours, lm = context.settings, context.hours, with_init_dimensions(context.settings.lm)
    rate, size = token_rate(rung, settings, context.measured), vocabulary(rung, settings)
    count = parameters(lm, size)
    document = hours.utterance * rate.value + 2  # <s> and </s>
    pass_tokens = context.fraction * hours.train * 3600 / hours.utterance * document
    step = lm.window * lm.batch_windows
    steps = planned_steps(lm, SimpleNamespace(tokens_per_pass=pass_tokens, tokens_per_step=step))
    validated = min(lm.valid_seconds, hours.other * 3600) * rate.value * math.ceil(steps / lm.valid_every)
    flops = Figure(train_flops(lm, size, document) * (steps * step + validated / 3), worst([rate.basis, hours.basis]))
    disk = Figure(4.0 * count * (1 + lm.learning_points), "derived")
    beside = float((lm.keep_checkpoints + 1) * ADAM * count)  # one more exists while it is written
    cost = train_cost(context, lm, size, flops) + Cost(disk=disk)
    return Model(name or rung, size, rate, count, pass_tokens, steps, float(steps * step), cost, beside)


def train_cost(context: Context, lm: LM, size: int, flops: Figure) -> Cost:
    """Return the hours of so many FLOP of training a model with a vocabulary of `size`."""
    count = parameters(lm, size)
    cpu = "lm_flops_30m" if count >= MEDIUM else "lm_flops"
    gpu = "lm_flops_1b" if count >= LARGE else "lm_flops_small" if count < SMALL else "lm_flops"
    return context.flops(flops, cpu, "fp32" if lm.precision == "fp32" else "bf16", gpu)


def too_large(model: Model, settings: Settings, memory: float) -> str | None:
    """Return why a training does not fit into its GPUs of `memory` bytes each, whatever its layout; None if it fits."""
    lm = with_init_dimensions(settings.lm)
    mode = usual_mode(lm, model.vocabulary, model.steps)
    found = plan_memory(lm, model.vocabulary, lm.processes, lm.precision != "fp32", memory, mode)
    if found.needed <= memory:
        return None
    return (
        f"A model of {model.parameters / 1e9:.2g} B parameters needs some {found.needed / 1e9:,.0f} GB on each of "
        f"{lm.processes} GPUs that have {memory / 1e9:.0f} GB, {found}: raise lm.processes, with lm.parallel: fsdp."
    )


def hub_parameters(name: str) -> float:
    """Return the parameters of a hub's model by the size in its name (8B, 1.4b, 410m), else a billion."""
    found = re.search(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower())
    return float(found[1]) * {"b": 1e9, "m": 1e6}[found[2]] if found else 1e9


class Work(NamedTuple):
    """A job's cost, the hours of speech that it reads, and how many cores share the job."""

    cost: Cost = Cost()
    speech: Figure = Figure()
    cores: int = 1


def _make_cuts(c: Context) -> Cost:
    """The world is spoken, a natural corpus is read from its manifests."""
    if c.settings.corpus.name == "world":
        return _speak(c)
    cuts = c.shard.times(3600 / c.hours.utterance, "derived")
    written = c.disk(cuts, "bytes_manifest") if c.settings.corpus.name == "libriheavy" else Cost()
    return written + c.cpu(cuts.times(MANIFEST_PASSES), "manifest", 3600)


def _speak(c: Context) -> Cost:
    return c.cpu(c.shard, "speak") + c.disk(c.shard, "bytes_world")


def _align(c: Context, speech: Figure) -> Cost:
    """The aligners `truth` and `textgrids` have nothing to compute."""
    aligner = c.settings.alignment.aligner
    return c.cpu(speech, f"align_{aligner}") if aligner in ("mfa", "pocketsphinx") else Cost()


def _recognise(c: Context, speech: Figure) -> Cost:
    if c.settings.continuation.asr == "pocketsphinx":
        return c.cpu(speech, "transcribe_pocketsphinx")
    return _whisper(c, speech)


def _whisper(c: Context, speech: Figure) -> Cost:
    return Cost(gpu=c.cpu(speech, "transcribe_gpu").cpu) if c.machine.gpus else c.cpu(speech, "transcribe_cpu")


def _make_items(c: Context) -> Work:
    """Each task is taken as a third of all items."""
    found, aligner = c.items, c.settings.alignment.aligner
    cost = c.disk(found.hours, "bytes_audio") + c.cpu(found.synthetic, "speak") + _align(c, found.hours)
    cores = ITEM_CORES if found.synthetic.value < found.hours.value or aligner == "mfa" else 1
    return Work(cost.times(1 / len(TASKS)) + c.start(), found.hours / len(TASKS), cores)


def _sample(c: Context) -> Work:
    share = SAMPLE_SHARE if c.settings.units.labels == "none" else 1  # whole utterances have labels
    speech = Figure(min(c.hours.train, c.sampled / FRAME_RATE / 3600 / share), "derived")
    return Work(c.encode(speech) + Cost(disk=Figure(4.0 * c.width * c.sampled, "derived")), speech)


def _kmeans(c: Context) -> Cost:
    """Every iteration compares every frame with every centroid; a classifier's takes three such products."""
    units = c.settings.units
    if units.labels != "none":
        flops = Figure(6.0 * c.sampled * units.vocabulary * c.width * LABEL_ITERATIONS, "derived")
        return c.cpu(flops, "kmeans_flops", 3600) + c.start()
    frames = min(c.sampled, units.clusters * units.max_points_per_centroid)
    flops = Figure(2.0 * frames * units.clusters * c.width * units.iterations * units.kmeans_restarts, "derived")
    if units.kmeans in ("torch", "faiss-gpu"):
        return c.flops(flops, "kmeans_flops", "fp32") + c.start()
    # also for auto: whether faiss finds a GPU is not known here
    return c.cpu(flops, "kmeans_flops", 3600) + c.start("start_light")


def _sweep_quality(c: Context) -> Work:
    """Speech is encoded once and assigned to every codebook of the layer."""
    sweep = c.settings.sweep
    speech = Figure(min(sweep.minutes / 60, c.hours.total), "derived")
    each = sum((c.assign(speech, clusters) for clusters in sweep.clusters), Cost())
    return Work(c.encode(speech) + each.times(len(sweep.normalisations) * len(sweep.seeds)) + c.start(), speech)


def _tokens(c: Context, model: Model) -> Cost:
    tokens = Figure(2.0 * model.pass_tokens * c.hours.total / c.hours.train, worst([model.rate.basis, c.hours.basis]))
    return Cost(disk=tokens + Figure(UTTERANCE_BYTES * c.hours.total * 3600 / c.hours.utterance, "assumed"))


def _score(c: Context, model: Model) -> Cost:
    """Every item by every model, layer by layer, and the learning curve's pairs by every snapshot."""
    s, found = c.settings, c.items
    length = found.hours.value * 3600 / max(found.count, 1) * model.rate.value + 1
    points = s.lm.learning_points if s.scores.learning else 0
    curve = min(found.count, 2 * s.scores.learning_pairs * len(TASKS) or found.count) * points
    each, last = (score_flops(s.lm, model.vocabulary, length, layers) * length for layers in (s.scores.layers, False))
    flops = (found.count * each + curve * last) * len(s.lm.seeds)
    columns = (s.lm.layers + 1) * s.scores.layers + 2
    disk = Figure(8.0 * columns * found.count * len(s.lm.seeds), found.hours.basis)
    basis = worst([found.hours.basis, model.rate.basis])
    return c.flops(Figure(flops, basis), "score_flops", "fp32") + Cost(disk=disk)


def _score_external(c: Context, name: str) -> Cost:
    """Each version of every item, as many tokens each as an item has frames, by a model of the size in its name."""
    tokens = c.items.hours.value * 3600 * FRAME_RATE * 3
    models = {model.name: model.model for model in map(external_model, c.settings.external.models)}
    flops = Figure(2 * hub_parameters(models.get(name, name)) * tokens, "assumed")
    return c.flops(flops, "score_flops", "fp32")


def _continue(c: Context, model: Model) -> Cost:
    wanted = c.settings.continuation
    seconds = c.continuations * wanted.seconds + wanted.prompts * wanted.prompt_seconds
    flops = model.rate.times(2 * active_parameters(c.settings.lm, model.vocabulary) * seconds)
    return c.flops(flops, "generate_flops", "fp64")


def _transcribe(c: Context, job: Job) -> Work:
    spoken = registry.get(job.rung).transcribed_as != "text"  # which needs no ASR
    speech = Figure(c.heard * c.settings.continuation.seconds / 3600 * spoken, "derived")
    return Work(_recognise(c, speech) + c.start(), speech)


def _second(c: Context) -> Work:
    """The true continuations on three paths and the examples through the second ASR."""
    s, wanted = c.settings, c.settings.continuation
    count = 3 * wanted.prompts + min(wanted.examples, wanted.prompts) * len(spoken_rungs(s))
    speech = Figure(count * wanted.seconds / 3600, "derived")
    return Work(_whisper(c, speech) + c.start(), speech)


def _resynthesis(c: Context) -> Work:
    """Held-out speech through the ASR, as it is or spoken again."""
    speech = Figure(min(c.settings.continuation.resynthesis_minutes / 60, c.hours.other), "derived")
    return Work(_recognise(c, speech) + c.start(), speech)


def _train_judge(c: Context) -> Cost:
    lm, size = c.settings.lm, c.settings.tokens.text_vocab
    tokens = c.settings.continuation.judge_steps * lm.window * lm.batch_windows
    return train_cost(c, lm, size, Figure(train_flops(lm, size, lm.window) * tokens))


def _judge(c: Context) -> Cost:
    s, wanted = c.settings, c.settings.continuation
    seconds = c.heard * len(spoken_rungs(s)) * (wanted.seconds + wanted.prompt_seconds)
    each, precision = score_flops(s.lm, s.tokens.text_vocab, JUDGED, False), "fp32"
    if wanted.judge == "hf":
        each, precision = 2 * hub_parameters(wanted.judge_model), "bf16"
    return c.flops(Figure(each * seconds * JUDGE_TOKENS, "assumed"), "score_flops", precision)


def _units(c: Context, speech: Figure) -> Cost:
    return c.encode(speech) + c.assign(speech) + c.start()


def _probe(c: Context) -> Figure:
    """Hours of the probe speech: a sentence in all its recordings."""
    return Figure(c.settings.diagnosis.sentences * PROBE_SECONDS / 3600, "assumed")


# Rule -> the cost of one of its jobs; jobs of other rules take seconds.
COSTS: dict[str, Callable[[Context, Job], Work]] = {
    "download": lambda c, job: Work(Cost(disk=c.fetched(job.name))),
    "unpack_archive": lambda c, job: Work(
        c.cpu(c.fetched(job.name), "unpack", 3600) + Cost(disk=c.fetched(job.name).times(1, "assumed"))
    ),
    "build_corpus": lambda c, job: Work(
        _make_cuts(c) + c.disk(c.shard, "bytes_cuts") + c.start("start_light"), c.shard, 2
    ),
    "speak_corpus": lambda c, job: Work(_speak(c) + c.disk(c.shard, "bytes_cuts") + c.start("start_light"), c.shard),
    "align": lambda c, job: Work(
        _align(c, c.shard) + c.disk(c.shard, "bytes_alignment") + c.start("start_light"), c.shard
    ),
    "train_mfa": lambda c, job: Work(
        _align(c, Figure(MFA_PASSES * min(c.settings.alignment.mfa_train_hours, c.hours.train), "assumed")), cores=16
    ),
    "sample_features": lambda c, job: _sample(c),
    "train_kmeans": lambda c, job: Work(_kmeans(c)),
    "extract_units": lambda c, job: Work(_units(c, c.shard) + c.disk(c.shard, "bytes_units"), c.shard),
    "make_probe": lambda c, job: Work(c.cpu(_probe(c), "speak") + c.disk(_probe(c), "bytes_audio"), _probe(c)),
    "probe_statistics": lambda c, job: Work(c.encode(_probe(c)) + c.start(), _probe(c)),
    "extract_probe_units": lambda c, job: Work(_units(c, _probe(c)), _probe(c)),
    "sweep_quality": lambda c, job: _sweep_quality(c),
    "select_utterances": lambda c, job: Work(c.cpu(c.speech, "select")),
    "tokenize_rung": lambda c, job: Work(c.cpu(c.speech, "tokenize") + _tokens(c, plan_model(c, job.rung)), c.speech),
    "take_fraction": lambda c, job: Work(Cost(disk=Figure(2.0 * plan_model(c, job.rung).pass_tokens, "derived"))),
    "train_lm": lambda c, job: Work(plan_model(c, job.rung).cost + c.start()),
    "make_items": lambda c, job: _make_items(c),
    "transcribe_stories": lambda c, job: Work(_recognise(c, task_items(c.settings, c.measured, TASKS["topic"]).hours)),
    "extract_item_units": lambda c, job: Work(_units(c, c.items.hours)),
    "tokenize_items": lambda c, job: Work(c.start()),
    "score_rung": lambda c, job: Work(_score(c, plan_model(c, job.rung)) + c.start()),
    "score_external": lambda c, job: Work(_score_external(c, job.name) + c.start()),
    "continue_rung": lambda c, job: Work(_continue(c, plan_model(c, job.rung)) + c.start()),
    "transcribe_rung": _transcribe,
    "transcribe_second": lambda c, job: _second(c),
    "train_vocoder": lambda c, job: Work(c.cpu(Figure(c.settings.continuation.vocoder_steps), "vocoder_steps", 3600)),
    **dict.fromkeys(("transcribe_held_out", "transcribe_resynthesis"), lambda c, job: _resynthesis(c)),
    "train_judge": lambda c, job: Work(_train_judge(c) + c.start()),
    "judge_continuations": lambda c, job: Work(_judge(c) + c.start()),
    **dict.fromkeys(
        (
            "make_table",
            "make_report",
            "make_baselines",
            "units_sweep",
            "scaling",
            "causes",
            "questions",
            "resynthesis",
            "diagnose_units",
            "external",
        ),
        lambda c, job: Work(c.start("report").times(3600)),
    ),
}
NOT_ESTIMATED = ("variability_run", "causes_run", "synthesized_run")  # runs of the whole workflow


def job_cost(context: Context, job: Job) -> Work:
    """Return what a job costs, with the settings of its point."""
    cost = COSTS.get(job.rule)
    return cost(context.at_point(job.point, job.rung), job) if cost else Work()
