"""The accuracy of phones of words in sentences, cut out of them, and alone."""

from itertools import pairwise

import numpy as np
import pytest

from speechladder.corpora.speak import Spoken
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.spans import Span
from speechladder.units.labels import PHONE_LABELS
from tests.hubert_micro_recipe import probe

WORDS = {"cat": ("K", "AE1", "T"), "bee": ("B", "IY1"), "fishes": ("F", "IH1", "SH", "AH0", "Z")}
PHONE = 1600  # samples


def spoken(text: str, voice: object = None, seed: int = 0) -> Spoken:
    """Phones of 100 ms between pauses; the samples are the index of the phone in PHONE_LABELS, over 100."""
    phones, words = ["SIL"], []
    for word in text.lower().rstrip(".").split():
        start = len(phones)
        phones += WORDS.get(word, ("AA1",))
        words.append(Span(word, start * PHONE / 16_000, len(phones) * PHONE / 16_000))
    phones.append("SIL")
    edges = [i * PHONE for i in range(len(phones) + 1)]
    samples = np.repeat([PHONE_LABELS.index(p.rstrip("012")) / 100 for p in phones], PHONE).astype(np.float32)
    return Spoken(samples, words, [Span(p, a / 16_000, b / 16_000) for p, (a, b) in zip(phones, pairwise(edges))])


def reading(waves: list[np.ndarray]) -> list[np.ndarray]:
    """An encoder that hears everything: the sample at the centre of each frame, as one of 40."""
    centres = [np.arange((len(x) - 400) // 320 + 1) * 320 + 200 for x in waves]
    return [np.eye(40, dtype=np.float32)[np.round(x[c] * 100).astype(int)] for x, c in zip(waves, centres)]


def deaf_to_short(waves: list[np.ndarray]) -> list[np.ndarray]:
    return [f if len(x) > 16_000 else np.zeros_like(f) for f, x in zip(reading(waves), waves)]


@pytest.fixture(autouse=True)
def hand_made(monkeypatch):
    monkeypatch.setattr(probe, "speak", spoken)
    texts = ["a cat fishes a bee a cat", "a bee fishes a cat a bee"]
    monkeypatch.setattr(probe, "speak_sentences", lambda count, seed: [spoken(texts[i % 2]) for i in range(count)])


def test_words_are_those_that_are_long_enough():
    words = probe.words_of([spoken("a cat a bee fishes")], seed=0)
    assert [w.alone.words[0].label for w in words] == ["cat", "fishes"]
    assert words[0].first == 2 * PHONE
    assert [PHONE_LABELS[i] for i in words[0].labels[[0, 6, -1]]] == ["K", "AE", "T"]


def test_an_encoder_that_needs_context_is_told_from_one_that_does_not():
    found = probe.probe(reading, 8, 100, 0)
    assert all(found[place]["accuracy"] == 100 for place in probe.PLACES)
    found = probe.probe(deaf_to_short, 8, 100, 0)
    assert found["in the sentence"]["accuracy"] == 100
    assert found["cut out"]["accuracy"] < 60
    assert found["alone"]["accuracy"] < 60


def test_accuracy_and_its_interval():
    counts = np.array([[10, 9], [10, 5], [20, 16]] * 30)
    found = probe.accuracy(counts)
    assert found["accuracy"] == 75.0
    assert 70 < found["low"] < 75 < found["high"] < 80
    assert probe.accuracy(counts[2:3]) == {"accuracy": 80.0, "low": 80.0, "high": 80.0}


def test_abx_of_what_can_be_told_apart():
    texts = ["cat", "cat", "bee", "fishes"] * probe.ABX_VOICES
    assert probe.abx_errors(reading, texts, 0)["within"] is None  # no two centre phones in one context


def test_no_word_is_left(monkeypatch):
    monkeypatch.setattr(probe, "speak_sentences", lambda count, seed: [spoken("a a a")] * count)
    with pytest.raises(UserError, match="--sentences 4"):
        probe.probe(reading, 4, 100, 0)


def test_mfcc_is_an_encoder_too(tmp_path):
    probe.run_probe(tmp_path / "out.json", "mfcc", sentences=8, words=9, abx_sentences=0)
    found = read_json(tmp_path / "out.json")
    assert found["words"] == 5  # the long enough ones of two sentences
    assert "abx" not in found
