"""What the structure of a sound file tells and libsndfile does not: how long it should be, and whether it is whole."""

import os
import re
from typing import BinaryIO

_CHUNKED = {b"RIFF": "little", b"RF64": "little", b"BW64": "little", b"RIFX": "big", b"FORM": "big"}
_MOST_CHUNKS = 1000  # before the samples; more are no sound file
# Programs that write into a pipe do not know the length. They write 0x7ffff000 (sox), 0x80000000 (arecord) or
# 0xffffffff (ffmpeg), perhaps less the size of the header.
_OF_A_PIPE = (range(0x7FFF0000, 0x80010000), range(0xFFFF0000, 0x100000000))
_PAGE = b"OggS"
_LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by MPEG version
_MP3_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}


def promised_share(file: BinaryIO) -> float:
    """The bytes of samples that a WAV, AIFF, AU or NIST header promises, as a multiple of those that follow it.

    1 if the header was written into a pipe, or if the file is of another kind.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(1024)
    if head.startswith(b".snd"):
        found = int.from_bytes(head[8:12]), size - int.from_bytes(head[4:8])
    else:
        found = _nist(head, size) if head.startswith(b"NIST_1A") else _chunked(file, head, size)
    if not found or any(found[0] in lengths for lengths in _OF_A_PIPE):
        return 1.0
    promised, held = found
    return promised / held if held else 1.0


def _nist(head: bytes, size: int) -> tuple[int, int] | None:
    """(bytes of samples by the header, bytes after it) of a NIST SPHERE file."""
    fields = dict(re.findall(rb"^(\w+) -i (\d+)\s*$", head, re.MULTILINE))
    first = re.match(rb"NIST_1A\s+(\d+)", head)
    try:
        samples = int(fields[b"sample_count"]) * int(fields[b"sample_n_bytes"]) * int(fields[b"channel_count"])
    except KeyError:
        return None
    return (samples, size - int(first[1])) if first else None


def _chunked(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    """(bytes of samples by their chunk's header, bytes after it) of WAV and AIFF in all their forms."""
    order = _CHUNKED.get(head[:4])
    if order is None or head[8:12] not in (b"WAVE", b"AIFF", b"AIFC"):
        return None
    at, long = 12, 0
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        chunk = file.read(24)
        if len(chunk) < 8:
            break
        name, length, at = chunk[:4], int.from_bytes(chunk[4:8], order), at + 8
        if name == b"ds64":  # the true length of a file beyond 4 GB
            long = int.from_bytes(chunk[16:24], order)
        if name in (b"data", b"SSND"):
            return (long if long and length == 0xFFFFFFFF else length), max(0, size - at)
        at += length + length % 2
    return None


def is_ended(file: BinaryIO) -> bool:
    """Whether the last page of an Ogg file says that it is the last; a file that was cut off has another one there."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2 * _LONGEST_PAGE))
    end = file.read()
    at = end.rfind(_PAGE)
    return at < 0 or len(end) < at + 6 or bool(end[at + 5] & 4)


def mp3_fault(file: BinaryIO) -> float | None:
    """The second at which the frames of an MP3 stop following each other although more follow; None if they do not.

    Nothing is said of layers I and II. Bytes after the last frame are no fault: tags are kept there.
    """
    file.seek(0)
    data = file.read()
    at, seconds, lost = 0, 0.0, None
    while at < len(data):
        if data[at : at + 3] == b"ID3":
            at += 10 + sum((byte & 127) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0)))
            continue
        length, lasts = _mp3_frame(data, at)
        follows = length and (at + length + 4 > len(data) or _mp3_frame(data, at + length)[0])
        if lost is not None and follows and seconds:
            return lost
        if not length or (lost is not None and not follows):
            lost = seconds if lost is None else lost
            at = data.find(b"\xff", at + 1)
            if at < 0:
                break
            continue
        lost, at, seconds = None, at + length, seconds + lasts
    return None


def _mp3_frame(data: bytes, at: int) -> tuple[int, float]:
    """(bytes, seconds) of the frame of layer III at a byte; (0, 0) if there is none."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0, 0.0
    version, index, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _MP3_RATES or index in (0, 15) or rate == 3:
        return 0, 0.0
    samples = 1152 if version == 3 else 576
    hertz = _MP3_RATES[version][rate]
    return samples // 8 * 1000 * _MP3_KBPS[version == 3][index] // hertz + (head[2] >> 1 & 1), samples / hertz
