"""MFCC at the frames of HuBERT."""

import numpy as np
import pytest

from speechladder.constants import HOP, RECEPTIVE_FIELD
from speechladder.io.audio import frame_count
from speechladder.units.mfcc import deltas, log_mel, mel_filters, mel_to_hz, mfcc, normalise


@pytest.mark.parametrize("samples", [0, 399, 400, 719, 720, 16_000, 16_079, 16_080, 52_345])
def test_frames_are_huberts(samples):
    noise = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    assert mfcc(noise).shape == (frame_count(samples), 39)
    assert log_mel(noise).shape == (frame_count(samples), 40)


def test_a_frame_sees_its_own_window_only():
    """Frame t covers samples 320 t to 320 t + 400, as in HuBERT; pre-emphasis adds the sample before it."""
    rng = np.random.default_rng(1)
    one = rng.normal(0, 0.1, 8_000).astype(np.float32)
    two = one.copy()
    frame = 7
    two[: frame * HOP - 1] = 0
    two[frame * HOP + RECEPTIVE_FIELD :] = 0
    np.testing.assert_allclose(log_mel(one)[frame], log_mel(two)[frame], rtol=1e-5)
    assert abs(log_mel(one)[frame + 1] - log_mel(two)[frame + 1]).max() > 0.1


def test_a_tone_is_loudest_in_its_band():
    t = np.arange(16_000) / 16_000
    centres = mel_to_hz(np.linspace(*(2595 * np.log10(1 + np.array([20.0, 8000.0]) / 700)), 42))[1:-1]
    for band in (5, 20, 35):
        tone = np.sin(2 * np.pi * centres[band] * t).astype(np.float32)
        assert log_mel(tone)[10:40].mean(0).argmax() == band


def test_filters_cover_the_range():
    assert mel_filters().shape == (40, 257)
    assert (mel_filters().max(axis=1) > 0.3).all()


def test_normalised_over_the_utterance_and_gain_free():
    speech = np.random.default_rng(2).normal(0, 0.1, 30_000) * (0.1 + np.hanning(30_000))
    features = mfcc(speech.astype(np.float32))
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-3)
    np.testing.assert_allclose(mfcc((speech * 0.5).astype(np.float32)), features, atol=0.05)


def test_silence_is_finite():
    assert np.isfinite(mfcc(np.zeros(8_000, np.float32))).all()
    assert not normalise(np.ones((5, 2), np.float32)).any()


def test_deltas_are_the_slope():
    ramp = np.arange(10, dtype=np.float32)[:, None] * 3
    np.testing.assert_allclose(deltas(ramp)[2:-2], 3)
