"""sWUGGY: a word against a non-word that is matched to it."""

from pathlib import Path
from typing import Any

from speechladder.benchmarks.pairs import Pair
from speechladder.benchmarks.tasks.slm21 import slm21
from speechladder.benchmarks.tasks.task import Task
from speechladder.settings import Benchmarks


def _generate(settings: Benchmarks, seed: int, cuts: list[Path]) -> list[Pair]:
    """Words of the world's lexicon or, with `cuts`, of their training text."""
    from speechladder.benchmarks.generation.nonwords import swuggy_pairs
    from speechladder.benchmarks.generation.training_text import training_statistics, training_words

    words, every = training_words(cuts)
    return swuggy_pairs(seed, settings.swuggy_pairs, words or None, every, training_statistics(tuple(cuts)))


def _shortcuts(cuts: list[Path], rows: list[dict[str, Any]]) -> dict[str, float]:
    """Of letters, phones and frames: the length, and unigrams and bigrams of the training text."""
    from speechladder.benchmarks.generation.shortcuts import solved_by
    from speechladder.benchmarks.generation.training_text import training_statistics

    return solved_by(training_statistics(tuple(cuts)), rows)


TASK = Task(
    name="swuggy",
    title="sWUGGY (words)",
    short_title="sWUGGY",
    generate=_generate,
    shortcuts=_shortcuts,
    seconds=0.7,
    corpus_words=True,
    official=slm21("lexical", recordings={"dev": 40_000, "test": 160_000}, seconds=0.8),
    paper={
        "text-bpe": 85.1,
        "text-raw": 85.6,
        "phone-bpe": 85.0,
        "phone-raw": 85.8,
        "phone-repeat": 85.5,
        "speech-hubert": 50.8,
    },
    paper_factors={"B": -0.3, "C": -40.6},
)
