"""Phones to words by the lexicon: exact for its pronunciations, near for others."""

import random
import time

import pytest

from speechladder.continuation.lexicon import SUBSTITUTION, Lexicon, observed_pronunciations
from speechladder.corpora.phones import ARPABET
from speechladder.corpora.speak import pronounce
from speechladder.io.errors import UserError
from speechladder.io.spans import Span

WORDS = {
    "the": ["DH AH0", "DH IY1"],
    "cat": ["K AE1 T"],
    "cats": ["K AE1 T S"],
    "sat": ["S AE1 T"],
    "at": ["AE1 T"],
    "class": ["K L AE1 S"],
    "room": ["R UW1 M"],
    "classroom": ["K L AE1 S R UW2 M"],
    "two": ["T UW1"],
    "too": ["T UW1"],
    "dogs": ["D AO1 G Z"],
}


def lexicon(**options) -> Lexicon:
    table = {w: [tuple(p.translate(str.maketrans("", "", "012")).split()) for p in ps] for w, ps in WORDS.items()}
    return Lexicon(table, **options)


@pytest.mark.parametrize(
    ("phones", "words"),
    [
        ("DH AH K AE T S AE T", "the cat sat"),  # or: the cats at
        ("DH AH0 K AE1 T SIL S AE1 T", "the cat sat"),
        ("DH IY K AE T S | AE T", "the cats at"),
        ("SIL K L AE S R UW M SIL", "classroom"),
        ("K L AE S | R UW M", "class room"),
        ("D AA G Z", "dogs"),  # near vowels
        ("D AO G", "dogs"),  # a phone is missing
        ("D AO G Z AH", "dogs"),  # a phone too many
        ("K AE SIL T", "cat"),  # a pause within a word
        ("", ""),
        ("SIL | SIL", ""),
    ],
)
def test_words(phones, words):
    texts = ["the cat sat", "the cats at"] if "S AE T" in phones else []
    texts += ["the cat sat"] * bool(texts)
    assert lexicon(texts=texts).words(phones.split()) == words


def test_texts_choose_between_homophones():
    assert lexicon(texts=["too", "too", "two cats"]).words(["T", "UW"]) == "too"
    assert lexicon(texts=["too", "too", "two cats"]).words(["T", "UW", "K", "AE", "T", "S"]) == "two cats"
    assert lexicon().words(["T", "UW"]) == "too"  # the first of the alphabet, always


def test_what_is_not_allowed():
    with pytest.raises(ValueError, match="u17"):
        lexicon().words(["T", "u17"])
    with pytest.raises(UserError, match="no words"):
        Lexicon.from_words([], pronounce)
    with pytest.raises(UserError, match="'cat'"):
        Lexicon.from_words(["cat"], lambda _: ["K", "Q"])


def test_substitution_costs():
    assert all(SUBSTITUTION[a][a] == 0 for a in ARPABET)
    assert all(SUBSTITUTION[a][b] == SUBSTITUTION[b][a] > 0 for a in ARPABET for b in ARPABET if a != b)
    assert SUBSTITUTION["T"]["D"] < SUBSTITUTION["T"]["K"] < SUBSTITUTION["T"]["M"] < SUBSTITUTION["T"]["AA"]


def test_corpus_pronunciations():
    def utterance(text: str, *said: str):
        words, phones, at = [], [], 0.0
        for word, labels in zip(text.split(), said):
            begin = at
            for label in labels.split():
                phones.append(Span(label, at, at + 0.1))
                at += 0.1
            words.append(Span(word, begin, at))
            phones.append(Span("SIL", at, at + 0.2))
            at += 0.2
        return words, phones

    rows = [utterance("the cat", "DH IH0", "K AE1 T")] * 3 + [utterance("the room", "DH AH0", "R UH1 M")]
    assert observed_pronunciations(rows) == {
        "cat": [("K", "AE", "T")],
        "room": [("R", "UH", "M")],
        "the": [("DH", "IH")],
    }
    assert observed_pronunciations(rows, least=1)["the"] == [("DH", "IH"), ("DH", "AH")]
    made = Lexicon.from_words(["cat", "blorf"], pronounce, pronunciations=observed_pronunciations(rows))
    assert made.words(["DH", "IH", *pronounce("blorf"), "R", "UH", "M"]) == "the blorf room"


def test_pronounced_sentences_come_back():
    text = "the stranger laughed near a classroom many teachers liked themselves in evening pencils that girls erase"
    words = text.split()
    made = Lexicon.from_words(words, pronounce)
    rng = random.Random(0)
    for _ in range(5):
        said = rng.choices(words, k=10)
        assert made.words([p for w in said for p in pronounce(w)]) == " ".join(said)


def test_a_large_lexicon_is_fast_enough():
    rng = random.Random(0)
    table = {f"w{i}": [tuple(rng.choices(ARPABET, k=rng.randint(3, 8)))] for i in range(10_000)}
    made = Lexicon(table)
    said = rng.sample(sorted(table), 10)
    phones = [p for w in said for p in table[w][0]]
    begin = time.process_time()
    found = made.words(phones)
    assert time.process_time() - begin < 5  # 0.1-0.3 s when measured
    assert found == " ".join(said)
