"""Waveforms: inside the library they are mono float32 at 16 kHz, whatever the file holds.

Nothing else opens a sound file, so every check of audio is here.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
import soxr

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.containers import is_ended, mp3_fault, promised_share

MIN_PEAK = 1e-3  # -60 dB of full scale, 33 steps of 16 bit: quieter audio holds no speech
# Resampling and lossy codecs lead a few samples of loud audio a little beyond full scale; a wrong scale leads many.
OVERSHOOT, OVERSHOOT_SHARE = 2.0, 0.01
_HEADED = ("WAV", "WAVEX", "RF64", "AIFF", "AU", "NIST")
_LONGEST = 1 << 40  # samples: libsndfile's word for an unknown length is longer
_HOLE = re.compile(r"Corrupted bitstream|reports a hole|Hole found")  # in libsndfile's log of an Ogg file
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


class AudioInfo(NamedTuple):
    """What the header of a sound file says: samples per channel, sampling rate in Hz, channels.

    `held` are the samples that the file holds: fewer than `samples` if a WAV is truncated. Files of other kinds show
    that only when they are decoded.
    """

    samples: int
    rate: int
    channels: int
    held: int

    def truncated_at(self, sample: int) -> str:
        """The reason that the file ends at this sample."""
        return f"truncated audio: it ends at {sample / self.rate:.2f} s of {self.samples / self.rate:.2f} s"


@contextlib.contextmanager
def _stream(source: str | Path | bytes) -> Iterator[BinaryIO]:
    """The bytes of a source: a path, a file within a tar (`x.tar#OFFSET+SIZE`, in bytes), or bytes themselves."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, bytes):
            yield io.BytesIO(source)
        elif (place := _MEMBER.fullmatch(str(source))) and not Path(source).exists():  # a file may have such a name
            tar = stack.enter_context(Path(place[1]).open("rb", buffering=0))
            yield _Window(str(source), tar, int(place[2]), int(place[3]))  # type: ignore[misc]
        elif not Path(source).is_file():  # a pipe would be waited for
            is_broken = Path(source).is_symlink() and not Path(source).exists()
            raise AudioError(f"unreadable audio: {source} is {'a broken link' if is_broken else 'no file'}")
        else:
            yield stack.enter_context(Path(source).open("rb"))


@contextlib.contextmanager
def _opened(source: str | Path | bytes) -> Iterator[tuple[soundfile.SoundFile, AudioInfo]]:
    """Open a sound file. Raises AudioError, also for what is raised while it is open."""
    try:
        with _stream(source) as stream:
            if not stream.seek(0, os.SEEK_END):
                raise AudioError("zero-length audio: the file has 0 bytes")
            stream.seek(0)
            # libsndfile reads a file on disk without our help, which is faster
            own = stream if isinstance(stream, io.BytesIO | _Window) else str(source)
            with soundfile.SoundFile(own) as file:
                yield file, _info(source, file)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(f"unreadable audio: {error}") from None


def _info(source: str | Path | bytes, file: soundfile.SoundFile) -> AudioInfo:
    held = samples = len(file)
    if held > _LONGEST:
        raise AudioError(
            "unreadable audio: its header does not say how long it is; convert it into a file, not through a pipe"
        )
    if file.format in _HEADED:  # libsndfile silently takes a truncated file for a shorter one
        with _stream(source) as stream:
            share = promised_share(stream)
        # some programs count the header among the samples
        samples = held if (share - 1) * held < file.samplerate / 100 else round(share * held)
        if not held and not share:
            raise AudioError("zero-length audio: its header promises none, though bytes follow; convert it again")
    if not held:
        raise AudioError("zero-length audio")
    return AudioInfo(samples, file.samplerate, file.channels, held)


def audio_info(source: str | Path | bytes) -> AudioInfo:
    """What a file's header says, by the header alone; sources and AudioError as for `read_audio`."""
    with _opened(source) as (_, info):
        return info


def read_audio(
    source: str | Path | bytes, start: float = 0.0, duration: float | None = None, silent: bool = False
) -> np.ndarray:
    """Read a window of a file (or of FLAC bytes) as (samples,) float32 at 16 kHz: the one door for audio.

    The file may lie in a tar: `x.tar#OFFSET+SIZE` (`member_path`). Only the window is read, so a cut of an hour-long
    recording costs no more than its own length. Channels are averaged; other sampling rates are resampled (soxr, high
    quality). `start` and `duration` are in seconds. Full scale is 1, beyond which resampling and lossy codecs may lead
    a little. `silent`: let silence through, for audio that the run made itself.

    Raises AudioError, with the second of the file at which the fault begins, if the file is missing, truncated,
    damaged, undecodable or empty, or if the window is not finite, beyond full scale or silent.
    """
    with _opened(source) as (file, info):
        first = round(start * info.rate)
        wanted = info.samples - first if duration is None else round(duration * info.rate)
        if first >= info.samples or wanted <= 0:
            raise AudioError("no samples in the window")
        if problem := _structure_problem(source, file, (first + wanted) / info.rate):
            raise AudioError(problem)
        samples = _decoded(source, file, info, first, wanted)
    if problem := _problem(samples, first, info.rate):
        raise AudioError(problem)
    mono = samples.mean(axis=1)
    if not silent and is_silent(mono):
        cancelled = len(samples.T) > 1 and not is_silent(samples)
        raise AudioError("silent: its channels cancel each other out" if cancelled else "silent")
    if info.rate != SAMPLE_RATE:
        mono = soxr.resample(mono, info.rate, SAMPLE_RATE)
    return np.ascontiguousarray(mono, dtype=np.float32)


def can_decode(source: str | Path | bytes, start: float, duration: float) -> bool:
    """Whether a window of a file (seconds) can be decoded, whatever it holds."""
    try:
        with _opened(source) as (file, info):
            _decoded(source, file, info, round(start * info.rate), round(duration * info.rate))
    except AudioError:
        return False
    return True


def is_silent(samples: np.ndarray) -> bool:
    """Whether no sample, of full scale 1, reaches MIN_PEAK."""
    return bool(np.abs(samples).max(initial=0.0) < MIN_PEAK)


def _decoded(
    source: str | Path | bytes, file: soundfile.SoundFile, info: AudioInfo, first: int, wanted: int
) -> np.ndarray:
    """(wanted, channels) float32 from the sample `first` on; raises AudioError if they are not all there."""
    try:
        if first:  # some codecs cannot seek
            file.seek(first)
    except soundfile.LibsndfileError:  # the header promises these samples, but the file ends before them
        raise AudioError(
            f"truncated audio: nothing at {first / info.rate:.2f} s of {info.samples / info.rate:.2f} s"
        ) from None
    try:
        samples = file.read(wanted, dtype="float32", always_2d=True)
        holes = _HOLE.search(file.extra_info) if file.format == "OGG" else None
        if not holes and len(samples) >= wanted - 1:
            return samples
        why = holes[0] if holes else ""
        at = _fault(source, first, wanted) if why else first + len(samples)
    except soundfile.LibsndfileError as error:
        is_end = "END_OF_STREAM" in file.extra_info  # a FLAC ends too soon
        why = "" if is_end else error.error_string.removeprefix("Error : ").rstrip(".")
        at = _fault(source, first, wanted)
    if why:
        raise AudioError(f"damaged audio: it cannot be decoded at {at / info.rate:.2f} s ({why})")
    # the header of a truncated file still promises the full length
    raise AudioError(info.truncated_at(at))


def _fault(source: str | Path | bytes, first: int, wanted: int) -> int:
    """The sample from which on decoding fails, within a tenth of a second: the file is read again in small steps."""
    with _opened(source) as (file, info):
        if first:
            file.seek(first)
        step = max(1, info.rate // 10)
        for at in range(first, first + wanted, step):
            try:
                found = file.read(step, dtype="float32")
            except soundfile.LibsndfileError:
                return at
            if len(found) < step or _HOLE.search(file.extra_info):
                return at
    return first + wanted


def _structure_problem(source: str | Path | bytes, file: soundfile.SoundFile, end: float) -> str | None:
    """What is wrong with the pages or frames of a lossy file up to the second `end`, which its decoder passes over."""
    if file.format not in ("OGG", "MP3"):
        return None
    with _stream(source) as stream:
        if file.format == "OGG":
            return None if is_ended(stream) else "truncated audio: its last page is missing"
        at = mp3_fault(stream)
    return None if at is None or at > end else f"damaged audio: its frames are broken at {at:.2f} s"


def _problem(samples: np.ndarray, first: int, rate: int) -> str | None:
    """Why samples (n, channels) from the sample `first` of a file on are no speech, or None."""
    low, high = float(samples.min()), float(samples.max())
    if low >= -1 and high <= 1:
        return None
    if not np.isfinite([low, high]).all():
        odd = ~np.isfinite(samples).all(axis=1)
        at = int(odd.argmax())
        value = samples[at][~np.isfinite(samples[at])][0]
        return f"not finite: {value} at {(first + at) / rate:.2f} s ({odd.sum():,} of {len(odd):,} samples)"
    peak, beyond = max(-low, high), (np.abs(samples) > 1).any(axis=1)
    share = float(beyond.mean())
    if peak <= OVERSHOOT and share <= OVERSHOOT_SHARE:
        return None
    at = (first + int(beyond.argmax())) / rate
    bits = next((b for b in (16, 24, 32) if peak <= 2 ** (b - 1)), None)
    looks = f"; they look like integers of {bits} bits, divide by {2 ** (bits - 1):,}" if bits and peak > 100 else ""
    return f"beyond full scale: {peak:.5g} times, from {at:.2f} s on ({100 * share:.3g} % of the samples)" + (
        looks if share > OVERSHOOT_SHARE else ""
    )


def pcm(samples: np.ndarray) -> bytes:
    """(n,) samples in [-1, 1] as little-endian 16-bit samples; of 16-bit audio those of its file."""
    return np.rint(samples * 32768).clip(-32768, 32767).astype("<i2").tobytes()


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
