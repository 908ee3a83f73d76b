"""Sound effects of the world's recordings: a reverberant room, background noise, a telephone line.

Each takes and gives an utterance as (n,) samples at 16 kHz. None of them changes its length, its times or the power of
its speech, so that a cause of variability (voices.CAUSES) changes what it names and nothing else.
"""

from collections.abc import Callable

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.voices import Voice

PEAK = 0.99  # the loudest sample of a recording; a louder one is scaled down as a whole
LOWEST = 50.0  # Hz; pink noise has no power at 0 Hz
TELEPHONE = (300.0, 3400.0)  # Hz, the band of ITU-T G.712
ORDER = 8  # of the Butterworth responses at both ends of the band


def recorded(samples: np.ndarray, voice: Voice, seed: int) -> np.ndarray:
    """The samples as they are recorded in the room, in the noise and over the line of this utterance's voice.

    Sound reaches the microphone through the room, with the noise, and then goes over the line. The same arguments give
    the same samples. A voice without effects gives the samples themselves.
    """
    plain = samples
    if voice.rt60:
        samples = reverberate(samples, voice.rt60, np.random.default_rng([seed, 1]))
    if np.isfinite(voice.snr):
        samples = add_noise(samples, voice.snr, np.random.default_rng([seed, 2]))
    if voice.telephone:
        samples = limit_band(samples)
    if samples is plain:
        return plain
    return (samples * min(1.0, PEAK / np.abs(samples).max())).astype(np.float32)


def reverberate(samples: np.ndarray, rt60: float, rng: np.random.Generator) -> np.ndarray:
    """The samples in a room in which sound decays by 60 dB in `rt60` seconds; what sounds on after their end is cut.

    The impulse response is Polack's statistical model ("La transmission de l'énergie sonore dans les salles", 1988):
    Gaussian noise under an exponential envelope. The direct sound stands before it, without delay and with the same
    energy: at a distance from the mouth at which both are equal (the critical distance).
    """
    times = np.arange(1, round(rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / rt60)
    response = np.concatenate([[1.0], tail / np.sqrt(np.sum(tail**2))])
    size = _fft_size(len(samples) + len(response))
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    return _as_loud_as(samples, np.fft.irfft(spectrum, size)[: len(samples)])


def add_noise(samples: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """The samples in pink noise (power falls with frequency as 1 / f), `snr` dB below their mean power."""
    white = rng.standard_normal(len(samples))
    noise = _filtered(white, lambda f: np.where(f < LOWEST, 0.0, 1 / np.sqrt(np.maximum(f, LOWEST))))
    return samples + 10 ** (-snr / 20) * _as_loud_as(samples, noise)


def limit_band(samples: np.ndarray) -> np.ndarray:
    """The samples in the band of a telephone, 300 to 3400 Hz, without phase shift."""
    low, high = TELEPHONE

    def gain(f: np.ndarray) -> np.ndarray:
        below, above = low / np.maximum(f, 1.0), f / high
        return 1 / np.sqrt((1 + below ** (2 * ORDER)) * (1 + above ** (2 * ORDER)))

    return _as_loud_as(samples, _filtered(samples, gain))


def _filtered(samples: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The samples times `gain`, a function of frequencies in Hz."""
    size = _fft_size(len(samples))
    return np.fft.irfft(np.fft.rfft(samples, size) * gain(np.fft.rfftfreq(size, 1 / SAMPLE_RATE)), size)[: len(samples)]


def _fft_size(length: int) -> int:
    """The first power of two above `length`: a fast transform, and zeros where the end would wrap to the beginning."""
    return 1 << length.bit_length()


def _as_loud_as(samples: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`other` with the mean power of `samples`."""
    return other * np.sqrt(np.sum(samples.astype(np.float64) ** 2) / np.sum(other**2))
