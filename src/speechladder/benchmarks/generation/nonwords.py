"""Non-words matched to words, in the manner of Wuggy (Keuleers and Brysbaert 2010).

A word is cut into consonant and vowel segments; about a third of them are exchanged for others of the same
place and length that are attested beside their new neighbours. Length, syllable count, inflection and most segments
stay, and letter transitions are matched: one half of the non-words is slightly likelier than its word under a letter
bigram, the other half slightly less likely.
"""

import importlib.util
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path

from speechladder.benchmarks.pairs import Pair
from speechladder.corpora.world import lexicon as lx
from speechladder.io.errors import UserError

_SEGMENT = re.compile(r"qu|(?:(?!qu)[bcdfghjklmnpqrstvwxz])+|[aeiouy]+")
PROPOSALS = 120  # candidates drawn per word


def segments(word: str) -> tuple[str, ...]:
    """Maximal consonant and vowel runs, a silent final e apart: 'knives' -> kn i v e s, 'stage' -> st a g e.

    >>> segments("fence")
    ('f', 'e', 'nc', 'e')
    """
    # y is a consonant at the start of a word before a vowel
    if word[:1] == "y" and word[1:2] in tuple("aeiou"):
        return ("y", *_SEGMENT.findall(word[1:]))
    return tuple(_SEGMENT.findall(word))


def syllables(word: str) -> int:
    """Vowel runs, a final silent e not counted."""
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
    """A rough key of how a spelling sounds; two spellings with one key may be homophones ('nite', 'night' are not)."""
    for pattern, sound in _SOUNDS:
        word = pattern.sub(sound, word)
    return re.sub(r"(.)\1+", r"\1", word)


def _skeleton(word: str) -> str:
    """The consonants of `sound_key`."""
    return re.sub(r"[aeiouyAIOUVW@]", "", sound_key(word))


@cache
def _dictionary() -> tuple[frozenset[str], frozenset[tuple[str, ...]]]:
    """Words and pronunciations (ARPAbet without stress) of the dictionary that pocketsphinx ships.

    Found without importing pocketsphinx. Raises UserError where it is not installed.
    """
    spec = importlib.util.find_spec("pocketsphinx")
    folder = Path(spec.origin).parent if spec and spec.origin else Path("pocketsphinx")
    path = folder / "model" / "en-us" / "cmudict-en-us.dict"
    if not path.is_file():
        raise UserError(f"{path}: the English dictionary is missing; install pocketsphinx again")
    words, spoken = set(), set()
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        words.add(word.split("(")[0])
        spoken.add(tuple(p.rstrip("012") for p in phones))
    return frozenset(words), frozenset(spoken)


def _suffix(word: str) -> str:
    """An ending that carries the word's form and stays: 'whistling' -> 'ing', 'stage' -> 'e'; '' for 'king'."""
    for suffix in ("ing", "ed", "es", "s", "e"):
        stem = word.removesuffix(suffix)
        if stem != word and len(stem) >= 2 and any(c in "aeiouy" for c in stem):
            return suffix
    return ""


def _stems(word: str) -> list[str]:
    """The word and what it may be an inflected form of, since dictionaries lack many: 'tings' is 'ting' too."""
    stem = word.removesuffix(_suffix(word))
    return [word, stem, stem + "e", stem[:-1] + "y"] if stem != word else [word]


class _Chain:
    """What a word list says of segments: which stand between which neighbours, and letter transitions."""

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
        """Vowel or consonant, length, first, last: what an exchange keeps."""
        return parts[i][0] in "aeiouy", len(parts[i]), i == 0, i == len(parts) - 1

    def cost(self, word: str) -> float:
        """Negative log-likelihood (nats) under the letter bigram over word types."""
        default = max(self._unseen.values())
        return sum(self._cost.get(pair, self._unseen.get(pair[0], default)) for pair in zip("^" + word, word + "$"))

    def candidates(self, word: str, rng: random.Random) -> list[str]:
        """Words with about a third of the segments of `word` exchanged, each beside attested neighbours."""
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
    """Words to be matched, in groups of falling preference."""
    names = {x for table in lx.NAMES.values() for x in table}
    given = [w for w in (lx.content_words() if words is None else words) if w not in names]
    given = [w for w in dict.fromkeys(x.lower() for x in given) if re.fullmatch(r"[a-z]{3,}", w)]
    given = [w for w in given if len(segments(w)) > 1]
    return [[w for w in given if len(w) >= 4], [w for w in given if len(w) == 3]]


def swuggy_pairs(
    seed: int,
    n: int,
    words: list[str] | None = None,
    pronounce: Callable[[str], Sequence[str]] | None = None,
    also_words: Collection[str] = (),
) -> list[Pair]:
    """`n` pairs of a word (good) and a matched non-word (bad); type is the word's length in letters.

    `words`: what the words are drawn from, by default the world's content words; names of people never.
    `pronounce`: word -> ARPAbet phones; non-words that sound like a word of the lexicon, of `words` or of the
    dictionary are then rejected. `also_words` are never non-words either (words heard too seldom to be tested).
    Where `n` exceeds the words, a word gets several non-words.
    Raises UserError when `n` is out of reach.
    """
    rng = random.Random(f"swuggy/{seed}")
    groups = _base_words(words)
    vocabulary = {*lx.lexicon_words(), *(w.lower() for w in words or [])}
    english, spoken = _dictionary()
    chain = _Chain(w for w in vocabulary if re.fullmatch(r"[a-z]+", w) and segments(w))
    heard = {w.lower() for w in also_words}
    keys = {sound_key(w) for w in vocabulary | heard}
    alike: dict[str, list[str]] = defaultdict(list)  # words by their consonants: only these can be homophones
    for w in sorted(vocabulary):
        alike[_skeleton(w)].append(w)
    used: set[str] = set()

    @cache
    def phones(word: str) -> tuple[str, ...]:
        return tuple(p.rstrip("012") for p in pronounce(word)) if pronounce else ()

    def sounds_known(word: str, own: str) -> bool:
        said = phones(word)
        return said in spoken or any(said == phones(w) for w in [own, *alike.get(_skeleton(word), [])])

    def free(word: str) -> bool:
        known = any(x in vocabulary or x in english or x in heard for x in _stems(word))
        return not known and word not in used and sound_key(word) not in keys

    def match(word: str, likelier: bool) -> str | None:
        found = [(chain.cost(x) - chain.cost(word), x) for x in chain.candidates(word, rng) if free(x)]
        # the wanted side first, then by nearness
        for _, x in sorted(found, key=lambda c: ((c[0] <= 0) != likelier, abs(c[0]))):
            if not pronounce or not sounds_known(x, word):
                return x
        return None

    pairs: list[Pair] = []
    serial: Counter[str] = Counter()
    for group in groups:  # short words only where the others give too few
        order = list(group)
        while len(pairs) < n and order:
            rng.shuffle(order)
            exhausted = set()
            for word in order:
                if len(pairs) == n:
                    break
                bad = match(word, likelier=len(pairs) % 2 == 0)
                if bad is None:
                    exhausted.add(word)
                    continue
                used.add(bad)
                serial[word] += 1
                pairs.append(Pair(f"{word}-{serial[word]}", f"{len(word)} letters", word, bad))
            order = [w for w in order if w not in exhausted]
    if len(pairs) < n:
        raise UserError(
            f"benchmarks.swuggy_pairs={n}: only {len(pairs)} pairs can be made from "
            f"{sum(map(len, groups))} words; lower it or give more words"
        )
    return pairs
