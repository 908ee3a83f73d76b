"""The stimuli of a run: how many, and how long."""

from dataclasses import dataclass

from speechladder.io.tables import ITEMS, read_table
from speechladder.plan.figures import Figure
from speechladder.plan.measured import Measured
from speechladder.settings import TASKS, Settings
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
    return sum((task_items(settings, measured, task) for task in TASKS), Items(0, Figure(), Figure()))


def task_items(settings: Settings, measured: Measured, task: str) -> Items:
    """Return the items of a task: as an earlier run made them, else as published or set."""
    bench = settings.benchmarks
    official = bench.storycloze if task == "topic" else bench.slm21
    path = measured.file(f"benchmarks/{task}/items.parquet", *CORPUS, "benchmarks")
    if path:
        lengths = read_table(path, ITEMS, ["seconds"])["seconds"].to_numpy()
        count, hours = len(lengths), Figure(float(lengths.sum()) / 3600, "measured")
    elif official:
        splits = ["dev"] if task == "topic" else bench.slm21_splits
        count, per_pair = sum(OFFICIAL[task][split][0] for split in splits), 2 if task == "topic" else 8
        count = min(count, bench.max_pairs * per_pair * len(splits)) if bench.max_pairs else count
        hours = Figure(count * OFFICIAL[task][splits[0]][1] / 3600, "assumed")
    else:
        pairs = (bench.max_pairs or FROM_FILES) if getattr(bench, task) else getattr(bench, f"{task}_pairs")
        count = 2 * pairs * (bench.topic_voices if task == "topic" else bench.voices)
        hours = Figure(count * GENERATED[task] / 3600, "assumed")
    return Items(count, hours, Figure() if official else hours)
