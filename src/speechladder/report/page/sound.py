"""Audio inside the page: encoded small, with its waveform, and within a budget of bytes."""

import base64
from dataclasses import dataclass

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import encode_flac, encode_small

POINTS, HALF = 160, 50  # columns of a waveform, and the height of either side, in units of its viewBox
QUIET = 0.05  # a peak below it is not drawn larger


@dataclass(frozen=True)
class Sound:
    """Audio for `<audio src>`.

    Attributes:
        uri: the encoded file as a data: address
        seconds: its duration
        wave: an SVG path in the box from (0, -HALF) to (POINTS, HALF)
    """

    uri: str
    seconds: float
    wave: str


def sound(samples: np.ndarray, exact: bool = False) -> Sound | None:
    """(n,) float32 at 16 kHz as a Sound; None if there is nothing to hear. `exact`: as FLAC, without loss."""
    if not len(samples):
        return None
    content, kind = (encode_flac(samples), "audio/flac") if exact else encode_small(samples)
    uri = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return Sound(uri, len(samples) / SAMPLE_RATE, waveform(samples))


def waveform(samples: np.ndarray, points: int = POINTS) -> str:
    """The peaks of (n,) samples as a closed SVG path, mirrored at 0, `points` wide and HALF high on either side."""
    peaks = np.array([np.abs(part).max(initial=0) for part in np.array_split(samples, points)])
    heights = np.maximum(1, np.rint(HALF * peaks / max(QUIET, peaks.max()))).astype(int)
    there = [f"{x},{-y}" for x, y in enumerate(heights)]
    back = [f"{x},{y}" for x, y in reversed(list(enumerate(heights)))]
    return f"M{'L'.join([*there, *back])}Z"


@dataclass
class Budget:
    """Bytes that the audio of a section may take on the page."""

    left: int

    def take(self, *sounds: Sound | None) -> bool:
        """Whether all of `sounds` fit into what is left; if so they are counted."""
        need = sum(len(one.uri) for one in sounds if one)
        if need > self.left:
            return False
        self.left -= need
        return True
