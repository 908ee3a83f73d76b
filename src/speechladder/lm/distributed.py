"""One training in several processes: who is who, what they agree on, and how a model is laid out over them.

torchrun starts the processes and ends all when one is dead; gloo connects them on a CPU, nccl on GPUs. A second, small
gloo group carries what all must agree on at the same step (SIGTERM came to somebody, time is up): it needs no GPU, so
that agreeing waits for none, and it fails at once where a peer's process is gone.
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
from transformers import LlamaForCausalLM

from speechladder.io.errors import UserError

TIMEOUT = timedelta(minutes=30)  # a rank may read, validate or write a checkpoint while the others wait


class Ranks:
    """This process' place among those of the training; alone without torchrun. Use as a context manager."""

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
        # after an error the others may be gone, and closing would wait for them: torchrun ends what is left

    def agree(self, *flags: float) -> list[float]:
        """The largest of each flag over all processes, as they were one call ago: so that nobody waits for anybody.

        Every process calls it equally often, and gets the same answer at the same call. Raises UserError where a
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
            raise self.lost(error) from None
        return answer

    def lost(self, error: Exception) -> UserError:
        """What to say when talking to the others failed."""
        return UserError(
            f"process {self.rank} of {self.size} lost the others ({str(error).splitlines()[0]}); the first that failed "
            "says why. The same command goes on from the last checkpoint"
        )

    def is_loss(self, error: RuntimeError) -> bool:
        """Whether an error is that of talking to another process."""
        return isinstance(error, dist.DistError) or "peer" in str(error) or "gloo" in str(error)

    def told(self, *values: float) -> list[float]:
        """The first process' values, in all: they decide alike on what each has computed for itself."""
        if self.size == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        try:
            dist.broadcast(told, 0, group=self._control)
        except RuntimeError as error:
            raise self.lost(error) from None
        return told.tolist()

    def least(self, value: float) -> float:
        """The smallest over all processes."""
        if self.size == 1:
            return value
        found = torch.tensor([value], dtype=torch.float64)
        try:
            dist.all_reduce(found, dist.ReduceOp.MIN, group=self._control)
        except RuntimeError as error:
            raise self.lost(error) from None
        return found.item()

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of each element over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values


def lay_out(model: LlamaForCausalLM, parallel: str, bf16: bool) -> nn.Module:
    """The module to call in a step: the model itself, a DistributedDataParallel around it, or the model in parts.

    fsdp (FSDP2) cuts the parameters in place. Each piece that is called by itself (a layer, the embeddings, the last
    norm, the head) is a group of its own, so that validation may call model.model and lm_head apart. In bf16 layers and
    head are gathered as bf16, half the traffic; their products are those of autocast. Embeddings, the residual stream,
    rotary angles, sums of gradients and the optimiser stay fp32.
    """
    if parallel == "ddp":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    if parallel == "fsdp":
        full = half = MixedPrecisionPolicy(cast_forward_inputs=False)
        if bf16:
            half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        for piece in (model.model.embed_tokens, model.model.norm):
            fully_shard(piece, mp_policy=full)
        for piece in (*model.model.layers, model.lm_head):
            fully_shard(piece, mp_policy=half)
        fully_shard(model, mp_policy=full)
    return model


def apart(module: nn.Module, last: bool) -> AbstractContextManager:
    """Around a micro-batch's passes: DDP sums gradients over processes in a step's last backward pass only.

    FSDP sums them in each, since keeping whole gradients is what it is there to avoid.
    """
    if isinstance(module, DistributedDataParallel) and not last:
        return module.no_sync()
    return nullcontext()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A parameter or moment without its parts: every process calls this, in the same order."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A whole tensor laid out as `parameter` is. Every process has the tensor, and takes its part of it."""
    tensor = tensor.to(parameter.device)
    if isinstance(parameter, DTensor) and tensor.dim():  # the optimiser's count of steps is a number
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return tensor


def gather(named: dict[str, torch.Tensor], keep: bool, copy: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    """Whole copies of tensors, one after the other: a process without `keep` holds one at a time."""
    out = {}
    for name, tensor in named.items():
        full = whole(tensor)
        if keep:
            out[name] = copy(full)
    return out
