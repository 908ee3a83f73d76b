"""Speech as a source and a filter: pulses of one pitch and noise, shaped by a smooth spectral envelope.

A spectral envelope without harmonics is all that units can say: the pitch of 52 speakers is not in them. A waveform
with phases by Griffin-Lim would need the harmonics that the mean over speakers has lost, and costs ten times as much.

Everything is per frame of `HOP` samples: two frames per unit, frame j of a waveform is centred at FIRST + HOP j, so
that a unit's two frames lie evenly about the centre of the window that its encoder saw (400 samples every 320).
"""

import functools

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.units.mfcc import hz_to_mel, mel_to_hz

HOP, FIRST = 160, 120  # samples
PER_UNIT = 2  # frames
WINDOW, FFT = 800, 1024  # samples; of the analysis
BANDS, LOWEST, HIGHEST = 30, 60.0, 7600.0  # mel bands wide enough to hide the harmonics, and their range in Hz
FLOOR = 1e-3  # added to band magnitudes before the log; 16 bit silence in a Hann window of 800 samples has 1e-2
PITCHES = (60.0, 400.0)  # Hz; where a voice's pitch is looked for
VOICED_BELOW = 1200.0  # Hz; voicing is a matter of the low harmonics
VOICED = 0.5  # normalised autocorrelation, above which a frame is voiced
NOISE_ABOVE, NOISE_SLOPE = 4000.0, 300.0  # Hz; voiced speech is noisy from here up, softly


@functools.cache
def mel_bands(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """(bands, FFT // 2 + 1) triangular filters of peak 1 equally spaced in mel, and their centres in mel."""
    edges = np.linspace(hz_to_mel(LOWEST), hz_to_mel(HIGHEST), bands + 2)
    hz = mel_to_hz(edges)
    bins = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    rising = (bins - hz[:-2, None]) / (hz[1:-1] - hz[:-2])[:, None]
    falling = (hz[2:, None] - bins) / (hz[2:] - hz[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling)), edges[1:-1]


def _windows(samples: np.ndarray, frames: int) -> np.ndarray:
    """(n,) -> (frames, WINDOW), silence beyond both ends."""
    padded = np.pad(samples, (WINDOW // 2 - FIRST, WINDOW + max(0, frames * HOP - len(samples))))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]


def analyse(samples: np.ndarray, frames: int, bands: int = BANDS) -> tuple[np.ndarray, np.ndarray]:
    """(n,) float32 at 16 kHz -> natural log of mel band magnitudes (frames, bands), voiced or not (frames,); float32.

    A frame is voiced when the autocorrelation below 1200 Hz has a peak of half the power at the lag of a pitch.
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
    """(bins, lags): power spectrum -> autocorrelation at lags [first, last), over that of the window itself."""
    lags = np.arange(first, last)
    power = np.abs(np.fft.rfft(np.hanning(WINDOW), 2 * FFT)) ** 2
    own = np.fft.irfft(power, 2 * FFT)
    return np.cos(2 * np.pi * np.arange(bins)[:, None] * lags / FFT) / (own[lags] / own[0])


def synthesise(mel: np.ndarray, voiced: np.ndarray, pitch: float, seed: int = 0) -> np.ndarray:
    """log mel magnitudes (frames, bands) and share of voice (frames,) in [0, 1] -> (frames HOP,) float32 at 16 kHz.

    `pitch` in Hz, constant: a monotone is what is left when units say nothing of pitch. Pulses and white noise, both of
    power 1, are mixed by `voiced` below 4 kHz, noise alone above, and filtered frame by frame with minimum phase.
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
    window = np.hanning(2 * HOP + 1)[:-1]  # overlapped by half they add up to 1

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
    """(frames, bands) log mel magnitudes -> (frames, FFT // 2 + 1) log amplitude of white noise that has them."""
    filters, centres = mel_bands(mel.shape[1])
    noise = np.sqrt((np.hanning(WINDOW) ** 2).sum() * np.pi / 4)  # mean magnitude of a bin of white noise of power 1
    level = mel - np.log(filters.sum(axis=1) * noise)
    place = np.interp(hz_to_mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT), centres, np.arange(len(centres)))
    below = np.minimum(place.astype(int), len(centres) - 2)
    share = place - below
    return level[:, below] * (1 - share) + level[:, below + 1] * share


def _minimum_phase(log_amplitude: np.ndarray) -> np.ndarray:
    """(frames, FFT // 2 + 1) natural log amplitudes -> complex filters of minimum phase, by the folded cepstrum."""
    cepstrum = np.fft.irfft(log_amplitude, FFT, axis=1)
    cepstrum[:, 1 : FFT // 2] *= 2
    cepstrum[:, FFT // 2 + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum, FFT, axis=1))
