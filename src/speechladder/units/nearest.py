"""The nearest centroid of frames on the device where they are, a CPU or a GPU; the units are those of assign.assign.

Distances in float32 rank the centroids, and double precision decides between the nearest few. Both are measured from
the mean of the centroids: features may share a large offset (those of HuBERT's inner layers do), in which float32 would
lose the differences between centroids. Nothing waits for the device, so that the next batch can be sent meanwhile.
"""

import numpy as np
import torch

_BLOCK = 4096  # frames at once, which bounds the distance matrix
_FEW = 4  # centroids between which float32 may be unable to decide


class Highest:
    """The label of a linear classifier on a device: weights (labels, dim) and biases (labels,), float32.

    There are few labels, so that everything is computed in double precision.
    """

    def __init__(self, weights: np.ndarray, biases: np.ndarray, device: torch.device) -> None:
        self.centroids = (torch.from_numpy(weights).to(device).double() / 2).T
        self.offsets = -torch.from_numpy(biases).to(device).double()
        self.largest = self.offsets.abs().max()

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Map (frames, dim) float32 on the device to units (frames,) int32, the lowest index among equals."""
        distance = torch.addmm(self.offsets, features.double(), self.centroids, alpha=-2.0)
        nearest = distance.amin(1, keepdim=True)
        there = distance <= nearest + 1e-10 * (nearest.abs() + self.largest)  # the margin of assign.assign
        return there.int().argmax(1).int()


class Nearest:
    """Centroids (clusters, dim) float32 on a device. Of equal ones only the first is used."""

    def __init__(self, centroids: np.ndarray, device: torch.device) -> None:
        # more than _FEW equal ones would crowd out the lowest index; + 0 makes zeros of both signs equal
        first = np.sort(np.unique(centroids + np.float32(0), axis=0, return_index=True)[1])
        self.indices = torch.from_numpy(first).to(device)
        wide = torch.from_numpy(np.ascontiguousarray(centroids[first])).to(device).double()
        self.largest = (wide**2).sum(1).max()
        self.origin = wide.mean(0)
        self.wide = wide - self.origin
        self.norms = (self.wide**2).sum(1)
        self.centroids, self.offsets = self.wide.float(), self.norms.float()

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Map (frames, dim) float32 on the device to units (frames,) int32, the lowest index among equals."""
        if not len(features):
            return torch.empty(0, dtype=torch.int32, device=features.device)
        return torch.cat([self._block(block) for block in features.split(_BLOCK)])

    def _block(self, features: torch.Tensor) -> torch.Tensor:
        whole = features.double()
        wide = whole - self.origin
        rough = torch.addmm(self.offsets, wide.float(), self.centroids.T, alpha=-2.0)  # without |x|^2, the same for all
        few = rough.topk(min(_FEW, rough.shape[1]), largest=False, sorted=False).indices
        products = torch.bmm(self.wide[few], wide[:, :, None])[:, :, 0]
        distance = self.norms[few] - 2.0 * products
        nearest = distance.amin(1, keepdim=True)
        # the margin of assign.assign, whose distances are measured from 0
        there = nearest + ((wide**2).sum(1) - (whole**2).sum(1))[:, None]
        margin = 1e-10 * (there.abs() + self.largest)
        lowest = few.masked_fill(distance > nearest + margin, len(self.norms)).amin(1)
        return self.indices[lowest].int()
