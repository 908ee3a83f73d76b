"""A thread that reads the windows of the next steps and makes tensors of them while a step computes."""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from speechladder.lm.attention import Block, Blocks, attention_blocks, flex_mask
from speechladder.lm.batches import IGNORE, Batch, Batches, split_batch
from speechladder.lm.curriculum import Curriculum

AHEAD = 2  # steps that are ready at most


@dataclass
class MicroBatch:
    """Some windows of a step: (B, T) int64 on the CPU, pinned for a GPU, and the attention within their documents.

    `blocks` are those of PackedAttention; None: flex_attention, whose mask the device makes of `starts`.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    starts: torch.Tensor
    blocks: list[Block] | None

    def to(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Blocks]:
        """Inputs, targets, positions and blocks on a device; a GPU copies while it computes."""
        tensors = [t.to(device, non_blocking=True) for t in (self.inputs, self.targets, self.positions)]
        if self.blocks is not None:
            return *tensors, [b.to(device) for b in self.blocks]
        return *tensors, flex_mask(self.starts.to(device, non_blocking=True))


@dataclass
class Step:
    """The part of a step that this process does, and the number of targets of the whole step in all processes."""

    batches: list[MicroBatch]
    predicted: int


def prepare(batch: Batch, flex: bool, dtype: torch.dtype, pin: bool) -> MicroBatch:
    """Windows as tensors, for flex_attention or with blocks for PackedAttention in `dtype`."""
    inputs, targets, positions, starts = map(torch.from_numpy, batch)
    blocks = None if flex else attention_blocks(starts, dtype)
    if pin:
        inputs, targets, positions, starts = (t.pin_memory() for t in (inputs, targets, positions, starts))
        blocks = blocks and [replace(b, bias=b.bias.pin_memory()) for b in blocks]
    return MicroBatch(inputs, targets, positions, starts, blocks)


class Prefetch:
    """Iterates without end over the Steps `first`, `first` + 1, ... (0 is the first of a run). A context manager.

    `waited` counts the seconds that its user has waited for data. An error in the thread is raised where the user
    waits for the step.
    """

    def __init__(
        self,
        batches: Batches | Curriculum,
        first: int,
        rank: int,
        ranks: int,
        micro: int,
        flex: bool,
        dtype: torch.dtype,
        pin: bool,
    ) -> None:
        self.batches, self.first, self.rank, self.ranks, self.micro = batches, first, rank, ranks, micro
        self.flex, self.dtype, self.pin = flex, dtype, pin
        self.waited = 0.0
        self._ready: queue.Queue[Step | BaseException] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="prefetch")

    def read_step(self, step: int) -> Step:
        """The data of one step."""
        batch = self.batches.at(step)
        predicted = int(np.count_nonzero(batch.targets != IGNORE))
        parts = split_batch(batch, self.rank, self.ranks, self.micro, even=self.flex)
        return Step([prepare(part, self.flex, self.dtype, self.pin) for part in parts], predicted)

    def _run(self) -> None:
        step = self.first
        while not self._closed.is_set():
            try:
                made: Step | BaseException = self.read_step(step)
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

    def __iter__(self) -> Iterator[Step]:
        while True:
            begun = time.perf_counter()
            found = self._ready.get()
            self.waited += time.perf_counter() - begun
            if isinstance(found, BaseException):
                raise found
            yield found
