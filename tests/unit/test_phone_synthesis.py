"""Phones to audio: exact durations, the same bytes in any order, phones at the requested times."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from speechladder.continuation.phone_synthesis import add_stress, phones_to_speech, text_to_speech, warp
from speechladder.corpora import espeak
from speechladder.corpora.phones import ARPABET, from_espeak, is_vowel, to_espeak
from speechladder.corpora.voices import voices

VOICE = voices(1)[0]
TEXT = "DH AH S T R EY N JH ER L AE F T N IH R DH AH K L AE S R UW M SIL M EH N IY T IY CH ER Z S L IY P"
PHONES = TEXT.split()


def digest(samples: np.ndarray) -> str:
    return hashlib.sha256(samples.tobytes()).hexdigest()


def level(samples: np.ndarray, start: float, end: float) -> float:
    return float(np.sqrt(np.mean(samples[round(start * 16000) : round(end * 16000)] ** 2)))


@pytest.mark.parametrize("phone", ARPABET)
def test_espeak_speaks_the_given_phone(phone):
    for digit in ("", "0", "1", "2") if is_vowel(phone) else ("",):
        _, events = espeak.synthesise(
            f"[[m|a|{to_espeak(phone + digit)}|m|a]]", "en-us", 165, 50, 50, 0, mnemonics=True
        )
        said = [p for e in events for p in from_espeak(e.symbol) if p != "SIL"]
        assert said == ["M", "AE", phone, "M", "AE"]


def test_other_symbols_are_an_error():
    for wrong in ("SIL", "Q", "AH3", "B1", ""):
        with pytest.raises(ValueError, match="not an ARPAbet phone"):
            to_espeak(wrong)
    with pytest.raises(ValueError, match="not an ARPAbet phone"):
        phones_to_speech(["AH", "u17"], None, VOICE, 0)


def test_own_timing():
    samples = phones_to_speech(PHONES, None, VOICE, 0)
    assert samples.dtype == np.float32
    assert 2 < len(samples) / 16000 < 5
    assert 0.1 < np.abs(samples).max() <= 1
    assert level(samples, 0, 0.04) < 0.01
    seconds = len(samples) / 16000
    assert level(samples, seconds - 0.01, seconds) < 0.02
    longer = phones_to_speech([*PHONES, "SIL", "T", "UW"], None, VOICE, 0)
    assert len(longer) > len(samples) + 0.4 * 16000
    # pauses at the ends are part of the silence there
    assert digest(phones_to_speech(["SIL", *PHONES, "SIL"], None, VOICE, 0)) == digest(samples)


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.0, 1.9])
def test_given_durations_are_kept(factor):
    seconds = [0.1 * factor] * len(PHONES)
    pause = PHONES.index("SIL")
    seconds[pause] = 0.3
    samples = phones_to_speech(PHONES, seconds, VOICE, 0)
    assert len(samples) == round(sum(seconds) * 16000)
    begin = sum(seconds[:pause])
    assert level(samples, begin + 0.1, begin + 0.2) < 0.01  # the pause is at the requested time
    assert level(samples, begin - 0.05 * factor, begin) > 0.01
    assert level(samples, begin + 0.3 + 0.1 * factor, begin + 0.3 + 0.2 * factor) > 0.05


def test_a_vowel_is_loud_at_the_requested_time():
    samples = phones_to_speech(["S", "IY", "S", "AA", "S"], [0.2, 0.1, 0.3, 0.2, 0.2], VOICE, 0)
    low = np.convolve(samples, np.ones(16) / 16, "same")  # below 1 kHz: voicing, not hiss
    inside = [level(low, 0.22, 0.28), level(low, 0.62, 0.78)]
    outside = [level(low, 0.05, 0.15), level(low, 0.35, 0.55), level(low, 0.85, 0.95)]
    assert min(inside) > 3 * max(outside)


def test_same_samples_in_any_order_and_process():
    first = digest(phones_to_speech(PHONES, None, VOICE, 5))
    phones_to_speech(["AH"], [0.5], VOICE, 1)
    text_to_speech("something else", VOICE, 1)
    assert digest(phones_to_speech(PHONES, None, VOICE, 5)) == first
    code = (
        "import hashlib; from speechladder.continuation.phone_synthesis import phones_to_speech as p;"
        "from speechladder.corpora.voices import voices;"
        f"print(hashlib.sha256(p({PHONES}, None, voices(1)[0], 5).tobytes()).hexdigest())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == first
    assert digest(phones_to_speech(PHONES, None, VOICE, 6)) != first


def test_boundaries():
    plain = [p for p in PHONES if p != "SIL"]
    marked = [*plain[:2], "|", *plain[2:9], "|", *plain[9:]]
    assert digest(phones_to_speech(marked, None, VOICE, 0)) != digest(phones_to_speech(plain, None, VOICE, 0))
    seconds = [0.1] * len(marked)
    assert len(phones_to_speech(marked, seconds, VOICE, 0)) == round(0.1 * len(marked) * 16000)
    odd = ["|", "SIL", "|", "SIL", "T", "|", "|", "UW", "|", "SIL", "|"]  # a model may write anything
    assert len(phones_to_speech(odd, None, VOICE, 0)) > 1000
    assert len(phones_to_speech(odd, [0.02] * len(odd), VOICE, 0)) == 0.02 * len(odd) * 16000


def test_nothing_to_speak():
    for phones in ([], ["SIL"], ["SIL", "|", "SIL"]):
        for seconds in (None, [0.1] * len(phones)):
            assert phones_to_speech(phones, seconds, VOICE, 0).shape == (0,)
    for text in ("", " ", "...", "!?"):
        assert text_to_speech(text, VOICE, 0).shape == (0,)
    assert len(text_to_speech("the blorf swims", VOICE, 0)) > 8000


def test_long_inputs_are_spoken_to_the_end():
    phones = [p for p in PHONES * 12 if p != "SIL"]  # without pauses
    samples = phones_to_speech(phones, None, VOICE, 0)
    assert 0.04 < len(samples) / 16000 / len(phones) < 0.12
    seconds = [0.06] * len(phones)
    warped = phones_to_speech(phones, seconds, VOICE, 0)
    assert len(warped) == round(0.06 * len(phones) * 16000)
    assert min(level(warped, s, s + 1.5) for s in np.arange(0, sum(seconds) - 1.5, 1.5)) > 0.02


def test_one_frame_and_no_time_at_all():
    assert len(phones_to_speech(["T"], [0.02], VOICE, 0)) == 320
    assert phones_to_speech(["T", "AH"], [0.0, 0.0], VOICE, 0).shape == (0,)
    with pytest.raises(ValueError, match="durations"):
        phones_to_speech(["T", "AH"], [0.1], VOICE, 0)
    with pytest.raises(ValueError, match="durations"):
        phones_to_speech(["T"], [-0.1], VOICE, 0)


def test_stress():
    assert add_stress(["T", "AH0", "AA1"]) == ["T", "AH0", "AA1"]
    assert add_stress(["B", "AH", "N", "AE", "N", "AH", "|", "SIL"]) == ["B", "AH", "N", "AE1", "N", "AH", "|", "SIL"]


def test_warp():
    time = np.arange(16000) / 16000
    tone = np.sin(2 * np.pi * 150 * time).astype(np.float32)
    edges = np.array([1600, 8000, 14400])
    same, at = warp(tone, edges, edges - 1600)
    assert len(same) == len(tone)
    assert np.array_equal(at, edges)
    assert np.abs(same[400:-400] - tone[400:-400]).max() < 1e-3
    longer, at = warp(tone, edges, np.array([0, 12800, 16000]))
    assert len(longer) == 16000 + 16000 - 12800
    assert at.tolist() == [1600, 14400, 17600]
    crossings = np.flatnonzero((longer[1000:-1000][:-1] < 0) & (longer[1000:-1000][1:] >= 0))
    assert np.median(np.diff(crossings)) == pytest.approx(16000 / 150, abs=1)  # the pitch is kept
