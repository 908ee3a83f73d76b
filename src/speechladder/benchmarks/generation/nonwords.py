"""Non-words matched to words, in the manner of Wuggy (Keuleers and Brysbaert 2010).

A word is cut into consonant and vowel segments. About a third of them are replaced by others of the same place and
length that words have beside the same neighbours. Length, syllable count, inflection and most segments stay the same.
Letter transitions are matched: one half of the non-words is slightly likelier than its word under a letter bigram, and
the other half slightly less likely.
"""

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path

from speechladder.alignment.pocketsphinx import bundled_dictionary
from speechladder.benchmarks.pairs import Pair
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.world import lexicon as lx
from speechladder.io.errors import UserError

_SEGMENT = re.compile(r"qu|(?:(?!qu)[bcdfghjklmnpqrstvwxz])+|[aeiouy]+")
MIN_COUNT = 2  # a word is tested if the training text holds it at least this often
PROPOSALS = 120  # candidates that are drawn for each word


def segments(word: str) -> tuple[str, ...]:
    """Maximal runs of consonants and of vowels: 'knives' -> kn i v e s, 'stage' -> st a g e.

    >>> segments("fence")
    ('f', 'e', 'nc', 'e')
    """
    # y is a consonant at the start of a word before a vowel
    if word[:1] == "y" and word[1:2] in tuple("aeiou"):
        return ("y", *_SEGMENT.findall(word[1:]))
    return tuple(_SEGMENT.findall(word))


def syllables(word: str) -> int:
    """The number of vowel runs, without a final silent e."""
    count = sum(s[0] in "aeiouy" for s in segments(word)[int(word[:1] == "y") :])
    silent = word.endswith("e") and count > 1 and not word.endswith(("le", "ee"))
    return count - silent


_SOUNDS = [
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^kn|^gn", "n"),
        (r"^wr", "r"),
        (r"^ps", "s"),
        (r"wh", "w"),
        (r"ph", "f"),
        (r"tch", "ch"),
        (r"gh", ""),
        (r"mb$", "m"),
        (r"c(?=[eiy])", "s"),
        (r"ck|[cq](?!h)", "k"),
        (r"x", "ks"),
        (r"z", "s"),
        (r"dg", "j"),
        (r"g(?=[eiy])", "j"),
        (r"ee|ea|ie|ei|ey$", "I"),
        (r"ai|ay", "A"),
        (r"oa|oe|ow$", "O"),
        (r"oo|ew|ue|eu|ui", "U"),
        (r"au|aw", "W"),
        (r"ou|ow", "V"),
        (r"y", "i"),
        (r"[eiou](?=r)", "@"),
        (r"(?<=.)e(?=[sd]?$)", ""),
    )
]


@cache
def sound_key(word: str) -> str:
    """A rough key of the sound of a spelling. Two spellings with the same key may be homophones."""
    for pattern, sound in _SOUNDS:
        word = pattern.sub(sound, word)
    return re.sub(r"(.)\1+", r"\1", word)


def _skeleton(word: str) -> str:
    """The consonants of `sound_key`."""
    return re.sub(r"[aeiouyAIOUVW@]", "", sound_key(word))


@cache
def _dictionary() -> tuple[frozenset[str], frozenset[tuple[str, ...]]]:
    """Words and pronunciations (ARPAbet without stress) of the dictionary in the package pocketsphinx.

    The package is not imported, which would be slow. Raises UserError if it is not installed.
    """
    words = bundled_dictionary()
    return frozenset(words), frozenset(tuple(phones.split()) for variants in words.values() for phones in variants)


def _suffix(word: str) -> str:
    """The inflection of a word, which a non-word keeps: 'whistling' -> 'ing', 'stage' -> 'e', 'king' -> ''."""
    for suffix in ("ing", "ed", "es", "s", "e"):
        stem = word.removesuffix(suffix)
        if stem != word and len(stem) >= 2 and any(c in "aeiouy" for c in stem):
            return suffix
    return ""


def _stems(word: str) -> list[str]:
    """The word and its possible base forms, since dictionaries lack many inflected forms: 'tings', 'ting'."""
    stem = word.removesuffix(_suffix(word))
    return [word, stem, stem + "e", stem[:-1] + "y"] if stem != word else [word]


class _Chain:
    """The segments of a word list: which of them stand beside each other, and how letters follow each other."""

    def __init__(self, words: Iterable[str]) -> None:
        self.follows: set[tuple[str, str]] = set()
        self.shapes: dict[tuple[bool, int, bool, bool], list[str]] = {}
        letters: Counter[tuple[str, str]] = Counter()
        before: Counter[str] = Counter()
        shapes: dict[tuple[bool, int, bool, bool], set[str]] = defaultdict(set)
        for word in sorted(set(words)):
            parts = segments(word)
            self.follows.update(zip(("^", *parts), (*parts, "$")))
            for i, part in enumerate(parts):
                shapes[self._shape(parts, i)].add(part)
            letters.update(zip("^" + word, word + "$"))
            before.update("^" + word)
        self.shapes = {shape: sorted(found) for shape, found in shapes.items()}
        self._cost = {pair: -math.log((n + 0.1) / (before[pair[0]] + 2.8)) for pair, n in letters.items()}
        self._unseen = {letter: -math.log(0.1 / (n + 2.8)) for letter, n in before.items()}

    @staticmethod
    def _shape(parts: Sequence[str], i: int) -> tuple[bool, int, bool, bool]:
        """Vowel or consonant, length, first, last: properties that a replacement keeps."""
        return parts[i][0] in "aeiouy", len(parts[i]), i == 0, i == len(parts) - 1

    def cost(self, word: str) -> float:
        """Negative log-likelihood (nats) under the letter bigram over word types."""
        default = max(self._unseen.values())
        return sum(self._cost.get(pair, self._unseen.get(pair[0], default)) for pair in zip("^" + word, word + "$"))

    def candidates(self, word: str, rng: random.Random) -> list[str]:
        """Strings with about a third of the segments of `word` replaced, each beside neighbours that words have too."""
        parts = segments(word)
        suffix = _suffix(word)
        ends = list(accumulate(map(len, parts)))
        places = [i for i, end in enumerate(ends) if end - len(parts[i]) < len(word) - len(suffix)]
        count = min(max(1, round(len(parts) / 3)), len(places))
        out = set()
        for _ in range(PROPOSALS):
            new = list(parts)
            for i in rng.sample(places, count):
                options = self.shapes.get(self._shape(parts, i), [])
                left, right = ["^", *new][i], [*new, "$"][i + 1]
                options = [
                    x for x in options if x != parts[i] and (left, x) in self.follows and (x, right) in self.follows
                ]
                if not options:
                    break
                new[i] = rng.choice(options)
            else:
                out.add("".join(new))
        return sorted(x for x in out if x.endswith(suffix) and syllables(x) == syllables(word) and len(x) == len(word))


def _base_words(words: list[str] | None) -> list[list[str]]:
    """Words to match, in groups of decreasing preference."""
    names = {x for table in lx.NAMES.values() for x in table}
    given = [w for w in (lx.content_words() if words is None else words) if w not in names]
    given = [w for w in dict.fromkeys(x.lower() for x in given) if re.fullmatch(r"[a-z]{3,}", w)]
    given = [w for w in given if len(segments(w)) > 1]
    return [[w for w in given if len(w) >= 4], [w for w in given if len(w) == 3]]


class _Matcher:
    """Finds a non-word for a word: it is no word, sounds like none, and is no other pair's non-word."""

    def __init__(
        self,
        words: list[str] | None,
        also_words: Collection[str],
        pronounce: Callable[[str], Sequence[str]] | None,
        rng: random.Random,
    ) -> None:
        self.rng, self.used = rng, set[str]()
        self._vocabulary = {*lx.lexicon_words(), *(w.lower() for w in words or [])}
        self._english, self._spoken = _dictionary()
        self._chain = _Chain(w for w in self._vocabulary if re.fullmatch(r"[a-z]+", w) and segments(w))
        self._also = {w.lower() for w in also_words}
        self._keys = {sound_key(w) for w in self._vocabulary | self._also}
        # words by their consonants: homophones have the same
        self._alike: dict[str, list[str]] = defaultdict(list)
        for w in sorted(self._vocabulary):
            self._alike[_skeleton(w)].append(w)
        self._pronounce = pronounce
        self._phones: dict[str, tuple[str, ...]] = {}

    def match(self, word: str, likelier: bool) -> str | None:
        """A non-word for `word`, preferably likelier or less likely than it under the letter bigram, or None."""
        cost = self._chain.cost(word)
        candidates = self._chain.candidates(word, self.rng)
        found = [(self._chain.cost(x) - cost, x) for x in candidates if self._is_free(x)]
        # the wanted side first, then the nearest
        for _, x in sorted(found, key=lambda c: ((c[0] <= 0) != likelier, abs(c[0]))):
            if not self._pronounce or not self._sounds_known(x, word):
                return x
        return None

    def _is_free(self, word: str) -> bool:
        known = any(x in self._vocabulary or x in self._english or x in self._also for x in _stems(word))
        return not known and word not in self.used and sound_key(word) not in self._keys

    def _sounds_known(self, word: str, own: str) -> bool:
        phones = self._phones_of(word)
        others = [own, *self._alike.get(_skeleton(word), [])]
        return phones in self._spoken or any(phones == self._phones_of(w) for w in others)

    def _phones_of(self, word: str) -> tuple[str, ...]:
        if word not in self._phones:
            self._phones[word] = tuple(p.rstrip("012") for p in self._pronounce(word))
        return self._phones[word]


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


def swuggy_pairs(
    seed: int,
    n: int,
    words: list[str] | None = None,
    pronounce: Callable[[str], Sequence[str]] | None = None,
    also_words: Collection[str] = (),
) -> list[Pair]:
    """`n` pairs of a word (good) and a matched non-word (bad); the type of a pair is the word's length in letters.

    If `n` exceeds the number of words, a word gets several non-words. Raises UserError if `n` pairs cannot be made.

    Args:
        seed: seed of the draw
        n: number of pairs
        words: the words to match (default: the world's content words); names of people are never matched
        pronounce: word -> ARPAbet phones; with it, no non-word sounds like a word of the lexicon, of `words` or of the
            dictionary
        also_words: strings that are not matched and are no non-words either (words that are too rare to be tested)
    """
    rng = random.Random(f"swuggy/{seed}")
    groups = _base_words(words)
    matcher = _Matcher(words, also_words, pronounce, rng)
    pairs: list[Pair] = []
    serial: Counter[str] = Counter()
    for group in groups:  # short words only if the others give too few pairs
        order = list(group)
        while len(pairs) < n and order:
            rng.shuffle(order)
            exhausted = set()
            for word in order:
                if len(pairs) == n:
                    break
                bad = matcher.match(word, likelier=len(pairs) % 2 == 0)
                if bad is None:
                    exhausted.add(word)
                    continue
                matcher.used.add(bad)
                serial[word] += 1
                pairs.append(Pair(f"{word}-{serial[word]}", f"{len(word)} letters", word, bad))
            order = [w for w in order if w not in exhausted]
    if len(pairs) < n:
        raise UserError(
            f"benchmarks.swuggy_pairs={n}: only {len(pairs)} pairs can be made from "
            f"{sum(map(len, groups))} words; lower it or give more words"
        )
    return pairs
