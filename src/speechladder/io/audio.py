"""Waveforms: inside the library they are mono float32 at 16 kHz, whatever the file holds."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE

_MEMBER = re.compile(r"(.+)#(\d+)\+(\d+)", re.DOTALL)


class AudioError(Exception):
    """An utterance's audio cannot be used; the message is its reason in the rejects."""


class _Window(io.RawIOBase):
    """Bytes `offset` to `offset + size` of an open file, presented as a file."""

    def __init__(self, name: str, file: BinaryIO, offset: int, size: int) -> None:
        self._name, self._file, self._offset, self._size, self._at = name, file, offset, size, 0

    def __repr__(self) -> str:  # the name of the file in libsndfile's errors
        return repr(self._name)

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._size - self._at))
        self._file.seek(self._offset + self._at)
        read = self._file.readinto(memoryview(buffer)[:wanted]) if wanted else 0  # type: ignore[attr-defined]
        self._at += read
        return read


def member_path(tar: str | Path, offset: int, size: int) -> str:
    """The path of a file within a tar, `size` bytes from byte `offset`, for `read_audio` and `audio_info`.

    >>> member_path("/data/small.tar", 1536, 200)
    '/data/small.tar#1536+200'
    """
    return f"{tar}#{offset}+{size}"


@contextmanager
def _opened(source: str | Path | bytes) -> Iterator[soundfile.SoundFile]:
    """Open a sound file: a path, a file within a tar (`x.tar#OFFSET+SIZE`, in bytes), or bytes. Raises AudioError."""
    try:
        with ExitStack() as stack:
            if isinstance(source, bytes):
                opened = io.BytesIO(source)
            elif (place := _MEMBER.fullmatch(str(source))) and not Path(source).exists():  # a file may have such a name
                tar = stack.enter_context(Path(place[1]).open("rb", buffering=0))
                opened = _Window(str(source), tar, int(place[2]), int(place[3]))
            else:
                opened = str(source)
            yield stack.enter_context(soundfile.SoundFile(opened))
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(f"unreadable audio: {error}") from None


def audio_info(source: str | Path | bytes) -> tuple[int, int]:
    """(samples per channel, sampling rate in Hz) by the file's header; sources and AudioError as for `read_audio`."""
    with _opened(source) as file:
        return len(file), file.samplerate


def read_audio(source: str | Path | bytes, start: float = 0.0, duration: float | None = None) -> np.ndarray:
    """Read a window of a file (or of FLAC bytes) as (samples,) float32 in [-1, 1] at 16 kHz.

    The file may lie in a tar: `x.tar#OFFSET+SIZE` (`member_path`). Only the window is read, so a cut of an hour-long
    recording costs no more than its own length. Channels are averaged; other sampling rates are resampled (soxr, high
    quality). `start` and `duration` are in seconds. Raises AudioError if the file is missing, truncated, undecodable
    or empty.
    """
    with _opened(source) as file:
        rate, first = file.samplerate, round(start * file.samplerate)
        wanted = len(file) - first if duration is None else round(duration * rate)
        if first >= len(file) or wanted <= 0:
            raise AudioError("no samples in the window" if len(file) else "zero-length audio")
        try:
            file.seek(first)
        except soundfile.LibsndfileError:  # the header promises these samples, but the file ends before them
            raise AudioError(f"truncated audio: nothing at {start:.2f} s of {len(file) / rate:.2f} s") from None
        samples = file.read(wanted, dtype="float32", always_2d=True).mean(axis=1)
    if len(samples) < wanted - 1:  # the header of a truncated FLAC still promises the full length
        raise AudioError(f"truncated audio: {len(samples) / rate:.2f} s of {wanted / rate:.2f} s")
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return np.ascontiguousarray(samples, dtype=np.float32)


def encode_flac(samples: np.ndarray) -> bytes:
    """Encode (samples,) float32 at 16 kHz as FLAC with 16 bits per sample."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def encode_small(samples: np.ndarray) -> tuple[bytes, str]:
    """Encode (n,) float32 at 16 kHz for listening: MP3 of some 4 KB per second; returns the bytes and the MIME type.

    The decoded audio has the same samples in number. A libsndfile without MP3 (before 1.1) gives FLAC.
    """
    if "MP3" not in soundfile.available_formats():
        return encode_flac(samples), "audio/flac"
    buffer = io.BytesIO()
    # LAME's scale from 0, the best, to below 1; a constant rate would lose the count of samples
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.9}
    soundfile.write(buffer, samples, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III", **options)
    return buffer.getvalue(), "audio/mpeg"


def frame_count(samples: int) -> int:
    """The number of 50 Hz frames that a HuBERT encoder makes of `samples` at 16 kHz; 0 if there are too few samples."""
    return max(0, (samples - RECEPTIVE_FIELD) // HOP + 1)
