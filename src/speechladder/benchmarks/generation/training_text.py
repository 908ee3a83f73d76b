"""The training text of a word task: its words, and how it uses and sounds them."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from speechladder.benchmarks.generation.shortcuts import Said, Statistics, Usage
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.speak import Voice, phone_lengths
from speechladder.corpora.world import documents

MIN_COUNT = 2  # a word is tested if the training text holds it at least this often
USAGE_WORDS, USAGE_TYPES = 200_000, 5_000  # words of training text that are counted, and how many of them are spoken
ACCENTS = ("en-us", "en-gb-x-rp")  # with and without r after vowels: the set is balanced in both
Say = Callable[[Sequence[str], str], list[Said]]


def neutral(words: Sequence[str], accent: str) -> list[Said]:
    """The phones of words in the plain voice of an accent: the voices of items are the same for both halves."""
    return phone_lengths(words, Voice("neutral", accent))


def training_words(cuts: Sequence[Path]) -> tuple[list[str], set[str]]:
    """Words that the train split holds at least MIN_COUNT times, the most frequent first; and all words of the cuts."""
    counts: Counter[str] = Counter()
    every: set[str] = set()
    for path in cuts:
        for cut in read_cuts(path):
            words = cut.text.split()
            every.update(words)
            if cut.split == "train":
                counts.update(words)
    return sorted((w for w, n in counts.items() if n >= MIN_COUNT), key=lambda w: (-counts[w], w)), every


def training_usage(cuts: Sequence[Path]) -> Usage:
    """How the first USAGE_WORDS words of the train split, or of the world without `cuts`, use their words."""
    usage, left = Usage(), USAGE_WORDS
    if not cuts:
        for story in documents(0, USAGE_WORDS):
            usage.add([sentence.split() for sentence in story.sentences])
        return usage
    for cut in (cut for path in cuts for cut in read_cuts(path)):
        words = [w for w in cut.text.split() if w.strip("'")]
        if left <= 0:
            break
        if cut.split == "train" and words:
            usage.add([words])
            left -= len(words)
    return usage


@lru_cache(maxsize=1)
def training_statistics(cuts: tuple[Path, ...] = ()) -> Statistics:
    """The short cuts' statistics, from the most frequent words of the training text as they are spoken alone."""
    usage = training_usage(cuts)
    words = [word for word, _ in usage.words.most_common(USAGE_TYPES)]
    return Statistics(usage, dict(zip(words, neutral(words, ACCENTS[0]), strict=True)))
