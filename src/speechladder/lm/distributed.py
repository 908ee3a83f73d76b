"""One training in several processes: their ranks, their agreement, and the layout of a model over them.

torchrun starts the processes and ends all of them when one has died. gloo connects them on a CPU, nccl on GPUs. A
second, small gloo group carries the flags that all processes must see at the same step (SIGTERM has arrived, time is
up). It needs no GPU, so agreement never waits for one, and it fails at once when the process of a peer is gone.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from speechladder.io.errors import UserError
from speechladder.lm.architectures.base import parts_of

TIMEOUT = timedelta(minutes=30)  # a rank may read, validate or write a checkpoint while the others wait


class Ranks:
    """The place of this process among those of the training; rank 0 of 1 without torchrun. A context manager."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self._control: Any = None
        self._asked: tuple[Any, torch.Tensor] | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def __enter__(self) -> "Ranks":
        if self.size > 1:
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            options = {"device_id": self.device} if backend == "nccl" else {}
            dist.init_process_group(backend, timeout=TIMEOUT, **options)
            self._control = dist.new_group(backend="gloo", timeout=TIMEOUT)
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.size == 1:
            return
        if kind is None or issubclass(kind, SystemExit):
            dist.barrier(self._control)
            dist.destroy_process_group()
        # After an error the others may be gone, and closing would wait for them. torchrun ends what is left.

    def any_flag(self, *flags: float) -> list[float]:
        """The largest value of each flag over all processes, as it was one call ago, so that no process waits.

        Every process must call this equally often, and gets the same answer at the same call. Raise UserError if a
        process is gone.
        """
        if self.size == 1:
            return list(flags)
        answer = [0.0] * len(flags)
        try:
            if self._asked:
                work, values = self._asked
                work.wait()
                answer = values.tolist()
            values = torch.tensor(flags, dtype=torch.float64)
            self._asked = dist.all_reduce(values, dist.ReduceOp.MAX, self._control, async_op=True), values
        except RuntimeError as error:
            raise self.connection_lost(error) from None
        return answer

    def connection_lost(self, error: Exception) -> UserError:
        """The error to raise when communication with the other processes has failed."""
        return UserError(
            f"process {self.rank} of {self.size} lost the others ({str(error).splitlines()[0]}); the first process "
            "that failed says why. The same command continues from the last checkpoint"
        )

    def is_connection_error(self, error: RuntimeError) -> bool:
        """Whether an error comes from communication with another process."""
        return isinstance(error, dist.DistError) or "peer" in str(error) or "gloo" in str(error)

    def broadcast(self, *values: float) -> list[float]:
        """The values of the first process, in every process. Raise UserError if a process is gone."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(values, dtype=torch.float64)
        try:
            dist.broadcast(found, 0, group=self._control)
        except RuntimeError as error:
            raise self.connection_lost(error) from None
        return found.tolist()

    def minimum(self, value: float) -> float:
        """The smallest value over all processes. Raise UserError if a process is gone."""
        if self.size == 1:
            return value
        found = torch.tensor([value], dtype=torch.float64)
        try:
            dist.all_reduce(found, dist.ReduceOp.MIN, group=self._control)
        except RuntimeError as error:
            raise self.connection_lost(error) from None
        return found.item()

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of each element over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values


def lay_out(model: PreTrainedModel, parallel: str, bf16: bool) -> nn.Module:
    """The module to call in a step: the model itself, a DistributedDataParallel around it, or the sharded model.

    fsdp (FSDP2) shards the parameters in place. Each module that is called by itself (a layer, the embeddings, the
    last norm, the head) is a group of its own, so that validation can call the body and the head separately. In bf16,
    layers and head are gathered as bf16, which halves the traffic; their products equal those of autocast.
    Embeddings, the residual stream, rotary angles, sums of gradients and the optimiser stay fp32.
    """
    if parallel == "ddp":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    if parallel == "fsdp":
        full = half = MixedPrecisionPolicy(cast_forward_inputs=False)
        if bf16:
            half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        parts = parts_of(model)
        for piece in (*parts.embeddings, parts.norm):
            fully_shard(piece, mp_policy=full)
        for piece in (*parts.layers, parts.head):
            fully_shard(piece, mp_policy=half)
        fully_shard(model, mp_policy=full)
    return model


def gradient_sync(module: nn.Module, last: bool) -> AbstractContextManager:
    """The context for the passes of a micro-batch: DDP sums gradients over processes only in the last one of a step.

    FSDP sums them in each, because its purpose is to avoid keeping whole gradients.
    """
    if isinstance(module, DistributedDataParallel) and not last:
        return module.no_sync()
    return nullcontext()


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """A whole parameter or moment, gathered from its shards. Every process must call this, in the same order."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A whole tensor laid out as `parameter` is. Every process has the tensor and takes its shard of it."""
    tensor = tensor.to(parameter.device)
    if isinstance(parameter, DTensor) and tensor.dim():  # the optimiser's count of steps has no dimensions
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return tensor


def gather(named: dict[str, torch.Tensor], keep: bool, copy: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """Whole copies of tensors, gathered one by one, so that a process without `keep` holds one at a time."""
    out = {}
    for name, tensor in named.items():
        full = full_tensor(tensor)
        if keep:
            out[name] = copy(full)
    return out
