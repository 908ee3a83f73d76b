"""A task that is not built in: its file and its settings, as a new task would have them."""

from pathlib import Path

from pydantic import Field

from speechladder.benchmarks.pairs import Pair
from speechladder.benchmarks.tasks.task import Task
from speechladder.settings import Benchmarks


class ToyBenchmarks(Benchmarks):
    """The settings of the benchmarks with the fields of the new task."""

    toy: list[str] = Field([], description="Pairs files in place of generated items.")
    toy_pairs: int = Field(4, description="Pairs to generate.")
    toy_voices: int = Field(2, description="Voices that speak each pair.")


def _generate(settings: ToyBenchmarks, seed: int, cuts: list[Path]) -> list[Pair]:
    """A word against its reverse."""
    words = ("water", "garden", "river", "silver", "market", "window")
    return [Pair(f"{word}-1", "reversed", word, word[::-1]) for word in words[seed : seed + settings.toy_pairs]]


TASK = Task(
    name="toy",
    title="Toy (reversed words)",
    short_title="Toy",
    generate=_generate,
    seconds=0.6,
    voices_field="toy_voices",
    paper_factors={"C": -12.5},
)
