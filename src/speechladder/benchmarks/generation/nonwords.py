"""Non-words matched to words, in the manner of Wuggy (Keuleers and Brysbaert 2010).

A word is cut into consonant and vowel segments. About a third of them are replaced by others of the same place and
length that words have beside the same neighbours. Length, syllable count, inflection and most segments stay the same.
Every word gets many candidates, which are spoken. Those with another number of phones are dropped, and one of the rest
is chosen so that over the set no length, unigram or bigram tells words from non-words (generation.shortcuts).
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import accumulate

import numpy as np

from speechladder.alignment.pocketsphinx import bundled_dictionary
from speechladder.benchmarks.generation.shortcuts import Said, Statistics, balance
from speechladder.benchmarks.generation.training_text import ACCENTS, Say, neutral, training_statistics
from speechladder.benchmarks.pairs import Pair
from speechladder.corpora.phones import strip_stress
from speechladder.corpora.world import lexicon as lx
from speechladder.io.errors import UserError

_SEGMENT = re.compile(r"qu|(?:(?!qu)[bcdfghjklmnpqrstvwxz])+|[aeiouy]+")
PROPOSALS = 400  # candidates that are drawn for each word
SPOKEN = 40  # candidates that are spoken


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
    """The segments of a word list, and which of them stand beside each other."""

    def __init__(self, words: Iterable[str]) -> None:
        self.follows: set[tuple[str, str]] = set()
        self.shapes: dict[tuple[bool, int, bool, bool], list[str]] = {}
        shapes: dict[tuple[bool, int, bool, bool], set[str]] = defaultdict(set)
        for word in sorted(set(words)):
            parts = segments(word)
            self.follows.update(zip(("^", *parts), (*parts, "$")))
            for i, part in enumerate(parts):
                shapes[self._shape(parts, i)].add(part)
        self.shapes = {shape: sorted(found) for shape, found in shapes.items()}

    @staticmethod
    def _shape(parts: Sequence[str], i: int) -> tuple[bool, int, bool, bool]:
        """Vowel or consonant, length, first, last: properties that a replacement keeps."""
        return parts[i][0] in "aeiouy", len(parts[i]), i == 0, i == len(parts) - 1

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
    """Finds the non-words that match a word: they are no words, sound like none, and have as many letters and phones.

    `say` speaks words: a list of words and an accent -> the phones of each word with their lengths in samples.
    """

    def __init__(self, words: list[str] | None, also_words: Collection[str], say: Say, rng: random.Random) -> None:
        self._say, self._rng = say, rng
        self._vocabulary = {*lx.lexicon_words(), *(w.lower() for w in words or [])}
        self._english, self._spoken = _dictionary()
        self._chain = _Chain(w for w in self._vocabulary if re.fullmatch(r"[a-z]+", w) and segments(w))
        self._also = {w.lower() for w in also_words}
        self._keys = {sound_key(w) for w in self._vocabulary | self._also}
        # words by their consonants: homophones have the same
        self._alike: dict[str, list[str]] = defaultdict(list)
        for w in sorted(self._vocabulary):
            self._alike[_skeleton(w)].append(w)
        self.said: dict[str, Said] = {}

    def match(self, words: Sequence[str]) -> dict[str, list[str]]:
        """Word -> its non-words. All are spoken in one call; `said` has their phones then."""
        found = {}
        for word in words:
            free = [x for x in self._chain.candidates(word, self._rng) if self._is_free(x)]
            found[word] = sorted(self._rng.sample(free, min(SPOKEN, len(free))))
        alike = {w for own in found.values() for x in own for w in self._alike.get(_skeleton(x), [])}
        self.speak([*words, *(x for own in found.values() for x in own), *sorted(alike)])
        return {word: [x for x in own if self._fits(x, word)] for word, own in found.items()}

    def speak(self, words: Iterable[str]) -> None:
        """Add words to `said`."""
        asked = [w for w in dict.fromkeys(words) if w not in self.said]
        self.said.update(zip(asked, self._say(asked, ACCENTS[0]), strict=True))

    def _is_free(self, word: str) -> bool:
        known = any(x in self._vocabulary or x in self._english or x in self._also for x in _stems(word))
        return not known and sound_key(word) not in self._keys

    def _fits(self, word: str, own: str) -> bool:
        phones = self._phones_of(word)
        others = [own, *self._alike.get(_skeleton(word), [])]
        same = phones in self._spoken or any(phones == self._phones_of(w) for w in others)
        return not same and 0 < len(phones) == len(self._phones_of(own))

    def _phones_of(self, word: str) -> tuple[str, ...]:
        return tuple(strip_stress(phone) for phone, _ in self.said[word])


def swuggy_pairs(
    seed: int,
    n: int,
    words: list[str] | None = None,
    also_words: Collection[str] = (),
    statistics: Statistics | None = None,
    say: Say = neutral,
) -> list[Pair]:
    """`n` pairs of a word (good) and a matched non-word (bad); the type of a pair is the word's length in letters.

    A non-word has the letters, syllables and phones of its word in number, and over the set no length, unigram or
    bigram tells them apart (`shortcuts.balance`). If `n` exceeds the number of words, a word gets several non-words.
    Raises UserError if `n` pairs cannot be made.

    Args:
        seed: seed of the draw
        n: number of pairs
        words: the words to match (default: the world's content words); names of people are never matched
        also_words: strings that are not matched and are no non-words either (words that are too rare to be tested)
        statistics: those of the training text (default: of a text of the world)
        say: words, accent -> ARPAbet phones of each word with their lengths in samples. No non-word sounds like a word
            of the lexicon, of `words` or of the dictionary.
    """
    rng = random.Random(f"swuggy/{seed}")
    groups = _base_words(words)
    matcher = _Matcher(words, also_words, say, rng)
    slots, found = _slots(groups, n, matcher, rng)
    if len(slots) < n:
        raise UserError(
            f"benchmarks.swuggy_pairs={n}: only {len(slots)} pairs can be made from "
            f"{sum(map(len, groups))} words; lower it or give more words"
        )
    statistics = statistics or training_statistics()
    named = sorted({*slots, *(x for w in slots for x in found[w])})
    others = [zip(named, say(named, accent), strict=True) for accent in ACCENTS[1:]]
    spoken = [{w: matcher.said[w] for w in named}, *map(dict, others)]
    features = {w: np.concatenate([statistics.features(w, said[w]) for said in spoken]) for w in named}
    options = [(found[w], np.array([features[x] - features[w] for x in found[w]])) for w in slots]
    bad = balance(options, np.random.default_rng(rng.getrandbits(64)))
    serial: Counter[str] = Counter()
    pairs = []
    for word, other in zip(slots, bad):
        serial[word] += 1
        pairs.append(Pair(f"{word}-{serial[word]}", f"{len(word)} letters", word, other))
    return pairs


def _slots(
    groups: list[list[str]], n: int, matcher: _Matcher, rng: random.Random
) -> tuple[list[str], dict[str, list[str]]]:
    """The word of each of at most `n` pairs, and for each word its non-words, which belong to no other word.

    Every word of a group has a pair before one has two, and short words come if the others give too few pairs.
    """
    slots: list[str] = []
    found: dict[str, list[str]] = {}
    taken: set[str] = set()
    for group in groups:
        order, turn = list(group), 0
        while len(slots) < n and order:
            rng.shuffle(order)
            new = [w for w in order if w not in found]
            while new and len(slots) < n:
                asked, new = new[: n - len(slots)], new[n - len(slots) :]
                for word, own in matcher.match(asked).items():
                    found[word] = [x for x in own if x not in taken]
                    taken.update(found[word])
                slots += [w for w in asked if found[w]]
            if turn:
                slots += [w for w in order if len(found[w]) > turn][: n - len(slots)]
            order, turn = [w for w in order if len(found.get(w, [w])) > turn + 1], turn + 1
    return slots, found
