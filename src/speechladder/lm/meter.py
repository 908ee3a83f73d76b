"""The figures of speed in the log: tokens/s, model FLOP utilisation, memory, waiting for data, checkpoints."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from speechladder.lm.prefetch import Prefetch


class Speed:
    """Measures the time of a training from log row to log row, without validation and checkpoints."""

    def __init__(self, device: torch.device, flops: float, ceiling: float) -> None:
        """`flops` of one token (lm.compute.train_flops); `ceiling` in FLOP/s of the devices of all processes."""
        self.device, self.flops, self.ceiling = device, flops, ceiling
        self.tokens, self.pause, self.saving = 0, 0.0, 0.0
        self.begun, self.waited = time.perf_counter(), 0.0

    @contextmanager
    def paused(self, saving: bool = False) -> Iterator[None]:
        """Time in this context does not count as training; with `saving` it counts as checkpointing."""
        begun = time.perf_counter()
        yield
        spent = time.perf_counter() - begun
        self.pause += spent
        self.saving += spent if saving else 0.0

    def row(self, data: Prefetch) -> dict[str, Any]:
        """The figures since the last row; starts again. Call it after the GPU has been waited for."""
        whole = time.perf_counter() - self.begun
        spent = max(whole - self.pause, 1e-9)
        rate = self.tokens / spent
        row = {
            "tokens_per_second": round(rate, 1),
            "mfu": round(rate * self.flops / self.ceiling, 4),
            "data_wait": round((data.waited - self.waited) / spent, 4),
            "checkpoint_share": round(self.saving / max(whole, 1e-9), 4),
            "memory_gb": round(self._memory() / 1e9, 3),
        }
        self.tokens, self.pause, self.saving = 0, 0.0, 0.0
        self.begun, self.waited = time.perf_counter(), data.waited
        return row

    def _memory(self) -> float:
        """The peak so far in bytes: of the GPU of this process, or else of the process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
