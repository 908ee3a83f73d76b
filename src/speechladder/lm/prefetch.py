"""The next steps' windows, read from the memmap and made into tensors by a thread while a step computes."""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from speechladder.lm.attention import Block, Blocks, FlexBlocks, attention_blocks
from speechladder.lm.batches import IGNORE, Batch, Batches, deal

AHEAD = 2  # steps that are ready at most


@dataclass
class Micro:
    """Some windows of a step: (B, T) int64 on the CPU, pinned for a GPU, and the blocks within which they attend."""

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    blocks: list[Block] | FlexBlocks

    def to(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Blocks]:
        """All four on a device; a GPU copies while it computes."""
        tensors = (t.to(device, non_blocking=True) for t in (self.inputs, self.targets, self.positions))
        many = isinstance(self.blocks, list)
        return *tensors, [b.to(device) for b in self.blocks] if many else self.blocks.to(device)


@dataclass
class Work:
    """What a process does in a step, and how many targets the whole step has, in all processes."""

    micros: list[Micro]
    predicted: int


def prepare(batch: Batch, flex: bool, dtype: torch.dtype, pin: bool) -> Micro:
    """Windows as tensors, with blocks for flex_attention or for PackedAttention in `dtype`."""
    inputs, targets, positions, starts = map(torch.from_numpy, batch)
    blocks = FlexBlocks(batch.starts) if flex else attention_blocks(starts, dtype)
    micro = Micro(inputs, targets, positions, blocks)
    if pin:
        micro.inputs, micro.targets, micro.positions = (t.pin_memory() for t in (inputs, targets, positions))
        if flex:
            blocks.pin_memory()
        else:
            micro.blocks = [Block(b.first, b.last, b.low, b.bias.pin_memory()) for b in blocks]
    return micro


class Prefetch:
    """Iterates over the Work of steps `first`, `first` + 1, ... (0 is the first of a run) without end.

    `waited` counts the seconds that its user waited for data. Close it: a context manager. What goes wrong in the
    thread is raised where its work is awaited.
    """

    def __init__(
        self, batches: Batches, first: int, rank: int, ranks: int, micro: int, flex: bool, dtype: torch.dtype, pin: bool
    ) -> None:
        self.batches, self.first, self.rank, self.ranks, self.micro = batches, first, rank, ranks, micro
        self.flex, self.dtype, self.pin = flex, dtype, pin
        self.waited = 0.0
        self._ready: queue.Queue[Work | BaseException] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="prefetch")

    def work(self, step: int) -> Work:
        """The work of one step."""
        batch = self.batches.at(step)
        predicted = int(np.count_nonzero(batch.targets != IGNORE))
        parts = deal(batch, self.rank, self.ranks, self.micro)
        return Work([prepare(part, self.flex, self.dtype, self.pin) for part in parts], predicted)

    def _run(self) -> None:
        step = self.first
        while not self._closed.is_set():
            try:
                made: Work | BaseException = self.work(step)
            except BaseException as error:
                made = error
            while not self._closed.is_set():
                try:
                    self._ready.put(made, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(made, BaseException):
                return
            step += 1

    def __enter__(self) -> "Prefetch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Work]:
        while True:
            begun = time.perf_counter()
            found = self._ready.get()
            self.waited += time.perf_counter() - begun
            if isinstance(found, BaseException):
                raise found
            yield found
