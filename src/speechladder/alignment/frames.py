"""Phones at the encoder's frames: one label per 50 Hz frame."""

import numpy as np

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.spans import Span


def frame_centres(frames: int) -> np.ndarray:
    """(frames,) float64: the middle of each frame's window, in seconds: (t * 320 + 200) / 16000."""
    return (np.arange(frames) * HOP + RECEPTIVE_FIELD // 2) / SAMPLE_RATE


def at_frames(starts: np.ndarray, frames: int) -> np.ndarray:
    """(frames,) int64: which of contiguous spans holds the centre of each frame; `starts` are seconds, in order.

    A frame on a boundary belongs to the span that starts there; a frame after the last span belongs to the last.
    """
    # Times are multiples of a sample. The small shift keeps a start of 0.0125 that is stored as 0.01250000001 in its
    # frame.
    return np.searchsorted(starts[1:], frame_centres(frames) + 1e-6, side="right")


def frame_labels(phones: list[Span], frames: int) -> list[str]:
    """The label of the phone at the centre of each frame; `frames` labels.

    `phones` are contiguous and in order, with times in seconds. A frame on a boundary belongs to the phone that starts
    there; a frame after the last phone belongs to the last. Raises ValueError if there are frames but no phones.
    """
    if not frames:
        return []
    if not phones:
        raise ValueError("no phones to label the frames with")
    return [phones[i].label for i in at_frames(np.array([p.start for p in phones]), frames)]
