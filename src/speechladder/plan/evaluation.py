"""What items, scores and continuations cost."""

from dataclasses import dataclass

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.benchmarks.tasks.task import Task
from speechladder.io.tables import ITEMS, read_table
from speechladder.lm.flops import active_parameters, score_flops, train_flops
from speechladder.plan.context import Context
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.models import Model, hub_parameters
from speechladder.rungs import registry
from speechladder.settings import LM
from speechladder.workflow.config import spoken_rungs

WORDS = 2.7  # per second of speech, assumed
JUDGE_TOKENS = 1.4  # of a judge's vocabulary per word, assumed
SPOKEN = (
    "phones",
    "phone-frames",
    "units",
    "unit-runs",
)  # transcribed from audio (registry.TRANSCRIBED_AS)


@dataclass(frozen=True)
class Items:
    """Stimuli of all tasks: how many, hours of speech, on what that rests, and the hours that are spoken here."""

    count: float
    hours: float
    basis: str
    synthetic: float
    stories: float  # hours of Topic-StoryCloze, to be transcribed


def items(context: Context) -> Items:
    """The run's items: as made already, else as published or set."""
    count = hours = synthetic = stories = 0.0
    bases = set()
    for task in TASKS.values():
        number, seconds, basis, generated = _task(context, task)
        count, hours = count + number, hours + number * seconds / 3600
        bases.add(basis)
        if generated:
            synthetic += number * seconds / 3600
        if task.texts_field(context.settings.benchmarks):
            stories = number * seconds / 3600
    return Items(count, hours, "measured" if bases == {"measured"} else "assumed", synthetic, stories)


def _task(context: Context, task: Task) -> tuple[float, float, str, bool]:
    """(items, seconds of each, basis, spoken by the synthesizer)."""
    bench = context.settings.benchmarks
    path = context.results / "benchmarks" / task.name / "items.parquet"
    archive = task.archive(bench)
    if path.is_file():
        seconds = read_table(path, ITEMS, ["seconds"])["seconds"].to_numpy()
        return len(seconds), float(seconds.mean()) if len(seconds) else 0.0, "measured", not archive
    if archive:
        official = task.official
        splits = official.splits(bench)
        number, length = sum(official.recordings[split] for split in splits), official.seconds
        per_pair = 2 * official.voices
        number = min(number, bench.max_pairs * per_pair * len(splits)) if bench.max_pairs else number
        return number, length, "assumed", False
    pairs = (bench.max_pairs or 1000) if task.pairs_files(bench) else getattr(bench, task.count_field)
    return 2 * pairs * task.voices(bench), task.seconds, "assumed", True


def making(context: Context, found: Items) -> Cost:
    """Items: spoken where generated, aligned, encoded, and transcribed where stories come without text."""
    s, basis = context.settings, found.basis
    cost = context.encode(found.hours, basis) + context.assign(found.hours, basis) + context.starts(4 + len(s.rungs))
    cost += Cost(cpu=context.at(found.synthetic, "speak", basis)) if found.synthetic else Cost()
    if s.alignment.aligner != "truth":
        rate = "align_mfa" if s.alignment.aligner == "mfa" else "align_pocketsphinx"
        cost += Cost(cpu=context.at(found.hours, rate, basis))
    if found.stories and not s.benchmarks.storycloze_text:
        cost += hearing(context, found.stories, basis)
    return cost + Cost(disk=context.stored(found.hours, "bytes_audio", basis))


def hearing(context: Context, speech: float, *bases: str) -> Cost:
    """`speech` hours heard by the run's ASR."""
    if context.settings.continuation.asr == "pocketsphinx":
        return Cost(cpu=context.at(speech, "hear_pocketsphinx", *bases))
    if context.machine.gpus:
        return Cost(gpu=context.at(speech, "transcribe_gpu", *bases))
    return Cost(cpu=context.at(speech, "transcribe_cpu", *bases))


def scoring(context: Context, models: list[Model], found: Items) -> Cost:
    """Every item by every model, layer by layer; and the learning curve's pairs by every snapshot."""
    s, cost = context.settings, context.starts(len(models))
    seconds = found.hours * 3600 / max(found.count, 1)
    points = s.lm.learning_points if s.scores.learning else 0
    curve = min(found.count, 2 * s.scores.learning_pairs * len(TASKS) or found.count) * points
    for model in models:
        length = seconds * model.rate.value + 1
        each = score_flops(s.lm, model.vocabulary, length, s.scores.layers) * length
        last = score_flops(s.lm, model.vocabulary, length, False) * length
        flops = (found.count * each + curve * last) * len(s.lm.seeds)
        cost += context.flops(flops, "score_flops", "fp32", found.basis, model.rate.basis)
    columns = (s.lm.layers + 1) * s.scores.layers + 2
    disk = Figure(8.0 * columns * found.count * len(models) * len(s.lm.seeds), found.basis)
    return cost + Cost(disk=disk)


def continuing(context: Context, models: list[Model]) -> tuple[float, Cost]:
    """(hours of continuations that are heard, the cost of sampling, hearing and judging them)."""
    s, c = context.settings, context.settings.continuation
    spoken = [m for m in models if m.rung in spoken_rungs(s)]
    if not spoken:
        return 0.0, Cost()
    count = c.prompts * c.samples * len(s.lm.seeds)
    cost, heard = context.starts(3 * len(spoken) + 4), 0.0
    for model in spoken:
        tokens = count * c.seconds * model.rate.value + c.prompts * c.prompt_seconds * model.rate.value
        flops = 2 * active_parameters(s.lm, model.vocabulary) * tokens
        cost += context.flops(flops, "generate_flops", "fp64", model.rate.basis)
        if registry.get(model.rung).transcribed_as in SPOKEN:
            heard += count * c.seconds / 3600
    cost += hearing(context, heard)
    if any(str(registry.get(m.rung).transcribed_as).startswith("unit") for m in spoken) and c.vocoder == "run":
        rate = context.rates.get("vocoder_steps")
        cost += Cost(cpu=Figure(c.vocoder_steps / rate.value / 3600, rate.basis))
    return heard, cost + _judging(context, count * len(spoken)) + Cost(disk=context.stored(heard * 0.01, "bytes_audio"))


def _judging(context: Context, texts: int) -> Cost:
    s, c = context.settings, context.settings.continuation
    tokens = texts * (c.seconds + c.prompt_seconds) * WORDS * JUDGE_TOKENS
    if c.judge == "hf":
        size = hub_parameters(c.judge_model)
        return context.flops(2 * size.value * tokens, "score_flops", "bf16", "assumed")
    size = s.tokens.text_vocab
    steps = c.judge_steps * s.lm.window * s.lm.batch_windows
    training = context.flops(
        train_flops(s.lm, size, s.lm.window) * steps, _lm_rate(s.lm, size), "bf16", gpu="lm_flops_small"
    )
    return training + context.flops(score_flops(s.lm, size, 100, False) * tokens, "score_flops", "fp32", "assumed")


def _lm_rate(lm: LM, vocabulary: int) -> str:
    return "lm_flops_30m" if active_parameters(lm, vocabulary) >= 10_000_000 else "lm_flops"
