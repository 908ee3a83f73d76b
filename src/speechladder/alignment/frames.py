"""Phones at the encoder's frames: one label per 50 Hz frame."""

import numpy as np

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.spans import Span


def frame_centres(frames: int) -> np.ndarray:
    """(frames,) float64: the middle of each frame's window, in seconds: (t * 320 + 200) / 16000."""
    return (np.arange(frames) * HOP + RECEPTIVE_FIELD // 2) / SAMPLE_RATE


def hundredths(frames: int) -> np.ndarray:
    """(2 x frames,) float64: the middles of the hundredths of a second from the first frame's start, in seconds.

    Frame t has the hundredths 2t and 2t + 1. Published phone labels at 100 Hz lie there: on average 2.5 ms before the
    frame's centre.
    """
    return (np.arange(2 * frames) + 0.5) / 100


def first_frames(times: list[float], frames: int) -> np.ndarray:
    """(times,) int64: the first frame whose centre is not before each time, `frames` if there is none.

    A phone thus has the frames from that of its start up to that of the next one's start, as in `frame_labels`.
    """
    return np.searchsorted(frame_centres(frames) + 1e-6, np.array(times, np.float64), side="left")


def at_times(starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(times,) int64: which of contiguous spans holds each time; `starts` and `times` are seconds, in order.

    A time on a boundary belongs to the span that starts there; a time after the last span belongs to the last.
    """
    # Times are multiples of a sample. The small shift keeps a start of 0.0125 that is stored as 0.01250000001 in its
    # frame.
    return np.searchsorted(starts[1:], times + 1e-6, side="right")


def at_frames(starts: np.ndarray, frames: int) -> np.ndarray:
    """(frames,) int64: which of contiguous spans holds the centre of each frame, as `at_times`."""
    return at_times(starts, frame_centres(frames))


def labels_at(phones: list[Span], times: np.ndarray) -> list[str]:
    """The label of the phone at each time, as `at_times`; `phones` are contiguous and in order, in seconds.

    Raises ValueError if there are times but no phones.
    """
    if not len(times):
        return []
    if not phones:
        raise ValueError("no phones to label the frames with")
    return [phones[i].label for i in at_times(np.array([p.start for p in phones]), times)]


def frame_labels(phones: list[Span], frames: int) -> list[str]:
    """The label of the phone at the centre of each frame, as `labels_at`; `frames` labels."""
    return labels_at(phones, frame_centres(frames))
