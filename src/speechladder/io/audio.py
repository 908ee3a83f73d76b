"""Waveforms: mono float32 at 16 kHz inside the library, whatever the file holds."""

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr

from speechladder.settings import SAMPLE_RATE


class AudioError(Exception):
    """An utterance's audio cannot be used; the message is the reason that goes into the rejects."""


def read_audio(source: str | Path | bytes, start: float = 0.0, duration: float | None = None) -> np.ndarray:
    """Read a window of a file (or of FLAC bytes) as (samples,) float32 in [-1, 1] at 16 kHz.

    Reads by offset, so a cut of an hour-long recording costs only itself. Channels are averaged, other
    sampling rates resampled (soxr, high quality). `start` and `duration` in seconds.
    Raises AudioError when the file is missing, truncated, undecodable or empty.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as file:
            rate, first = file.samplerate, round(start * file.samplerate)
            wanted = len(file) - first if duration is None else round(duration * rate)
            if first >= len(file) or wanted <= 0:
                raise AudioError("no samples in the window" if len(file) else "zero-length audio")
            file.seek(first)
            samples = file.read(wanted, dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(f"unreadable audio: {error}") from None
    if len(samples) < wanted - 1:  # a truncated FLAC still promises its full length in the header
        raise AudioError(f"truncated audio: {len(samples) / rate:.2f} s of {wanted / rate:.2f} s")
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return np.ascontiguousarray(samples, dtype=np.float32)


def encode_flac(samples: np.ndarray) -> bytes:
    """(samples,) float32 at 16 kHz -> FLAC bytes, 16 bit."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def frame_count(samples: int) -> int:
    """50 Hz frames of a HuBERT encoder for `samples` at 16 kHz: (samples - 400) // 320 + 1, at least 0."""
    return max(0, (samples - 400) // 320 + 1)
