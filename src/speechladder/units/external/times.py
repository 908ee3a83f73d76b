"""The times of external units, so that figures in 50 Hz frames can be computed for them."""

import numpy as np

from speechladder.alignment.frames import frame_centres

RUNS = 20  # units of which some two neighbours are equal, unless they are runs
SLACK = 2.0  # units, in addition to 1 %, by which the number may differ from rate x seconds: tokenizers pad and trim


def rate_mismatch(units: np.ndarray, durations: np.ndarray | None, rate: float, seconds: float) -> str:
    """Why the number of units does not fit `seconds` at `rate`; "" if it fits, or if there is no rate."""
    if not rate:
        return ""
    count, expected = (len(units) if durations is None else int(durations.sum(dtype=np.int64))), rate * seconds
    if abs(count - expected) <= SLACK + 0.01 * expected:
        return ""
    what = "units" if durations is None else "frames of units"
    said = f"{count} {what} in {seconds:.2f} s are {count / seconds:.1f} a second, but units.rate is {rate:g}"
    changes = np.any(units[1:] != units[:-1], axis=tuple(range(1, units.ndim)))
    if durations is None and RUNS < count < expected and changes.all():
        said += "; no unit follows itself, as in runs written once, which need durations or units.rate: 0"
    return said


def ends(units: np.ndarray, durations: np.ndarray | None) -> np.ndarray:
    """(n,) int64: the frame at which each unit ends, at the rate of the tokenizer."""
    return np.cumsum(np.ones(len(units), np.int64) if durations is None else durations.astype(np.int64))


def at_frames(units: np.ndarray, durations: np.ndarray | None, rate: float, frames: int) -> np.ndarray:
    """(frames,): the unit at the centre of each 50 Hz frame. The last unit lasts to the end."""
    at = np.searchsorted(ends(units, durations), frame_centres(frames) * rate, side="right")
    return units[np.minimum(at, len(units) - 1)]


def window(
    units: np.ndarray, durations: np.ndarray | None, rate: float, start: float, seconds: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Units and durations of the part of a recording from `start`, in seconds. Units are cut at its edges."""
    first, last = round(start * rate), round((start + seconds) * rate)
    if durations is None:
        return units[first:last], None
    after = ends(units, durations)
    inside = np.minimum(after, last) - np.maximum(after - durations, first)
    return units[inside > 0], inside[inside > 0].astype(np.uint16)
