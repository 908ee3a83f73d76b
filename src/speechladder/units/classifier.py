"""A linear softmax classifier of frames: phone <- features, by L2-regularised logistic regression.

Linear probes of one layer are the usual measure of what an encoder knows of phones (van den Oord et al. 2018, arXiv
1807.03748, section 3.1). Here the probe's label is the unit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

PENALTY = 1.0  # of half the squared weights beside the summed cross-entropy, on features of unit variance
ITERATIONS = 100  # most of L-BFGS
_ROWS = 1 << 15  # frames in memory and on the device at once


@dataclass(frozen=True)
class Fitted:
    """weights (labels, dim) and biases (labels,), float32; the objective in nats per frame at each evaluation."""

    weights: np.ndarray
    biases: np.ndarray
    objective: list[float]


def fit_classifier(
    features: np.ndarray,
    labels: np.ndarray,
    count: int,
    device: torch.device,
    report: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Fit `count` labels to features (frames, dim) float32, which may be mapped, with labels (frames,).

    Features are brought to zero mean and unit variance, which is folded into the weights that are returned. The
    objective is convex and is minimised by L-BFGS in double precision from zeros; so the result depends on no seed.
    A label without frames gets low scores. `report` is called with the number of each evaluation, from 1, and its
    objective.
    """
    frames = len(features)
    mean, scale = _moments(features, device)
    weights = torch.zeros(count, features.shape[1], dtype=torch.float64, device=device, requires_grad=True)
    biases = torch.zeros(count, dtype=torch.float64, device=device, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights, biases], max_iter=ITERATIONS, tolerance_grad=1e-6, history_size=20, line_search_fn="strong_wolfe"
    )
    objective: list[float] = []

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        total = 0.5 * PENALTY / frames * (weights**2).sum()
        total.backward()
        total = total.detach()
        for at, block in _blocks(features, device):
            right = torch.from_numpy(labels[at : at + len(block)].astype(np.int64)).to(device)
            scores = torch.addmm(biases, (block - mean) / scale, weights.T)
            loss = torch.nn.functional.cross_entropy(scores, right, reduction="sum") / frames
            loss.backward()
            total += loss.detach()
        objective.append(float(total))
        if report:
            report(len(objective), objective[-1])
        return total

    optimiser.step(closure)
    with torch.no_grad():
        whole = weights / scale
        shifted = biases - whole @ mean
    return Fitted(whole.float().cpu().numpy(), shifted.float().cpu().numpy(), objective)


def _blocks(features: np.ndarray, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    for at in range(0, len(features), _ROWS):
        yield at, torch.from_numpy(np.array(features[at : at + _ROWS])).to(device).double()


def _moments(features: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each dimension, both (dim,) float64; a constant dimension has 1."""
    mean = sum(block.sum(0) for _, block in _blocks(features, device)) / len(features)
    square = sum(((block - mean) ** 2).sum(0) for _, block in _blocks(features, device)) / len(features)
    return mean, torch.where(square > 1e-12, square.sqrt(), 1.0)
