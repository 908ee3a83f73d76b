"""sBLIMP: minimal pairs of sentences, one grammatical and one not."""

from pathlib import Path

from speechladder.benchmarks.pairs import Pair
from speechladder.benchmarks.tasks.slm21 import slm21
from speechladder.benchmarks.tasks.task import Task
from speechladder.settings import Benchmarks


def _generate(settings: Benchmarks, seed: int, cuts: list[Path]) -> list[Pair]:
    from speechladder.benchmarks.generation.sentences import sblimp_pairs

    return sblimp_pairs(seed, settings.sblimp_pairs)


TASK = Task(
    name="sblimp",
    title="sBLIMP (syntax)",
    short_title="sBLIMP",
    generate=_generate,
    seconds=2.2,
    official=slm21("syntactic", recordings={"dev": 50_400, "test": 504_000}, seconds=1.6),
    paper={
        "text-bpe": 74.9,
        "text-raw": 73.3,
        "phone-bpe": 75.0,
        "phone-raw": 74.5,
        "phone-repeat": 66.2,
        "speech-hubert": 57.3,
    },
    paper_factors={"B": -11.1, "C": -13.4},
)
