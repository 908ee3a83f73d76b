"""A corpus cut down to some hours, the same share of time for every speaker as far as it goes. numpy only."""

import numpy as np

_ROUNDING = 1e-6  # seconds, of sums of floats


def level_of(own: np.ndarray, cap: float) -> float:
    """The level for which sum(min(own, level)) is `cap`; infinity where all together have no more.

    own: (speakers,) seconds of speech that each has.
    """
    if own.sum() <= cap:
        return float("inf")
    rising = np.sort(own)
    full = np.concatenate([[0.0], np.cumsum(rising)[:-1]])  # of those who have less than the speaker at this place
    levels = (cap - full) / np.arange(len(rising), 0, -1)
    return float(levels[np.argmax(levels <= rising)])


def water_fill(speakers: np.ndarray, order: np.ndarray, seconds: np.ndarray, cap: float) -> tuple[np.ndarray, float]:
    """Which utterances to keep so that they last `cap` seconds together: ((n,) bool, the level in seconds).

    speakers: (n,) any number per speaker; order: (n,) uint64, a hash of the utterance's id; seconds: (n,) durations.
    Every speaker gives his utterances in the order of the hash until he has given `level` seconds, or all he has;
    what is still lacking to `cap` is made up, in the order of the hash, from the next utterance of each. So the sum
    never exceeds `cap` and lacks less than one utterance of it, and what a smaller cap keeps a larger one keeps too,
    but for that one utterance per speaker.
    """
    n = len(seconds)
    if not n:
        return np.zeros(0, bool), float("inf")
    at = np.lexsort((order, speakers))
    own = speakers[at]
    first = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
    counts = np.diff(np.append(first, n))
    lasting = seconds[at].astype(np.float64)
    ends = np.cumsum(lasting)
    ends -= np.repeat(ends[first] - lasting[first], counts)  # within the speaker
    level = level_of(ends[first + counts - 1], cap)
    given = ends <= level + _ROUNDING
    lacking = cap - lasting[given].sum()
    taken = np.add.reduceat(given, first, dtype=np.int64)
    following = (first + taken)[taken < counts]
    following = following[np.argsort(order[at[following]], kind="stable")]
    given[following[np.cumsum(lasting[following]) <= lacking + _ROUNDING]] = True
    kept = np.zeros(n, bool)
    kept[at[given]] = True
    return kept, level
