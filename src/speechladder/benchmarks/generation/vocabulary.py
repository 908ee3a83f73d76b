"""The words of a natural corpus that sWUGGY tests."""

from collections import Counter
from pathlib import Path

from speechladder.corpora.cuts import read_cuts

MIN_COUNT = 2  # a word is tested if the training text holds it at least this often


def training_words(cuts: list[Path]) -> tuple[list[str], set[str]]:
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
