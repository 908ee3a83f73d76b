"""Phones at the encoder's frames: one label per 50 Hz frame."""

import numpy as np

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.spans import Span


def frame_centres(frames: int) -> np.ndarray:
    """(frames,) float64: the middle of each frame's window, in seconds: (t * 320 + 200) / 16000."""
    return (np.arange(frames) * HOP + RECEPTIVE_FIELD // 2) / SAMPLE_RATE


def frame_labels(phones: list[Span], frames: int) -> list[str]:
    """The label of the phone that is sounding at the centre of each frame, exactly `frames` of them.

    `phones` are contiguous and in order, times in seconds; a frame on a boundary belongs to the phone that starts
    there, and one beyond the last phone to the last. Raises ValueError when there are frames but no phones.
    """
    if not frames:
        return []
    if not phones:
        raise ValueError("no phones to label the frames with")
    starts = np.array([p.start for p in phones[1:]])
    # times are multiples of a sample: the small shift keeps a start of 0.0125 written as 0.01250000001 on its frame
    at = np.searchsorted(starts, frame_centres(frames) + 1e-6, side="right")
    return [phones[i].label for i in at]
