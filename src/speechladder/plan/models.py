"""What training each rung's model takes: tokens, operations, hours and bytes."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from speechladder.io.files import read_json
from speechladder.lm.compute import parameters, plan_memory, train_flops
from speechladder.lm.warm_start import with_init_dimensions
from speechladder.plan.figures import Figure
from speechladder.plan.hours import Hours
from speechladder.plan.inputs import Machine
from speechladder.plan.rates import LARGE, Rates, worst
from speechladder.rungs import registry
from speechladder.settings import Settings, Units

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
SMALL = 50_000_000  # parameters below which a GPU waits for its kernels
ADAM = 16  # bytes per parameter of a checkpoint: weights, best weights, two moments, in fp32


@dataclass(frozen=True)
class Model:
    """One rung's model, of one seed."""

    rung: str
    vocabulary: int
    rate: Figure  # tokens per second of speech
    parameters: int
    pass_tokens: float
    steps: int
    tokens: float
    cpu: Figure  # hours of one core
    gpu: Figure
    kept: float  # bytes
    while_training: float  # bytes beside them

    @property
    def hours(self) -> float:
        """On the wall."""
        return self.cpu.value + self.gpu.value


def token_rate(rung: str, results: Path, units: Units | None = None) -> Figure:
    """Tokens per second of speech: of the run's own meta.json, of the user's own units (at most, where each run of them
    is one), of the paper, else what is usual for what it needs."""
    path = results / "tokens" / rung / "meta.json"
    if path.is_file():
        return Figure(float(read_json(path)["tokens_per_second"]), "measured")
    if units and units.source == "given" and units.rate and "units" in registry.get(rung).needs:
        return Figure(units.rate, "assumed")
    if rung in PAPER_TOKENS:
        return Figure(PAPER_TOKENS[rung], "published")
    return Figure(max(USUAL_TOKENS[need] for need in registry.get(rung).needs), "assumed")


def vocabulary(rung: str, settings: Settings) -> int:
    """Ids of a rung's tokenizer, specials included; 500 where it learns its alphabet."""
    found = registry.get(rung)
    pieces = found.bpe_size(settings.tokens)
    if pieces:
        return pieces
    symbols = len(found.alphabet(settings.tokens, settings.units.clusters)) if found.alphabet else 500
    return symbols + SPECIALS


def plan_model(
    rung: str, settings: Settings, hours: Hours, rates: Rates, machine: Machine, results: Path = Path("results")
) -> Model:
    """A rung's model. Steps are the least of lm.max_steps and what lm.max_passes and lm.max_tokens ask for, as lm.train
    plans them; stopping earlier, when validation has converged or at lm.max_hours, is not foreseen."""
    lm, rate = with_init_dimensions(settings.lm), token_rate(rung, results, settings.units)
    size = vocabulary(rung, settings)
    count = parameters(lm, size)
    document = hours.utterance * rate.value + 2  # <s> and </s>
    pass_tokens = hours.train * 3600 / hours.utterance * document
    step = lm.window * lm.batch_windows
    limits = [lm.max_steps, lm.max_passes * pass_tokens / step, (lm.max_tokens or math.inf) / step]
    steps = max(1, math.ceil(min(limits)))
    validated = min(lm.valid_seconds, hours.other * 3600) * rate.value * math.ceil(steps / lm.valid_every)
    flops = train_flops(lm, size, document) * (steps * step + validated / 3)
    bases = (rate.basis, hours.basis)
    cpu = gpu = Figure()
    if machine.gpus:
        work = "lm_flops_1b" if count >= LARGE else "lm_flops_small" if count < SMALL else "lm_flops"
        found = rates.gpu(work, str(machine.gpu), "fp32" if lm.precision == "fp32" else "bf16")
        gpu = Figure(flops / found.value / 3600, worst([found.basis, *bases]))
    else:
        found = rates.get("lm_flops_30m" if count >= 10_000_000 else "lm_flops")
        cpu = Figure(flops / found.value / 3600, worst([found.basis, "derived", *bases]))
    return Model(
        rung=rung,
        vocabulary=size,
        rate=rate,
        parameters=count,
        pass_tokens=pass_tokens,
        steps=steps,
        tokens=float(steps * step),
        cpu=cpu,
        gpu=gpu,
        kept=4.0 * count * (1 + lm.learning_points),
        while_training=float((lm.keep_checkpoints + 1) * ADAM * count),  # one more while it is written
    )


def too_large(model: Model, settings: Settings, memory: float) -> str | None:
    """Why a training does not fit into its GPUs of `memory` bytes each, if it does not, however it is laid out."""
    lm = with_init_dimensions(settings.lm)
    found = plan_memory(lm, model.vocabulary, lm.processes, lm.precision != "fp32", memory)
    if found.needed <= memory:
        return None
    return (
        f"A model of {model.parameters / 1e9:.2g} B parameters needs some {found.needed / 1e9:,.0f} GB on each of "
        f"{lm.processes} GPUs that have {memory / 1e9:.0f}, {found}: raise lm.processes, with lm.parallel: fsdp."
    )


def hub_parameters(name: str) -> Figure:
    """Parameters of a hub's model by the size in its name (8B, 1.4b, 410m); a billion where it says none."""
    found = re.search(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower())
    if not found:
        return Figure(1e9, "assumed")
    return Figure(float(found.group(1)) * {"b": 1e9, "m": 1e6}[found.group(2)], "published")
