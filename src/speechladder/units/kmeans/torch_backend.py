"""Lloyd's algorithm in torch on any device, chunk by chunk, over a sample in memory or mapped from a file.

Distances come from float32 products (for bf16 see `_nearest`). Sums over a chunk are float32, and their totals over the
chunks are float64. A sample that fits on the GPU is copied there once. Otherwise each chunk is read and sent while the
one before is computed. An empty cluster takes half of the cluster with the largest sum of squared distances: as in
faiss, the two centroids start 1/1024 to either side of it. For the next empty cluster both halves count with half of
that sum.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from speechladder.io.devices import acquire_gpu
from speechladder.units.kmeans.plan import OnIteration, Plan, Trained
from speechladder.units.kmeans.start import take_rows

_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 28}  # of a chunk's distances and of its features; 1 << 20 fits a CPU's cache
_RESIDENT = 0.6  # share of the GPU's free memory that the sample may take
_CANDIDATES = 4  # centroids nearest by bf16, between which float32 decides
_DOUBT = 2.0**-6  # relative to the products: float32 decides between two centroids that bf16 finds closer than this
_SPLIT = 1 / 1024


class _Chunks:
    """The sample minus its mean `shift` (dim,), as float32 chunks on a device. It can be iterated over repeatedly.

    Distances do not depend on the origin, and near the mean the products are small, so rounding errors are small.
    `norms` (frames,): the squared norm of each frame.
    """

    def __init__(self, features: np.ndarray, rows: int, device: torch.device) -> None:
        self.features, self.rows, self.device = features, rows, device
        self.starts = range(0, len(features), rows)
        self.resident: torch.Tensor | None = None
        self.shift = torch.zeros(features.shape[1], device=device)
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            if features.size * 4 < _RESIDENT * free:
                self.resident = torch.empty(features.shape, dtype=torch.float32, device=device)
                for at, chunk in self._sent():
                    self.resident[at : at + len(chunk)] = chunk
        total = sum(chunk.sum(0).double() for _, chunk in self)
        self.shift = (total / len(features)).float()
        if self.resident is not None:
            self.resident -= self.shift
        self.norms = torch.cat([chunk.square().sum(1) for _, chunk in self])

    def _read(self, at: int) -> torch.Tensor:
        block = self.features[at : at + self.rows]
        # torch requires writable memory, and a mapped file is read-only
        block = np.array(block, np.float32) if not block.flags.writeable else np.ascontiguousarray(block, np.float32)
        chunk = torch.from_numpy(block)
        return chunk.pin_memory() if self.device.type == "cuda" else chunk

    def _sent(self) -> Iterator[tuple[int, torch.Tensor]]:
        if self.device.type == "cpu":
            yield from ((at, self._read(at)) for at in self.starts)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._read, 0)
            for at in self.starts:
                chunk = ahead.result()
                if at + self.rows < len(self.features):
                    ahead = reader.submit(self._read, at + self.rows)
                yield at, chunk.to(self.device, non_blocking=True)

    def __iter__(self) -> Iterator[tuple[int, torch.Tensor]]:
        if self.resident is None:
            return ((at, chunk - self.shift) for at, chunk in self._sent())
        return ((at, self.resident[at : at + self.rows]) for at in self.starts)


def _nearest(chunk: torch.Tensor, centroids: torch.Tensor, precision: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(squared distance minus the frame's squared norm, index of the centroid), both (frames,).

    With bf16 the products are bfloat16. If the nearest two are within its rounding, the `_CANDIDATES` nearest are
    compared in float32. Nothing else is bfloat16.
    """
    norms = centroids.square().sum(1)
    if precision == "fp32":
        return torch.addmm(norms, chunk, centroids.T, alpha=-2).min(dim=1)
    rough = torch.addmm(norms.bfloat16(), chunk.bfloat16(), centroids.T.bfloat16(), alpha=-2)
    values, indices = _lowest(rough, min(2, len(centroids)))
    index, gap = indices[:, 0].clone(), (values[:, -1] - values[:, 0]).float()
    doubtful = (gap <= _DOUBT * (values[:, 0].abs().float() + norms[index])).nonzero()[:, 0]
    candidates = _lowest(rough[doubtful], min(_CANDIDATES, len(centroids)))[1]
    rows = centroids.index_select(0, candidates.reshape(-1)).view(*candidates.shape, centroids.shape[1])
    exact = norms[candidates] - 2 * torch.bmm(rows, chunk[doubtful][:, :, None])[:, :, 0]
    index[doubtful] = candidates.gather(1, exact.argmin(dim=1)[:, None])[:, 0]
    return norms[index] - 2 * (centroids.index_select(0, index) * chunk).sum(1), index


def _lowest(rough: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` lowest values of each row, ascending, and their columns: both (rows, count).

    On a GPU each is a pass over the row, because topk is slow there for few of many columns. Of equal values either may
    be taken.
    """
    if rough.device.type == "cpu":
        return rough.topk(count, dim=1, largest=False)
    return _lowest_by_passes(rough, count)


def _lowest_by_passes(rough: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    values, columns = [], []
    for _ in range(count):
        value, column = rough.min(dim=1, keepdim=True)
        values.append(value)
        columns.append(column)
        rough.scatter_(1, column, torch.inf)
    values, columns = torch.cat(values, 1), torch.cat(columns, 1)
    rough.scatter_(1, columns, values)
    return values, columns


class _Clusters:
    """The frames of a chunk by cluster, from the cluster of each, `index` (frames,). Nothing waits for the device."""

    def __init__(self, index: torch.Tensor, clusters: int) -> None:
        self.index, self.clusters, self.on_cpu = index, clusters, index.device.type == "cpu"
        if self.on_cpu:
            self.counts = torch.bincount(index, minlength=clusters)
            return
        ordered, self.order = torch.sort(index, stable=True)
        starts = torch.searchsorted(ordered, torch.arange(clusters + 1, device=index.device))
        self.counts = starts.diff()

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """(clusters, dim) float32: the sum of each cluster's rows of (frames, dim), always added in the same order."""
        if self.on_cpu:
            return torch.zeros(self.clusters, values.shape[1]).index_add_(0, self.index, values)
        # on a GPU, index_add_ adds in the order in which its threads arrive
        return torch.segment_reduce(values[self.order], "sum", lengths=self.counts, axis=0, unsafe=True, initial=0)


def _split_empty(centroids: torch.Tensor, counts: torch.Tensor, spread: torch.Tensor) -> int:
    """Give every empty cluster half of another one, in place. Return how many were empty."""
    empty = (counts == 0).nonzero()[:, 0].tolist()
    for cluster in empty:
        largest = int(spread.argmax())
        spread[largest] = spread[cluster] = spread[largest] / 2
        sign = 1 - 2 * (torch.arange(centroids.shape[1], device=centroids.device) % 2)
        centroids[cluster] = centroids[largest] * (1 + _SPLIT * sign)
        centroids[largest] = centroids[largest] * (1 - _SPLIT * sign)
    return len(empty)


def run(features: np.ndarray, plan: Plan, first: np.ndarray, on_iteration: OnIteration | None = None) -> Trained:
    """Run one start from `first` (clusters, dim). `empty` is counted with the final centroids."""
    device = torch.device(plan.device or acquire_gpu())
    clusters, most = plan.clusters, plan.frames_used(len(features))
    if len(features) > most:
        rng = np.random.default_rng([plan.seed, 8])
        features = take_rows(features, np.sort(rng.choice(len(features), most, replace=False)))
    elements = _ELEMENTS.get(device.type, _ELEMENTS["cuda"])
    rows = max(256, min(elements // clusters, elements // features.shape[1]))
    allowed, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    try:
        with torch.inference_mode():
            chunks = _Chunks(features, rows, device)
            centroids = torch.from_numpy(first).to(device) - chunks.shift
            objective, reseeded = [], 0
            for _ in range(plan.iterations):
                value, counts, sums, spread = _pass(chunks, centroids, plan.precision)
                objective.append(value)
                if on_iteration:
                    on_iteration(value)
                centroids = torch.where(counts[:, None] > 0, (sums / counts.clamp(min=1)[:, None]).float(), centroids)
                reseeded += _split_empty(centroids, counts, spread)
                if value <= plan.enough:
                    break
            counts = _pass(chunks, centroids, plan.precision)[1]
            result = (centroids + chunks.shift).cpu().numpy()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    made_by = {"torch": torch.__version__, "device": device.type}
    return Trained(result, objective, int((counts == 0).sum()), reseeded=reseeded, made_by=made_by)


def _pass(
    chunks: _Chunks, centroids: torch.Tensor, precision: str
) -> tuple[float, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One pass: (objective, counts (clusters,), sums (clusters, dim), sums of squared distances (clusters,))."""
    clusters, dim = centroids.shape
    counts = torch.zeros(clusters, dtype=torch.int64, device=chunks.device)
    sums = torch.zeros(clusters, dim, dtype=torch.float64, device=chunks.device)
    spread = torch.zeros(clusters, 1, dtype=torch.float64, device=chunks.device)
    for at, chunk in chunks:
        value, index = _nearest(chunk, centroids, precision)
        distance = (value + chunks.norms[at : at + len(chunk)]).clamp(min=0)
        found = _Clusters(index, clusters)
        counts += found.counts
        sums += found.sums(chunk)
        spread += found.sums(distance[:, None])
    return float(spread.sum()), counts, sums, spread[:, 0]
