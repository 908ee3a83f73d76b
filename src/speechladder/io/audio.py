"""Waveforms: mono float32 at 16 kHz inside the library, whatever the file holds."""

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

from speechladder.constants import SAMPLE_RATE

_MEMBER = re.compile(r"(.+)#(\d+)\+(\d+)", re.DOTALL)


class AudioError(Exception):
    """An utterance's audio cannot be used; the message is the reason that goes into the rejects."""


class _Window(io.RawIOBase):
    """Bytes `offset` to `offset + size` of an open file, as a file of its own."""

    def __init__(self, name: str, file: BinaryIO, offset: int, size: int) -> None:
        self._name, self._file, self._offset, self._size, self._at = name, file, offset, size, 0

    def __repr__(self) -> str:  # what libsndfile's errors call it
        return repr(self._name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

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
    """The path of a file that lies in a tar, `size` bytes from `offset` on, for `read_audio` and `audio_info`.

    >>> member_path("/data/small.tar", 1536, 200)
    '/data/small.tar#1536+200'
    """
    return f"{tar}#{offset}+{size}"


@contextmanager
def _opened(source: str | Path | bytes) -> Iterator[soundfile.SoundFile]:
    """A sound file by its path, within a tar (`x.tar#OFFSET+SIZE`, in bytes), or as bytes; raises AudioError."""
    try:
        with ExitStack() as stack:
            if isinstance(source, bytes):
                opened = io.BytesIO(source)
            elif (place := _MEMBER.fullmatch(str(source))) and not Path(source).exists():  # a file may be called so
                tar = stack.enter_context(Path(place[1]).open("rb", buffering=0))
                opened = _Window(str(source), tar, int(place[2]), int(place[3]))
            else:
                opened = str(source)
            yield stack.enter_context(soundfile.SoundFile(opened))
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(f"unreadable audio: {error}") from None


def audio_info(source: str | Path | bytes) -> tuple[int, int]:
    """(frames, sampling rate in Hz) as the file's header has them; sources and AudioError as for `read_audio`."""
    with _opened(source) as file:
        return len(file), file.samplerate


def read_audio(source: str | Path | bytes, start: float = 0.0, duration: float | None = None) -> np.ndarray:
    """Read a window of a file (or of FLAC bytes) as (samples,) float32 in [-1, 1] at 16 kHz.

    A file may lie in a tar: `x.tar#OFFSET+SIZE` (`member_path`). Reads by offset, so a cut of an hour-long recording
    costs only itself. Channels are averaged, other sampling rates resampled (soxr, high quality). `start` and
    `duration` in seconds. Raises AudioError when the file is missing, truncated, undecodable or empty.
    """
    with _opened(source) as file:
        rate, first = file.samplerate, round(start * file.samplerate)
        wanted = len(file) - first if duration is None else round(duration * rate)
        if first >= len(file) or wanted <= 0:
            raise AudioError("no samples in the window" if len(file) else "zero-length audio")
        try:
            file.seek(first)
        except soundfile.LibsndfileError:  # the header has it, the file does not
            raise AudioError(f"truncated audio: nothing at {start:.2f} s of {len(file) / rate:.2f} s") from None
        samples = file.read(wanted, dtype="float32", always_2d=True).mean(axis=1)
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
