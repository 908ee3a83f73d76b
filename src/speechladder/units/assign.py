"""The nearest centroid of frames, in numpy; nearest.Nearest gives the same units on a GPU."""

import numpy as np

_BLOCK = 4096  # frames assigned at once, which bounds the distance matrix


def assign(features: np.ndarray, centroids: np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
    """Map features (frames, dim) to units (frames,) uint16: the nearest centroid, the lowest index among equals.

    The unit is the k that minimises o_k - 2 c_k.x. Without `offsets` (clusters,) o_k is |c_k|^2, and the unit is the
    nearest centroid. A linear classifier w_k.x + b_k has c_k = w_k / 2 and o_k = -b_k.

    The distances are computed in double precision, with a margin far below what float32 features resolve. So neither
    the order of a sum nor the number of frames in the call changes a unit.
    """
    wide = centroids.astype(np.float64)
    norms = (wide**2).sum(axis=1) if offsets is None else offsets.astype(np.float64)
    out = np.empty(len(features), dtype=np.uint16)
    for at in range(0, len(features), _BLOCK):
        block = features[at : at + _BLOCK].astype(np.float64)
        distance = norms - 2.0 * (block @ wide.T)  # without |x|^2, which is the same for every centroid
        nearest = distance.min(axis=1, keepdims=True)
        margin = 1e-10 * (np.abs(nearest) + np.abs(norms).max())
        out[at : at + _BLOCK] = np.argmax(distance <= nearest + margin, axis=1)
    return out
