"""Non-words are matched to their words and are not words themselves."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechladder.benchmarks.generation import nonwords as nw
from speechladder.benchmarks.generation.nonwords import swuggy_pairs
from speechladder.benchmarks.generation.shortcuts import balance
from speechladder.benchmarks.items import voices_of
from speechladder.corpora.speak import Voice, pronounce, speak, voices
from speechladder.corpora.world import documents, lexicon_words
from speechladder.io.errors import UserError


@pytest.fixture(scope="module")
def pairs():
    return swuggy_pairs(0, 300)


def test_segments():
    assert nw.segments("knives") == ("kn", "i", "v", "e", "s")
    assert nw.segments("queen") == ("qu", "ee", "n")
    assert nw.segments("yawn") == ("y", "a", "wn")
    assert nw.segments("berry") == ("b", "e", "rr", "y")


@given(st.from_regex(r"[a-z]{1,12}", fullmatch=True))
def test_segments_put_together_are_the_word(word):
    assert "".join(nw.segments(word)) == word


def test_syllables():
    words = "stage table library queens bee kettle"
    assert [nw.syllables(w) for w in words.split()] == [1, 2, 3, 1, 1, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [("knight", "night"), ("phone", "fone"), ("cat", "kat"), ("boat", "bote"), ("whale", "wale"), ("mail", "male")],
)
def test_sound_key_finds_homophones(one, other):
    same = nw.sound_key(one) == nw.sound_key(other)
    # the pronouncing dictionary finds homophones with a vowel digraph and with a silent e
    assert same == (other not in ("bote", "male"))


def test_nonwords_are_matched(pairs):
    assert len(pairs) == len({p.id for p in pairs}) == len({p.bad for p in pairs}) == 300
    changed = total = 0
    for p in pairs:
        assert len(p.good) == len(p.bad) >= 4
        assert nw.syllables(p.good) == nw.syllables(p.bad)
        assert len(pronounce(p.good)) == len(pronounce(p.bad))
        assert p.type == f"{len(p.good)} letters"
        a, b = nw.segments(p.good), nw.segments(p.bad)
        assert len(a) == len(b)
        changed += sum(x != y for x, y in zip(a, b))
        total += len(a)
    assert 0.25 < changed / total < 0.45


def test_nonwords_are_no_words(pairs):
    english, spoken = nw._dictionary()
    assert len(english) > 100_000
    assert ("K", "AE", "T") in spoken
    known = set(lexicon_words())
    for p in pairs:
        assert p.good in known
        assert p.bad not in known
        assert p.bad not in english
        assert nw.sound_key(p.bad) != nw.sound_key(p.good)


def sentences_as_tokens(texts, said):
    """(letters, phones, frames) of each text, from the phones and frames of its words."""
    for sentences in texts:
        letters = list(" ".join(sentences))
        for sentence in sentences:
            words = sentence.split()
            yield (
                letters,
                ["SIL", *(p for w in words for p, _ in said[w]), "SIL"],
                frames([s for w in words for s in said[w]]),
            )
            letters = []


def frames(phones):
    return ["SIL"] * 4 + [p for p, n in phones for _ in range(n)] + ["SIL"] * 4


def spoken(word, voice, seed):
    """The phones of a spoken word with their 50 Hz frames, counted at the frames' centres."""
    edges = [0.02 * k + 0.01 for k in range(200)]
    return [
        (p.label.rstrip("012"), sum(p.start <= e < p.end for e in edges)) for p in speak(word, voice, seed).phones[1:-1]
    ]


def counted():
    """Counts of tokens and of neighbours in a text of the world, for letters, phones and frames."""
    texts = [d.sentences for d in documents(5, 20_000)]
    said = {w: spoken(w, Voice("plain"), 0) for w in {w for t in texts for s in t for w in s.split()}}
    one, two = [Counter(), Counter(), Counter()], [Counter(), Counter(), Counter()]
    for levels in sentences_as_tokens(texts, said):
        for level, tokens in enumerate(levels):
            one[level].update(tokens)
            two[level].update(zip(["<s>", *tokens], tokens))
    return one, two


def solved_by_counts(pairs, counts):
    """Short cut -> share of pairs that it solves in the voices of the items."""
    one, two = counts
    before = [Counter(), Counter(), Counter()]
    for level, neighbours in enumerate(two):
        for (a, _), n in neighbours.items():
            before[level][a] += n

    def costs(word, voice, seed):
        phones = spoken(word, voice, seed)
        levels = list(word), ["SIL", *(p for p, _ in phones), "SIL"], frames(phones)
        for tokens, uni, bi, after in zip(levels, one, two, before):
            kinds, every = len(uni), sum(uni.values())
            yield len(tokens)
            yield -sum(math.log((uni[t] + 1) / (every + kinds)) for t in tokens)
            yield -sum(math.log((bi[a, b] + 0.1) / (after[a] + 0.1 * kinds)) for a, b in zip(["<s>", *tokens], tokens))

    won = Counter()
    for number, pair in enumerate(pairs):
        for voice in voices_of(number, 2, voices(3)):
            both = costs(pair.good, voice, number), costs(pair.bad, voice, number)
            for k, (good, bad) in enumerate(zip(*both, strict=True)):
                won[k] += 0.5 if abs(good - bad) < 1e-9 else float(good < bad)
    names = [(level, kind) for level in ("letters", "phones", "frames") for kind in ("length", "unigram", "bigram")]
    return {name: won[k] / len(pairs) / 2 for k, name in enumerate(names)}


@pytest.fixture(scope="module")
def counts():
    return counted()


@pytest.mark.parametrize("seed", [0, 104])
def test_lengths_unigrams_and_bigrams_do_not_tell_words_from_non_words(seed, pairs, counts):
    """Counts over a text of the world are at chance, so the items test more than phonotactics and length."""
    found = solved_by_counts(swuggy_pairs(seed, 300) if seed else pairs, counts)
    assert {name: share for name, share in found.items() if not 0.46 <= share <= 0.54} == {}


def test_a_small_world_gives_matched_pairs_too(small_world):
    pairs = swuggy_pairs(0, 300)
    assert {p.good for p in pairs} < set(lexicon_words())
    assert len({p.bad for p in pairs}) == 300 > len({p.good for p in pairs})
    found = solved_by_counts(pairs, counted())
    assert {name: share for name, share in found.items() if not 0.46 <= share <= 0.54} == {}


def test_balance_brings_signs_and_means_to_zero():
    rng = np.random.default_rng(0)
    options = [([f"{n}.{k}" for k in range(12)], rng.normal(0.5, 1.0, (12, 3))) for n in range(200)]
    chosen = balance(options, np.random.default_rng(1))
    assert chosen == balance(options, np.random.default_rng(1))
    found = np.array([d[names.index(name)] for (names, d), name in zip(options, chosen)])
    assert np.abs(np.sign(found).mean(axis=0)).max() < 0.02
    assert np.abs(found.mean(axis=0)).max() < 0.02
    assert np.abs(np.concatenate([d for _, d in options]).mean(axis=0)).min() > 0.4  # a blind choice would be far off


def test_balance_uses_an_option_once():
    options = [(["a", "b"], np.array([[0.1], [5.0]])), (["a", "b"], np.array([[0.1], [5.0]]))]
    assert sorted(balance(options, np.random.default_rng(0))) == ["a", "b"]


def test_more_pairs_than_words():
    words = lexicon_words()[:40]
    pairs = swuggy_pairs(0, 50, words=words)
    assert len({p.id for p in pairs}) == len({p.bad for p in pairs}) == 50
    assert max(Counter(p.good for p in pairs).values()) > 1


def test_other_words():
    words = ["whale", "harpoon", "captain", "Queequeg", "o'clock", "sea"]
    pairs = swuggy_pairs(0, 6, words=words)
    assert {p.good for p in pairs} <= {"whale", "harpoon", "captain", "queequeg"}
    with pytest.raises(UserError, match=r"swuggy_pairs=500.*lower it"):
        swuggy_pairs(0, 500, words=words[:2])
    with pytest.raises(UserError, match="only 0 pairs"):
        swuggy_pairs(0, 2, words=["a", "42"])


def test_words_that_are_too_rare_to_be_tested_are_no_non_words():
    words = ["whale", "harpoon", "captain"]
    free = {p.bad for p in swuggy_pairs(0, 6, words=words)}
    assert not free & {p.bad for p in swuggy_pairs(0, 6, words=words, also_words=[w.upper() for w in free])}


def test_homophones_are_rejected():
    free = {p.bad for p in swuggy_pairs(1, 60)}

    def say(words, accent):
        # without a difference between stops, many non-words sound like their words
        return [[(re.sub("[ptkbdg]", "T", letter).upper() + "1", 1600.0) for letter in word] for word in words]

    heard = swuggy_pairs(1, 60, say=say)
    assert all(say([p.bad], "en-us") != say([p.good], "en-us") for p in heard)
    assert {p.bad for p in heard} != free


def test_dictionary_homophones_are_rejected():
    """A non-word is rejected if it sounds like a word of the dictionary that the lexicon lacks."""
    seen = [p.bad for p in swuggy_pairs(1, 5)]

    def say(words, accent):
        return [[(p, 1600.0) for p in (["K", "AE1", "T"] if w in seen[:1] else ["Z", "Z", *w.upper()])] for w in words]

    assert seen[0] not in {p.bad for p in swuggy_pairs(1, 5, say=say)}


@given(st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_deterministic(seed):
    assert swuggy_pairs(seed, 12) == swuggy_pairs(seed, 12)
