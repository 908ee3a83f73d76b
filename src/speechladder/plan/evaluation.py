"""What items, scores and continuations cost."""

from dataclasses import dataclass

from speechladder.io.tables import ITEMS, read_table
from speechladder.lm.compute import active_parameters, score_flops, train_flops
from speechladder.plan.context import Context
from speechladder.plan.figures import Cost, Figure
from speechladder.plan.models import Model, hub_parameters
from speechladder.rungs import registry
from speechladder.settings import LM, TASKS
from speechladder.workflow.config import spoken_rungs

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
SPOKEN = ("phones", "phone-frames", "units", "unit-runs")  # heard through a voice or a vocoder (registry.HEARD_AS)


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
    """(items, seconds of each, basis, spoken by the synthesizer)."""
    bench = context.settings.benchmarks
    path = context.results / "benchmarks" / task / "items.parquet"
    official = bench.storycloze if task == "topic" else bench.slm21
    if path.is_file():
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
        if registry.get(model.rung).heard in SPOKEN:
            heard += count * c.seconds / 3600
    cost += hearing(context, heard)
    if any(str(registry.get(m.rung).heard).startswith("unit") for m in spoken) and c.vocoder == "run":
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
