"""MFCC with deltas at the 50 Hz frames of HuBERT: the baseline of an encoder, and the first targets of pre-training.

These are standard MFCC (Davis and Mermelstein 1980): pre-emphasis 0.97, Hamming window of 25 ms, 40 triangular mel
bands from 20 Hz to 8 kHz, logarithm, orthonormal DCT, 13 coefficients, then first and second time derivatives by
regression.
"""

import functools

import numpy as np
import scipy.fft

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.audio import frame_count

FFT = 512
BANDS, LOWEST, HIGHEST = 40, 20.0, 8000.0  # mel bands and their range in Hz
COEFFICIENTS = 13
PREEMPHASIS = 0.97
DELTA_REACH = 2  # frames to each side in the regression
WIDTHS = {"mfcc": 3 * COEFFICIENTS, "logmel": BANDS}  # values of a frame, by the name in units.source
FLOOR = 1e-8  # added to band energies before the logarithm; below the noise of 16-bit quantisation


def hz_to_mel(hz: float | np.ndarray) -> np.ndarray:
    """Hz to mel on the HTK scale: 2595 log10(1 + hz / 700)."""
    return 2595 * np.log10(1 + np.asarray(hz) / 700)


def mel_to_hz(mel: float | np.ndarray) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


@functools.cache
def mel_filters(bands: int = BANDS) -> np.ndarray:
    """(bands, FFT // 2 + 1) float64: triangular filters equally spaced in mel, with peak 1."""
    edges = mel_to_hz(np.linspace(hz_to_mel(LOWEST), hz_to_mel(HIGHEST), bands + 2))
    bins = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray, bands: int = BANDS) -> np.ndarray:
    """Natural log of mel band energies, (frame_count(n), bands) float32, of (n,) samples at 16 kHz."""
    frames = frame_count(len(samples))
    if not frames:
        return np.zeros((0, bands), np.float32)
    x = samples.astype(np.float64)
    x = np.concatenate([x[:1] * (1 - PREEMPHASIS), x[1:] - PREEMPHASIS * x[:-1]])
    windows = np.lib.stride_tricks.sliding_window_view(x, RECEPTIVE_FIELD)[::HOP][:frames]
    power = np.abs(scipy.fft.rfft(windows * np.hamming(RECEPTIVE_FIELD), FFT)) ** 2
    return np.log(power @ mel_filters(bands).T + FLOOR).astype(np.float32)


def deltas(features: np.ndarray) -> np.ndarray:
    """Regression slope of (frames, dim) over +-DELTA_REACH frames, same shape. Edge frames are repeated."""
    frames, reach = len(features), DELTA_REACH
    if not frames:
        return features
    padded = np.pad(features, ((reach, reach), (0, 0)), mode="edge")
    steps = range(1, reach + 1)
    slope = sum(k * (padded[reach + k :][:frames] - padded[reach - k :][:frames]) for k in steps)
    return (slope / (2 * sum(k * k for k in steps))).astype(features.dtype)


def normalise(features: np.ndarray) -> np.ndarray:
    """Bring each dimension of an utterance to zero mean and unit variance; constant dimensions become 0."""
    if not len(features):
        return features
    return (features - features.mean(0)) / np.maximum(features.std(0), 1e-5)


def mfcc(samples: np.ndarray) -> np.ndarray:
    """13 MFCC with deltas and second deltas, (frame_count(n), 39) float32, of (n,) float32 samples at 16 kHz.

    Each dimension has mean 0 and variance 1 over the utterance.
    """
    static = scipy.fft.dct(log_mel(samples), type=2, norm="ortho", axis=1)[:, :COEFFICIENTS].astype(np.float32)
    first = deltas(static)
    return normalise(np.concatenate([static, first, deltas(first)], axis=1))
