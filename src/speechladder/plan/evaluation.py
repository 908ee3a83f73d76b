"""What one job costs, from the items to the judge."""

from dataclasses import dataclass

from speechladder.io.tables import ITEMS, read_table
from speechladder.lm.flops import active_parameters, score_flops, train_flops
from speechladder.plan.context import Context
from speechladder.plan.costs import ALIGN_RATES, Work
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.jobs import Job
from speechladder.plan.models import hub_parameters, plan_model, train_cost
from speechladder.rungs import registry
from speechladder.settings import TASKS
from speechladder.workflow.config import spoken_rungs
from speechladder.workflow.record import CORPUS

# (recordings, seconds of each) of the official benchmarks. sLM21: 5,000 and 20,000 pairs of words, 6,300 and 63,000 of
# sentences, each in 4 voices (Nguyen et al. 2020); Topic-StoryCloze: 1,871 stories (Hassid et al. 2023). The lengths
# are assumed; sLM21's agree with the size of its archive.
OFFICIAL = {
    "swuggy": {"dev": (40_000, 0.8), "test": (160_000, 0.8)},
    "sblimp": {"dev": (50_400, 1.6), "test": (504_000, 1.6)},
    "topic": {"dev": (3_742, 14.0)},
}
GENERATED = {"swuggy": 0.7, "sblimp": 2.2, "topic": 7.0}  # seconds of an item, assumed
WORDS = 2.7  # per second of speech, assumed
JUDGE_TOKENS = 1.4  # of a judge's vocabulary per word, assumed
JUDGED = 100  # tokens of a text, assumed
SPOKEN = ("phones", "phone-frames", "units", "unit-runs")  # continuations that an ASR hears (registry.HEARD_AS)
ITEM_CORES = 8  # of the aligner of an official benchmark (workflow/rules/official.smk)


@dataclass(frozen=True)
class Items:
    """The stimuli of all tasks: their number, hours of speech and basis; hours that are synthesized or transcribed."""

    count: float
    hours: float
    basis: str
    synthetic: float
    stories: float  # hours of Topic-StoryCloze


def items(context: Context) -> Items:
    """Return the run's items: as an earlier run made them, else as published or set."""
    count = hours = synthetic = stories = 0.0
    bases = set()
    for task in TASKS:
        number, seconds, basis, generated = _task(context, task)
        count, hours = count + number, hours + number * seconds / 3600
        bases.add(basis)
        if generated:
            synthetic += number * seconds / 3600
        if task == "topic" and context.settings.benchmarks.storycloze:
            stories = number * seconds / 3600
    return Items(count, hours, "measured" if bases == {"measured"} else "assumed", synthetic, stories)


def _task(context: Context, task: str) -> tuple[float, float, str, bool]:
    """Return the number of a task's items, the seconds of each, the basis, and whether a synthesizer speaks them."""
    bench = context.settings.benchmarks
    official = bench.storycloze if task == "topic" else bench.slm21
    path = context.measured.file(f"benchmarks/{task}/items.parquet", *CORPUS, "benchmarks")
    if path:
        seconds = read_table(path, ITEMS, ["seconds"])["seconds"].to_numpy()
        return len(seconds), float(seconds.mean()) if len(seconds) else 0.0, "measured", not official
    if official:
        splits = ["dev"] if task == "topic" else bench.slm21_splits
        found = [OFFICIAL[task][split] for split in splits]
        number, length = sum(n for n, _ in found), found[0][1]
        per_pair = 2 if task == "topic" else 8
        number = min(number, bench.max_pairs * per_pair * len(splits)) if bench.max_pairs else number
        return number, length, "assumed", False
    files = getattr(bench, task)
    pairs = (bench.max_pairs or 1000) if files else getattr(bench, f"{task}_pairs")
    voices = bench.topic_voices if task == "topic" else bench.voices
    return 2 * pairs * voices, GENERATED[task], "assumed", True


def make_items(context: Context, job: Job) -> Work:
    """The items of one task, each taken as a third of all: spoken if they are generated, and aligned."""
    s, found = context.settings, items(context)
    cost = context.disk(found.hours, "bytes_audio", found.basis)
    if found.synthetic:
        cost += Cost(cpu=context.at_rate(found.synthetic, "speak", found.basis))
    rate = ALIGN_RATES.get(s.alignment.aligner)
    if s.alignment.aligner != "truth":
        cost += Cost(cpu=context.at_rate(found.hours, rate or ALIGN_RATES["pocketsphinx"], found.basis))
    cores = ITEM_CORES if found.synthetic < found.hours or rate == "align_mfa" else 1
    return Work(cost / len(TASKS) + context.start(), Figure(found.hours, found.basis) / len(TASKS), cores)


def transcribe_stories(context: Context, job: Job) -> Work:
    """The texts of Topic-StoryCloze."""
    found = items(context)
    return Work(_recognise(context, found.stories, found.basis))


def item_units(context: Context, job: Job) -> Work:
    """The units of all items."""
    found = items(context)
    return Work(context.encode(found.hours, found.basis) + context.assign(found.hours, found.basis) + context.start())


def tokenize_items(context: Context, job: Job) -> Work:
    """The items as tokens of a rung: little more than the start of a process."""
    return Work(context.start())


def _recognise(context: Context, speech: float, *bases: str) -> Cost:
    """Return the cost of transcribing `speech` hours by the run's ASR."""
    if context.settings.continuation.asr == "pocketsphinx":
        return Cost(cpu=context.at_rate(speech, "hear_pocketsphinx", *bases))
    if context.machine.gpus:
        return Cost(gpu=context.at_rate(speech, "transcribe_gpu", *bases))
    return Cost(cpu=context.at_rate(speech, "transcribe_cpu", *bases))


def score_rung(context: Context, job: Job) -> Work:
    """Every item by the models of a rung, layer by layer, and the learning curve's pairs by every snapshot."""
    s, found, model = context.settings, items(context), plan_model(context, job.rung)
    length = found.hours * 3600 / max(found.count, 1) * model.rate.value + 1
    points = s.lm.learning_points if s.scores.learning else 0
    curve = min(found.count, 2 * s.scores.learning_pairs * len(TASKS) or found.count) * points
    each, last = (score_flops(s.lm, model.vocabulary, length, layers) * length for layers in (s.scores.layers, False))
    flops = (found.count * each + curve * last) * len(s.lm.seeds)
    columns = (s.lm.layers + 1) * s.scores.layers + 2
    disk = Figure(8.0 * columns * found.count * len(s.lm.seeds), found.basis)
    cost = context.flops(flops, "score_flops", "fp32", found.basis, model.rate.basis)
    return Work(cost + Cost(disk=disk) + context.start())


def _continuations(context: Context) -> int:
    """Return how many continuations a rung has."""
    c = context.settings.continuation
    return c.prompts * c.samples * len(context.settings.lm.seeds)


def continue_rung(context: Context, job: Job) -> Work:
    """The tokens of a rung's continuations."""
    c, model = context.settings.continuation, plan_model(context, job.rung)
    seconds = _continuations(context) * c.seconds + c.prompts * c.prompt_seconds
    flops = 2 * active_parameters(context.settings.lm, model.vocabulary) * seconds * model.rate.value
    return Work(context.flops(flops, "generate_flops", "fp64", model.rate.basis) + context.start())


def hear_rung(context: Context, job: Job) -> Work:
    """The transcripts of a rung's continuations, which for text are there already."""
    if registry.get(job.rung).heard not in SPOKEN:
        return Work(context.start())
    speech = _continuations(context) * context.settings.continuation.seconds / 3600
    cost = _recognise(context, speech) + context.disk(speech * 0.01, "bytes_audio", "assumed")
    return Work(cost + context.start(), Figure(speech, "derived"))


def train_vocoder(context: Context, job: Job) -> Work:
    """The run's own vocoder."""
    rate = context.rates.get("vocoder_steps")
    steps = context.settings.continuation.vocoder_steps
    return Work(Cost(cpu=Figure(steps / rate.value / 3600, rate.basis)))


def train_judge(context: Context, job: Job) -> Work:
    """The run's own judge, which is as large as its language models."""
    s = context.settings
    steps = s.continuation.judge_steps * s.lm.window * s.lm.batch_windows
    flops = train_flops(s.lm, s.tokens.text_vocab, s.lm.window) * steps
    return Work(train_cost(context, s.lm, s.tokens.text_vocab, flops) + context.start())


def judge_continuations(context: Context, job: Job) -> Work:
    """The likelihood of every rung's continuations under the judge."""
    s, c = context.settings, context.settings.continuation
    texts = _continuations(context) * len(spoken_rungs(s))
    tokens = texts * (c.seconds + c.prompt_seconds) * WORDS * JUDGE_TOKENS
    if c.judge == "hf":
        flops, precision = 2 * hub_parameters(c.judge_model).value * tokens, "bf16"
    else:
        flops, precision = score_flops(s.lm, s.tokens.text_vocab, JUDGED, False) * tokens, "fp32"
    return Work(context.flops(flops, "score_flops", precision, "assumed") + context.start())
