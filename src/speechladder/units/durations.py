"""Units with durations as units at 50 Hz: what a vocoder speaks."""

import numpy as np


def expand(units: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Return (frames,) units, each of (n,) `units` repeated over its duration, in frames of 50 Hz; the dtype stays.

    Raise ValueError if there are not as many durations as units.
    """
    units, durations = np.asarray(units), np.asarray(durations)
    if units.shape != durations.shape:
        raise ValueError(f"{len(units)} units and {len(durations)} durations")
    return np.repeat(units, durations)
