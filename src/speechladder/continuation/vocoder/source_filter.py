"""Source-filter synthesis: pulses of one pitch and noise, shaped by a smooth spectral envelope.

Units determine no more than a spectral envelope without harmonics, because they do not contain the pitch of 52
speakers. The Griffin-Lim algorithm would need the harmonics, which the mean over speakers has lost, and takes ten times
as long.

A frame has `HOP` samples, and a unit two frames. Frame j of a waveform is centred at FIRST + HOP j, so that a unit's
two frames are symmetric about the centre of the encoder's window (400 samples every 320).
"""

import functools

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.units.mfcc import hz_to_mel, mel_to_hz

HOP, FIRST = 160, 120  # samples
PER_UNIT = 2  # frames
WINDOW, FFT = 800, 1024  # samples, for the analysis
BANDS, LOWEST, HIGHEST = 30, 60.0, 7600.0  # number of mel bands, wide enough to hide harmonics; their range in Hz
FLOOR = 1e-3  # added to band magnitudes before the log; 16 bit silence in a Hann window of 800 samples has 1e-2
PITCHES = (60.0, 400.0)  # Hz; range of the search for a voice's pitch
VOICED_BELOW = 1200.0  # Hz; voicing is decided by the low harmonics
VOICED = 0.5  # normalised autocorrelation, above which a frame is voiced
NOISE_ABOVE, NOISE_SLOPE = 4000.0, 300.0  # Hz; above it voiced speech is noise, with a gradual transition


@functools.cache
def mel_bands(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (bands, FFT // 2 + 1) triangular filters with peak 1, equally spaced in mel, and their centres in mel."""
    edges = np.linspace(hz_to_mel(LOWEST), hz_to_mel(HIGHEST), bands + 2)
    hz = mel_to_hz(edges)
    bins = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    rising = (bins - hz[:-2, None]) / (hz[1:-1] - hz[:-2])[:, None]
    falling = (hz[2:, None] - bins) / (hz[2:] - hz[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)), edges[1:-1]


def _windows(samples: np.ndarray, frames: int) -> np.ndarray:
    """(n,) samples -> (frames, WINDOW), with silence beyond both ends."""
    padded = np.pad(samples, (WINDOW // 2 - FIRST, WINDOW + max(0, frames * HOP - len(samples))))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]


def analyse(samples: np.ndarray, frames: int, bands: int = BANDS) -> tuple[np.ndarray, np.ndarray]:
    """Return log mel band magnitudes (frames, bands) and voicing (frames,), which is 0 or 1, both float32.

    `samples` are (n,) float32 at 16 kHz. A frame is voiced if its autocorrelation below 1200 Hz has a peak of half the
    power at a lag in the range of pitches.
    """
    if not frames:
        return np.zeros((0, bands), np.float32), np.zeros(0, np.float32)
    window = np.hanning(WINDOW)
    spectrum = np.abs(np.fft.rfft(_windows(samples, frames) * window, FFT))
    mel = np.log(spectrum @ mel_bands(bands)[0].T + FLOOR)

    low = (spectrum[:, : int(VOICED_BELOW * FFT / SAMPLE_RATE)] ** 2).astype(np.float64)
    low[:, :2] = 0  # rumble
    first, last = int(SAMPLE_RATE / PITCHES[1]), int(SAMPLE_RATE / PITCHES[0])
    correlation = low @ _cosines(low.shape[1], first, last)
    peak = correlation.max(axis=1) / (low.sum(axis=1) + 1e-9)
    return mel.astype(np.float32), (peak > VOICED).astype(np.float32)


@functools.cache
def _cosines(bins: int, first: int, last: int) -> np.ndarray:
    """Matrix (bins, lags) from a power spectrum to the autocorrelation at lags [first, last), over the window's own."""
    lags = np.arange(first, last)
    power = np.abs(np.fft.rfft(np.hanning(WINDOW), 2 * FFT)) ** 2
    own = np.fft.irfft(power, 2 * FFT)
    return np.cos(2 * np.pi * np.arange(bins)[:, None] * lags / FFT) / (own[lags] / own[0])


def synthesise(mel: np.ndarray, voiced: np.ndarray, pitch: float, seed: int = 0) -> np.ndarray:
    """Return (frames HOP,) float32 at 16 kHz for log mel magnitudes (frames, bands) and voicing (frames,) in [0, 1].

    `pitch` in Hz is constant, because units do not contain the pitch. Below 4 kHz pulses and white noise, both of power
    1, are mixed by `voiced`; above there is noise alone. The mix is filtered frame by frame with minimum phase.
    """
    frames, length = len(mel), len(mel) * HOP
    if not frames:
        return np.zeros(0, np.float32)
    pulses = np.zeros(length)
    period = SAMPLE_RATE / pitch
    pulses[np.arange(period / 2, length, period).astype(int)] = np.sqrt(period)
    noise = np.random.default_rng(seed).standard_normal(length)
    hz = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    share = np.clip(voiced, 0, 1)[:, None] / (1 + np.exp((hz - NOISE_ABOVE) / NOISE_SLOPE))
    window = np.hanning(2 * HOP + 1)[:-1]  # windows that overlap by half add up to 1

    def spectra(source: np.ndarray) -> np.ndarray:
        padded = np.pad(source, (HOP - FIRST, 2 * HOP))
        return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)[::HOP][:frames] * window, FFT)

    mixed = spectra(pulses) * np.sqrt(share) + spectra(noise) * np.sqrt(1 - share)
    pieces = np.fft.irfft(mixed * _minimum_phase(_density(mel)), FFT)
    out = np.zeros(length + HOP + FFT)
    for j, piece in enumerate(pieces):
        out[j * HOP : j * HOP + FFT] += piece
    return out[HOP - FIRST :][:length].astype(np.float32)


def _density(mel: np.ndarray) -> np.ndarray:
    """(frames, bands) log mel magnitudes -> (frames, FFT // 2 + 1) log gain for white noise of power 1."""
    filters, centres = mel_bands(mel.shape[1])
    noise = np.sqrt((np.hanning(WINDOW) ** 2).sum() * np.pi / 4)  # mean magnitude of a bin for white noise of power 1
    level = mel - np.log(filters.sum(axis=1) * noise)
    place = np.interp(hz_to_mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT), centres, np.arange(len(centres)))
    below = np.minimum(place.astype(int), len(centres) - 2)
    share = place - below
    return level[:, below] * (1 - share) + level[:, below + 1] * share


def _minimum_phase(log_amplitude: np.ndarray) -> np.ndarray:
    """(frames, FFT // 2 + 1) natural log amplitudes -> complex minimum-phase filters, by folding the cepstrum."""
    cepstrum = np.fft.irfft(log_amplitude, FFT, axis=1)
    cepstrum[:, 1 : FFT // 2] *= 2
    cepstrum[:, FFT // 2 + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum, FFT, axis=1))
