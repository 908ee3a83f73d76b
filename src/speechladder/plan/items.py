"""The stimuli of a run: how many, and how long."""

from dataclasses import dataclass

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.benchmarks.tasks.task import Task
from speechladder.io.tables import ITEMS, read_table
from speechladder.plan.figures import Figure
from speechladder.plan.measured import Measured
from speechladder.settings import Settings
from speechladder.workflow.record import CORPUS

FROM_FILES = 1000  # pairs of pairs files, assumed


@dataclass(frozen=True)
class Items:
    """Items of a task or of all: their number, their hours of speech, and the hours that a synthesizer speaks."""

    count: float
    hours: Figure
    synthetic: Figure

    def __add__(self, other: "Items") -> "Items":
        return Items(self.count + other.count, self.hours + other.hours, self.synthetic + other.synthetic)


def all_items(settings: Settings, measured: Measured) -> Items:
    """Return the items of all tasks together."""
    return sum((task_items(settings, measured, task) for task in TASKS.values()), Items(0, Figure(), Figure()))


def task_items(settings: Settings, measured: Measured, task: Task) -> Items:
    """Return the items of a task: as an earlier run made them, else as published or set."""
    bench = settings.benchmarks
    official = task.official if task.archive(bench) else None
    path = measured.file(f"benchmarks/{task.name}/items.parquet", *CORPUS, "benchmarks")
    if path:
        lengths = read_table(path, ITEMS, ["seconds"])["seconds"].to_numpy()
        count, hours = len(lengths), Figure(float(lengths.sum()) / 3600, "measured")
    elif official:
        splits = official.splits(bench)
        count, per_pair = sum(official.recordings[split] for split in splits), 2 * official.voices
        count = min(count, bench.max_pairs * per_pair * len(splits)) if bench.max_pairs else count
        hours = Figure(count * official.seconds / 3600, "assumed")
    else:
        pairs = (bench.max_pairs or FROM_FILES) if task.pairs_files(bench) else getattr(bench, task.count_field)
        count = 2 * pairs * task.voices(bench)
        hours = Figure(count * task.seconds / 3600, "assumed")
    return Items(count, hours, Figure() if official else hours)
