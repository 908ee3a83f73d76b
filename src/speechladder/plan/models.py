"""What training a rung's model takes: tokens, operations, hours and bytes."""

import math
import re
from dataclasses import dataclass
from typing import NamedTuple

from speechladder.io.files import read_json
from speechladder.lm.compute import parameters, plan_memory, train_flops
from speechladder.lm.schedule import planned_steps
from speechladder.lm.warm_start import with_init_dimensions
from speechladder.plan.context import Context
from speechladder.plan.figures import Cost, Figure, worst
from speechladder.plan.measured import TOKENS, Measured
from speechladder.plan.rates import LARGE
from speechladder.rungs import registry
from speechladder.settings import LM, Settings

# Tokens per second of speech in the paper (arXiv 2412.17048, its table; vocabularies of 2048).
PAPER_TOKENS = {
    "text-bpe": 4.45,
    "text-raw": 14.53,
    "phone-bpe": 4.04,
    "phone-raw": 9.97,
    "phone-repeat": 50.0,
    "speech-hubert": 50.0,
}
USUAL_TOKENS = {"text": 14.5, "alignment": 10.0, "units": 50.0, "audio": 50.0}  # of a rung by what it needs
SPECIALS = 4  # <pad>, <s>, </s>, <unk>
ALPHABET = 500  # symbols of a rung that learns its alphabet, assumed
SMALL, MEDIUM = 50_000_000, 10_000_000  # parameters below which a GPU, a CPU reach fewer FLOP/s
ADAM = 16  # bytes per parameter of a checkpoint: weights, best weights, two moments, in fp32


@dataclass(frozen=True)
class Model:
    """A model of one rung and one seed."""

    name: str  # the rung, and the point of the sweep or of the scaling grid
    vocabulary: int
    rate: Figure  # tokens per second of speech
    parameters: int
    pass_tokens: float  # tokens of the training data
    steps: int
    tokens: float  # tokens that it is trained on
    cost: Cost  # hours of one core or one GPU, and the bytes that stay
    while_training: float  # bytes of checkpoints beside them

    @property
    def hours(self) -> float:
        """Hours on the wall, on one core or one GPU."""
        return self.cost.hours.value


class _Batches(NamedTuple):
    """What lm.schedule.planned_steps asks of lm.batches.Batches."""

    tokens_per_pass: float
    tokens_per_step: int


def token_rate(rung: str, settings: Settings, measured: Measured) -> Figure:
    """Return a rung's tokens per second of speech.

    The first of these that exists: the rate in meta.json of an earlier run with the same settings; for units of the
    user's own, their frames per second, which is the most that it can be; the paper's rate; a rate that is usual for
    what the rung needs.
    """
    needs_units = "units" in registry.get(rung).needs
    path = measured.file(f"tokens/{rung}/meta.json", *TOKENS, *(["units"] * needs_units))
    if path:
        return Figure(float(read_json(path)["tokens_per_second"]), "measured")
    if settings.units.source == "external" and settings.units.rate and needs_units:
        return Figure(settings.units.rate, "assumed")
    if rung in PAPER_TOKENS:
        return Figure(PAPER_TOKENS[rung], "published")
    return Figure(max(USUAL_TOKENS[need] for need in registry.get(rung).needs), "assumed")


def vocabulary(rung: str, settings: Settings) -> int:
    """Return the size of a rung's vocabulary, special tokens included."""
    found = registry.get(rung)
    pieces = found.bpe_size(settings.tokens)
    if pieces:
        return pieces
    symbols = len(found.alphabet(settings.tokens, settings.units.clusters)) if found.alphabet else ALPHABET
    return symbols + SPECIALS


def plan_model(context: Context, rung: str, name: str = "") -> Model:
    """Return the model of a rung at a context's settings.

    It trains to the step limit of lm.schedule. An earlier end, by validation or by lm.max_hours, is not foreseen.
    """
    settings, hours = context.settings, context.hours
    lm, rate, size = (
        with_init_dimensions(settings.lm),
        token_rate(rung, settings, context.measured),
        vocabulary(rung, settings),
    )
    count = parameters(lm, size)
    document = hours.utterance * rate.value + 2  # <s> and </s>
    pass_tokens = context.fraction * hours.train * 3600 / hours.utterance * document
    step = lm.window * lm.batch_windows
    steps = planned_steps(lm, _Batches(pass_tokens, step))
    validated = min(lm.valid_seconds, hours.other * 3600) * rate.value * math.ceil(steps / lm.valid_every)
    flops = Figure(train_flops(lm, size, document) * (steps * step + validated / 3), worst([rate.basis, hours.basis]))
    disk = Figure(4.0 * count * (1 + lm.learning_points), "derived")
    return Model(
        name=name or rung,
        vocabulary=size,
        rate=rate,
        parameters=count,
        pass_tokens=pass_tokens,
        steps=steps,
        tokens=float(steps * step),
        cost=train_cost(context, lm, size, flops) + Cost(disk=disk),
        while_training=float((lm.keep_checkpoints + 1) * ADAM * count),  # one more exists while it is written
    )


def train_cost(context: Context, lm: LM, size: int, flops: Figure) -> Cost:
    """Return the hours of so many FLOP of training a model with a vocabulary of `size`."""
    count = parameters(lm, size)
    cpu = "lm_flops_30m" if count >= MEDIUM else "lm_flops"
    gpu = "lm_flops_1b" if count >= LARGE else "lm_flops_small" if count < SMALL else "lm_flops"
    return context.flops(flops, cpu, "fp32" if lm.precision == "fp32" else "bf16", gpu)


def too_large(model: Model, settings: Settings, memory: float) -> str | None:
    """Return why a training does not fit into its GPUs of `memory` bytes each, whatever its layout; None if it fits."""
    lm = with_init_dimensions(settings.lm)
    found = plan_memory(lm, model.vocabulary, lm.processes, lm.precision != "fp32", memory)
    if found.needed <= memory:
        return None
    return (
        f"A model of {model.parameters / 1e9:.2g} B parameters needs some {found.needed / 1e9:,.0f} GB on each of "
        f"{lm.processes} GPUs that have {memory / 1e9:.0f} GB, {found}: raise lm.processes, with lm.parallel: fsdp."
    )


def hub_parameters(name: str) -> Figure:
    """Return the parameters of a hub's model by the size in its name (8B, 1.4b, 410m), else a billion."""
    found = re.search(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower())
    if not found:
        return Figure(1e9, "assumed")
    return Figure(float(found.group(1)) * {"b": 1e9, "m": 1e6}[found.group(2)], "published")
