"""Non-words are matched to their words and are not words themselves."""

import math
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechladder.benchmarks.generation import nonwords as nw
from speechladder.benchmarks.generation.nonwords import swuggy_pairs
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


def test_letter_bigrams_do_not_tell_words_from_non_words(pairs):
    """A letter bigram that is trained on the corpus is near chance, so the items test more than phonotactics."""
    counts = Counter(w for d in documents(0, 20_000) for s in d.sentences for w in s.split())
    for weights in (counts, dict.fromkeys(counts, 1)):
        both, first = Counter(), Counter()
        for word, n in weights.items():
            for a, b in zip("^" + word, word + "$"):
                both[a, b] += n
                first[a] += n

        def score(word, both=both, first=first):
            return sum(math.log((both[p] + 0.1) / (first[p[0]] + 2.8)) for p in zip("^" + word, word + "$"))

        won = sum(score(p.good) > score(p.bad) for p in pairs) / len(pairs)
        assert 0.38 < won < 0.68


def test_more_pairs_than_words():
    pairs = swuggy_pairs(0, 750)
    assert len({p.id for p in pairs}) == len({p.bad for p in pairs}) == 750
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

    def pronounce(word):
        # without a difference between stops, many non-words sound like their words
        return [re.sub("[ptkbdg]", "T", letter) + "1" for letter in word]

    heard = swuggy_pairs(1, 60, pronounce=pronounce)
    assert all(pronounce(p.bad) != pronounce(p.good) for p in heard)
    assert {p.bad for p in heard} != free


def test_dictionary_homophones_are_rejected():
    """A non-word is rejected if it sounds like a word of the dictionary that the lexicon lacks."""
    seen = [p.bad for p in swuggy_pairs(1, 5)]
    pairs = swuggy_pairs(1, 5, pronounce=lambda w: ["K", "AE1", "T"] if w == seen[0] else ["Z", "Z", *w])
    assert seen[0] not in {p.bad for p in pairs}


@given(st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_deterministic(seed):
    assert swuggy_pairs(seed, 12) == swuggy_pairs(seed, 12)
