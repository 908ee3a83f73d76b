"""Each rung on an utterance written by hand, and properties that hold for any utterance."""

from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechladder import settings
from speechladder.continuation.transcribe import join_characters
from speechladder.corpora.phones import ARPABET, SIL
from speechladder.corpora.speak import speak, voices
from speechladder.corpora.text import normalise
from speechladder.io.errors import UserError
from speechladder.io.spans import Span
from speechladder.rungs import registry
from speechladder.rungs.confusions import Confusions
from speechladder.rungs.functions import PAUSE_MARK, phone_alphabet
from speechladder.rungs.registry import SPACE, Utterance
from speechladder.settings import Tokens
from speechladder.settings.documents import as_schema
from speechladder.workflow.config import checked

# "a cat" said in 0.2 s: SIL SIL AH0 | K AE1 T SIL, with two neighbouring pauses first
PHONES = [
    Span("SIL", 0.00, 0.02),
    Span("SIL", 0.02, 0.04),
    Span("AH0", 0.04, 0.08),
    Span("SIL", 0.08, 0.10),
    Span("K", 0.10, 0.12),
    Span("AE1", 0.12, 0.18),
    Span("T", 0.18, 0.18),  # a coda without duration
    Span("SIL", 0.18, 0.20),
]
WORDS = [Span("a", 0.04, 0.08), Span("cat", 0.10, 0.18)]


def say(name: str, **options: bool) -> str:
    utterance = Utterance(
        id="u",
        text="a cat",
        words=WORDS,
        phones=PHONES,
        units=np.array([7, 7, 3, 3, 3, 7, 12, 12, 0], np.uint16),
        frames=9,
        seconds=0.2,
        options=Tokens(**options),
    )
    return " ".join(registry.get(name).function(utterance))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("text-bpe", {}, "# ▁ a ▁ # ▁ c a t ▁ #"),
        ("text-raw", {}, "# a # c a t #"),
        ("text-bpe", {"text_pauses": False}, "a ▁ c a t"),
        ("text-raw", {"text_pauses": False}, "a ▁ c a t"),
        ("text-bpe", {"silence": False}, "a ▁ c a t"),
        ("text-raw", {"silence": False}, "a ▁ c a t"),
        ("phone-raw", {}, "SIL AH SIL K AE T SIL"),
        ("phone-bpe", {}, "SIL AH SIL K AE T SIL"),
        ("phone-raw", {"stress": True}, "SIL AH0 SIL K AE1 T SIL"),
        ("phone-raw", {"silence": False}, "AH K AE T"),
        ("phone-raw", {"word_boundary": True}, "SIL AH | SIL K AE T SIL"),
        ("phone-raw", {"word_boundary": True, "silence": False}, "AH | K AE T"),
        # frame centres: 12.5 ms, 32.5, 52.5, 72.5, 92.5, 112.5, 132.5, 152.5, 172.5
        ("phone-repeat", {}, "SIL SIL AH AH SIL K AE AE AE"),
        ("phone-repeat", {"silence": False, "word_boundary": True}, "SIL SIL AH AH SIL K AE AE AE"),
        ("phone-repeat", {"stress": True}, "SIL SIL AH0 AH0 SIL K AE1 AE1 AE1"),
        ("speech-hubert", {}, "u7 u7 u3 u3 u3 u7 u12 u12 u0"),
        ("speech-hubert-dedup", {}, "u7 u3 u7 u12 u0"),
    ],
)
def test_by_hand(name: str, options: dict[str, bool], expected: str) -> None:
    assert say(name, **options) == expected


def test_a_coda_without_duration_stays_in_its_word() -> None:
    """'an eel' run together: N has no duration and ends where the next word starts."""
    phones = [Span("AE1", 0.0, 0.1), Span("N", 0.1, 0.1), Span("IY1", 0.1, 0.2), Span("L", 0.2, 0.3)]
    words = [Span("an", 0.0, 0.1), Span("eel", 0.1, 0.3)]
    utterance = Utterance("u", "an eel", words, phones, None, 15, 0.3, Tokens(word_boundary=True))
    assert registry.get("phone-raw").function(utterance) == ["AE", "N", "|", "IY", "L"]


def words_said(symbols: list[str], space: str, pause: str) -> list[int]:
    """For each pause the number of words before it."""
    found, before, spoken = [], 0, False
    for symbol in symbols:
        before, spoken = (before + spoken, False) if symbol in (space, pause) else (before, True)
        found += [before] * (symbol == pause)
    return found


@pytest.mark.parametrize("variability", [0, 3])
def test_text_and_phones_pause_at_the_same_word_boundaries(variability: int) -> None:
    text = "The neighbor who helps buried the fence. In the evening the king saw them, and Rachel's dog slept. Why?"
    for voice in voices(variability)[:4]:
        said = speak(text, voice, 5)
        options = Tokens(word_boundary=True)
        utterance = Utterance("u", normalise(text), said.words, said.phones, None, 0, said.phones[-1].end, options)
        phones = registry.get("phone-raw").function(utterance)
        assert phones.count("|") == len(said.words) - 1  # so no two words share a phone
        expected = words_said(phones, "|", SIL)
        assert {0, 7, len(said.words)} < {*expected}
        for name in ("text-raw", "text-bpe"):
            symbols = registry.get(name).function(utterance)
            assert words_said(symbols, SPACE, PAUSE_MARK) == expected
            assert " ".join(join_characters(symbols)) == normalise(text)


def test_pauses_of_an_alignment_of_other_words_are_an_error() -> None:
    utterance = Utterance("u7", "a cat sat", WORDS, PHONES, None, 9, 0.2)
    with pytest.raises(UserError, match="'u7': 3 words of text, 2 in the alignment"):
        registry.get("text-raw").function(utterance)
    within = replace(utterance, text="cats", words=[Span("cats", 0.04, 0.18)])
    assert registry.get("text-raw").function(within) == [*"#cats#"]  # the pause within the word has no place


LABELS = st.sampled_from([SIL, *ARPABET])


@st.composite
def utterances(draw: st.DrawFn) -> Utterance:
    labels = draw(st.lists(LABELS, min_size=1, max_size=30))
    ends = np.cumsum([draw(st.floats(0, 0.3)) for _ in labels])
    phones = [Span(p, float(s), float(e)) for p, s, e in zip(labels, [0.0, *ends[:-1]], ends)]
    words = [Span("w", p.start, p.end) for p in phones if p.label != SIL and draw(st.booleans())]
    units = np.array(draw(st.lists(st.integers(0, 5), min_size=1, max_size=40)), np.uint16)
    options = Tokens(silence=draw(st.booleans()), word_boundary=draw(st.booleans()), stress=draw(st.booleans()))
    return Utterance(
        "u", " ".join("w" for _ in words) or "w", words, phones, units, len(units), float(ends[-1]), options,
        confusions=Confusions([*ARPABET, SIL], np.ones((len(ARPABET) + 1, 3), np.int64)), seed=0, clusters=6,
    )  # fmt: skip


@given(utterances())
def test_any_utterance(utterance: Utterance) -> None:
    said = {name: registry.get(name).function(utterance) for name in registry.names()}
    for name in ("phone-repeat", "speech-hubert", "random-units"):
        assert len(said[name]) == utterance.frames
    dedup = said["speech-hubert-dedup"]
    assert dedup == [unit for unit, _ in groupby(dedup)] == [unit for unit, _ in groupby(said["speech-hubert"])]
    assert join_characters(said["text-raw"]) == join_characters(said["text-bpe"])
    assert " ".join(join_characters(said["text-raw"])) == utterance.text
    phones = said["phone-raw"]
    assert set(phones) <= set(phone_alphabet(utterance.options, 0))
    assert [p for p in phones if p not in (SIL, "|")] == [p.label for p in utterance.phones if p.label != SIL]
    assert all(a != b for a, b in pairwise(phones) if a in (SIL, "|"))
    assert utterance.options.silence or SIL not in phones
    assert "|" not in phones[:1] + phones[-1:]
    assert phones.count("|") <= max(0, len(utterance.words) - 1)


def test_an_unknown_rung_is_named_with_its_nearest_spelling(tmp_path) -> None:
    with pytest.raises(UserError, match="did you mean 'text-bpe'"):
        registry.get("text-bpr")
    with pytest.raises(UserError, match=r"rungs\.1: 'phone-rew'.*did you mean 'phone-raw'"):
        checked({"rungs": ["text-bpe", "phone-rew"]}, tmp_path)


def test_registering_makes_a_rung_configurable(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(registry, "RUNGS", dict(registry.RUNGS))
    registry.rung("vowels", needs="alignment")(lambda u: ["a"])
    assert checked({"rungs": ["vowels"]}, tmp_path).rungs == ["vowels"]
    schema = as_schema(settings.Settings, registry.names())
    assert "vowels" in schema["properties"]["rungs"]["items"]["enum"]
    with pytest.raises(ValueError, match="registered already"):
        registry.rung("vowels", needs="text")
    with pytest.raises(ValueError, match="needs"):
        registry.rung("other", needs="texts")
