"""Short cuts of a word task: what tells a word from its non-word without knowledge of words.

They are lengths, and unigrams and bigrams over letters, phones and frames at 50 Hz, estimated on the training text. The
non-words are chosen so that none of them helps: see `balance`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.phones import SIL, strip_stress

FRAME = SAMPLE_RATE // 50  # samples
Said = Sequence[tuple[str, float]]  # phones of a word with their lengths in samples

SHORTCUTS = (
    *("letters", "letter unigram", "letter bigram"),
    *("phones", "phone unigram", "phone bigram"),
    *("frames", "frame unigram", "frame bigram", "frame unigram per frame", "frame bigram per frame"),
)
TIE = 1e-9
CLOSENESS = 0.02  # weight of the distance of a non-word from its word, against the balance of the whole set
SWEEPS = 30


@dataclass
class Usage:
    """How a text uses its words.

    Attributes:
        words: word -> how often the text has it
        pairs: (word, next word) -> how often; "" stands before the first and after the last word of a sentence
        starts: word -> how often an utterance begins with it
    """

    words: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)

    def add(self, sentences: Iterable[Sequence[str]]) -> None:
        """Count the sentences of an utterance, each a list of its words."""
        for number, sentence in enumerate(sentences):
            self.words.update(sentence)
            self.pairs.update(pairwise(("", *sentence, "")))
            if not number:
                self.starts[sentence[0]] += 1


class _Chain:
    """A unigram and a bigram over symbols; unseen pairs have one count, spread by the unigram."""

    def __init__(self, one: Mapping[str, float], two: Mapping[tuple[str, str], float]) -> None:
        self._one, self._two = one, two
        self._total, self._kinds = sum(one.values()), len(one) + 1
        self._after: Counter[str] = Counter()
        for (before, _), count in two.items():
            self._after[before] += count
        self._known: dict[tuple[str, str], float] = {}

    def _share(self, symbol: str) -> float:
        return (self._one.get(symbol, 0) + 0.5) / (self._total + 0.5 * self._kinds)

    def unigram(self, symbol: str) -> float:
        """Negative log-likelihood of a symbol, in nats."""
        return -math.log(self._share(symbol))

    def bigram(self, before: str, symbol: str) -> float:
        """Negative log-likelihood of a symbol after another, in nats."""
        key = before, symbol
        if key not in self._known:
            seen, after = self._two.get(key, 0), self._after.get(before, 0)
            self._known[key] = -math.log((seen + self._share(symbol)) / (after + 1))
        return self._known[key]


class Statistics:
    """The unigrams and bigrams of a training text whose words are spoken as `said` tells."""

    def __init__(self, usage: Usage, said: Mapping[str, Said]) -> None:
        self._letters = _letters(usage)
        self._phones, self._frames = _phones(usage, said)

    def features(self, word: str, said: Said) -> np.ndarray:
        """(len(SHORTCUTS),) the lengths and negative log-likelihoods (nats) of a word or non-word."""
        letters = [self._letters.unigram(c) for c in word]
        spelt = [self._letters.bigram(a, b) for a, b in pairwise(("", *word))]
        phones = [strip_stress(phone) for phone, _ in said]
        edged = list(pairwise((SIL, *phones, SIL)))
        spoken = [self._phones.unigram(p) for p in phones]
        steps = [self._phones.bigram(a, b) for a, b in edged]
        frames = [samples / FRAME for _, samples in said]
        length = sum(frames)
        one = sum(n * self._frames.unigram(p) for p, n in zip(phones, frames))
        two = sum(self._frames.bigram(a, b) for a, b in edged)
        two += sum((n - 1) * self._frames.bigram(p, p) for p, n in zip(phones, frames))
        out = [len(word), sum(letters), sum(spelt), len(phones), sum(spoken), sum(steps)]
        return np.array([*out, length, one, two, one / length, two / length])


def _letters(usage: Usage) -> _Chain:
    """Letters of running text: "" begins an utterance, and a space stands between words."""
    one: Counter[str] = Counter()
    two: Counter[tuple[str, str]] = Counter()
    for word, count in usage.words.items():
        for letter in (*word, " "):
            one[letter] += count
        for step in pairwise((*word, " ")):
            two[step] += count
        two["", word[0]] += usage.starts[word]
        two[" ", word[0]] += count - usage.starts[word]
    return _Chain(one, two)


def _phones(usage: Usage, said: Mapping[str, Said]) -> tuple[_Chain, _Chain]:
    """Phones of running text, and the frames that they last; words that are not in `said` are left out."""
    one, two, held, steady = Counter(), Counter(), Counter(), Counter()
    bare = {word: [strip_stress(phone) for phone, _ in phones] for word, phones in said.items()}
    for word, phones in bare.items():
        count = usage.words[word]
        for (_, samples), phone in zip(said[word], phones):
            one[phone] += count
            held[phone] += count * samples / FRAME
            steady[phone, phone] += count * max(0.0, samples / FRAME - 1)
        for step in pairwise(phones):
            two[step] += count
    for (before, after), count in usage.pairs.items():
        left, right = (bare.get(word, [SIL] if not word else []) for word in (before, after))
        if left and right:
            two[left[-1], right[0]] += count
            if right == [SIL]:
                one[SIL] += count
                held[SIL] += 8 * count
                steady[SIL, SIL] += 7 * count
    return _Chain(one, two), _Chain(held, two + steady)


def balance(options: Sequence[tuple[Sequence[str], np.ndarray]], rng: np.random.Generator) -> list[str]:
    """Choose one option for each slot, all different, so that no short cut tells words from non-words over the set.

    `options` has for each slot the names of its options and their differences (options, features) from the word. For
    each feature both the signs of the differences and the differences themselves are brought near to a sum of 0. With
    means of 0, no linear combination of the short cuts helps either: it is the gradient of a logistic regression at 0.
    A small weight keeps each non-word near its word. Slots change one after the other until none gains.
    """
    spread = np.sqrt(np.mean(np.concatenate([d for _, d in options]) ** 2, axis=0))
    sizes = [d / np.maximum(spread, 1e-9) for _, d in options]
    steps = [np.concatenate([np.sign(s), np.clip(s, -3, 3)], axis=1) for s in sizes]
    far = [CLOSENESS * np.mean(s**2, axis=1) for s in sizes]
    chosen, used = [-1] * len(options), set[str]()
    total, scale = np.zeros(2 * sizes[0].shape[1]), len(options) ** -0.5
    for _ in range(SWEEPS):
        moved = 0
        for slot in rng.permutation(len(options)):
            names, old = options[slot][0], chosen[slot]
            if old >= 0:
                total -= steps[slot][old]
                used.discard(names[old])
            cost = (((total + steps[slot]) * scale) ** 2).sum(axis=1) + far[slot]
            cost[[name in used for name in names]] = np.inf
            new = old if old >= 0 and cost[old] <= cost.min() else int(cost.argmin())
            chosen[slot], moved = new, moved + (new != old)
            total += steps[slot][new]
            used.add(names[new])
        if not moved:
            break
    return [names[k] for (names, _), k in zip(options, chosen)]


def solved_by(statistics: Statistics, rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Short cut -> share of pairs that it solves: the word is the shorter or the likelier half; a tie counts a half.

    The rows are those of an items table of words. The mean is taken over the voices of an id first, then over ids.
    """
    halves: dict[str, dict[str, dict[bool, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        said = [(p["label"], (p["end"] - p["start"]) * SAMPLE_RATE) for p in row["phones"] if p["label"] != SIL]
        halves[row["id"]][row["voice"]][row["correct"]] = statistics.features(row["text"].replace(" ", ""), said)
    shares = []
    for voices in halves.values():
        difference = np.array([half[False] - half[True] for half in voices.values()])
        shares.append(np.where(np.abs(difference) < TIE, 0.5, difference > 0).mean(axis=0))
    return dict(zip(SHORTCUTS, np.mean(shares, axis=0).tolist()))
