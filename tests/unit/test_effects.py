"""The causes of the world's variability: each changes what it names, and nothing else."""

import random

import numpy as np
import pytest

from speechladder.corpora import effects
from speechladder.corpora.speak import Spoken, Voice, speak
from speechladder.corpora.voices import CAUSES, voices
from speechladder.io.errors import UserError

TEXT = "The old boat waits, and she swims. The dog runs in the house."
FLAT = voices(0)[0]
PLAIN = speak(TEXT, FLAT, 5)
EFFECTS = ("reverberation", "noise", "bandwidth")


def drawn(*causes: str, count: int = 40) -> list[Voice]:
    """The voices of `count` utterances."""
    pool = voices(3, causes)
    return [pool[n % len(pool)].jittered(random.Random(n)) for n in range(count)]


def power(samples: np.ndarray, low: float = 0, high: float = 8000) -> float:
    """The power between two frequencies in Hz, in dB."""
    spectrum, f = np.abs(np.fft.rfft(samples)) ** 2, np.fft.rfftfreq(len(samples), 1 / 16_000)
    return 10 * np.log10(spectrum[(f >= low) & (f < high)].sum() / len(samples))


def differs(voice: Voice) -> set[str]:
    """The fields in which a voice differs from the one flat voice."""
    return {name for name, value in vars(voice).items() if value != getattr(FLAT, name)} - {"name"}


@pytest.mark.parametrize(
    ("cause", "fields"),
    [
        ("voices", {"variant"}),
        ("accents", {"accent"}),
        ("rate", {"rate"}),
        ("pitch", {"pitch", "pitch_range"}),
        ("reverberation", {"rt60"}),
        ("noise", {"snr"}),
        ("bandwidth", {"telephone"}),
    ],
)
def test_a_cause_changes_its_own_fields(cause, fields):
    spreads = {f"{name}_spread" for name in ("rate", "pitch", "range", "rt60", "snr")}
    said = [differs(voice) - spreads for voice in drawn(cause)]
    assert set().union(*said) == fields
    every = drawn(*CAUSES)
    for name in fields - {"variant", "accent"}:  # the same utterance draws the same, whatever else varies
        assert [getattr(v, name) for v in drawn(cause)] == [getattr(v, name) for v in every]


def test_pools_of_causes():
    assert voices(3, []) == voices(0)
    assert voices(3, ["voices", "accents", "rate", "pitch"]) == voices(3)
    assert {v.accent for v in voices(3, ["accents"])} == {v.accent for v in voices(3)}
    assert {v.variant for v in voices(3, ["voices"])} == {v.variant for v in voices(3)}
    assert {v.accent for v in voices(3, ["voices"])} == {"en-us"}
    pools = [voices(3, [cause]) for cause in CAUSES]
    assert all(len({v.name for v in pool}) == len(pool) for pool in pools)
    with pytest.raises(UserError, match="'noize': did you mean 'noise'"):
        voices(3, ["noize"])


def test_rate_alone_varies_durations_widely():
    def seconds(*causes: str) -> list[float]:
        return [len(speak("old boats", v, 0).samples) / 16_000 for v in drawn(*causes, count=12)]

    assert np.ptp(seconds("rate")) > 5 * np.ptp(seconds("pitch"))
    assert np.ptp(seconds()) == 0


@pytest.mark.parametrize("cause", EFFECTS)
def test_an_effect_changes_sound_but_no_length_time_or_level(cause):
    voice = next(v for v in drawn(cause) if differs(v) - {"rt60_spread", "snr_spread"})
    found: Spoken = speak(TEXT, voice, 5)
    assert (found.words, found.phones) == (PLAIN.words, PLAIN.phones)
    assert found.samples.dtype == np.float32 and len(found.samples) == len(PLAIN.samples)
    assert np.abs(found.samples).max() < 1 and not np.allclose(found.samples, PLAIN.samples, atol=1e-3)
    added = 10 * np.log10(1 + 10 ** (-voice.snr / 10))  # noise is added to the speech
    assert power(found.samples) == pytest.approx(power(PLAIN.samples) + added, abs=0.3)
    assert np.array_equal(speak(TEXT, voice, 5).samples, found.samples)
    assert cause == "bandwidth" or not np.array_equal(speak(TEXT, voice, 6).samples, found.samples)


def test_a_voice_without_effects_gives_the_samples_themselves():
    assert effects.recorded(PLAIN.samples, FLAT, 1) is PLAIN.samples


@pytest.mark.parametrize("snr", [5.0, 15.0, 25.0])
def test_the_noise_is_pink_and_as_loud_as_drawn(snr):
    noisy = speak(TEXT, Voice("noisy", pitch_range=0, snr=snr), 5).samples
    noise = noisy - PLAIN.samples  # both have the same dither
    assert power(PLAIN.samples) - power(noise) == pytest.approx(snr, abs=0.1)
    octaves = [power(noise, f, 2 * f) for f in (125, 250, 500, 1000, 2000, 4000)]
    assert np.ptp(octaves) < 1  # equal power in each octave


def test_noise_is_drawn_over_its_range():
    found = [v.snr for v in drawn("noise", count=300)]
    assert 5 <= min(found) < 6 and 24 < max(found) <= 25


def test_bandwidth_is_that_of_a_telephone_for_half_of_the_utterances():
    narrow = speak(TEXT, Voice("phone", pitch_range=0, telephone=1.0), 5).samples
    for low, high in ((0, 200), (4000, 8000)):
        assert power(narrow, low, high) < power(PLAIN.samples, low, high) - 20
    kept = power(narrow, 500, 3000) - power(PLAIN.samples, 500, 3000)
    assert 0 <= kept < 6  # what the ends of the band lose, its middle gets
    shares = [v.telephone for v in drawn("bandwidth", count=400)]
    assert set(shares) == {0.0, 1.0} and 0.4 < np.mean(shares) < 0.6


@pytest.mark.parametrize("rt60", [0.15, 0.6])
def test_sound_decays_by_60_db_in_the_rooms_time(rt60):
    click = np.zeros(16_000, dtype=np.float32)
    click[0] = 1.0
    response = effects.reverberate(click, rt60, np.random.default_rng(0))
    direct, tail = response[0] ** 2, response[1:] ** 2
    assert tail.sum() == pytest.approx(direct)
    # Schroeder's backward integral falls on a line; its end is cut where the response ends
    decay = 10 * np.log10(np.cumsum(tail[::-1])[::-1] / tail.sum() + 1e-12)
    first, last = (int(np.argmax(decay < level)) for level in (-5, -25))
    assert 3 * (last - first) / 16_000 == pytest.approx(rt60, rel=0.1)
    found = [v.rt60 for v in drawn("reverberation", count=300)]
    assert 0.15 <= min(found) < 0.17 and 0.58 < max(found) <= 0.6


def test_a_room_fills_the_pauses():
    dry, wet = PLAIN, speak(TEXT, Voice("room", pitch_range=0, rt60=0.6), 5)
    pause = next(p for p in dry.phones[1:-1] if p.label == "SIL")
    inside = slice(round(pause.start * 16_000), round(pause.end * 16_000))
    assert power(wet.samples[inside]) > power(dry.samples[inside]) + 10


def test_a_recording_that_would_be_too_loud_is_scaled_down():
    loud = PLAIN.samples / np.abs(PLAIN.samples).max()
    found = effects.recorded(loud, Voice("noisy", snr=5.0), 1)
    assert np.abs(found).max() == pytest.approx(effects.PEAK)
