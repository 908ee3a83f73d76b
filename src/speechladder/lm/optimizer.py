"""The optimisers of a training: AdamW for every parameter, or Muon for the hidden matrices and AdamW for the rest.

Muon (K. Jordan, https://kellerjordan.github.io/posts/muon) replaces the momentum of a matrix by the nearest
semi-orthogonal matrix. Its update is scaled to the size of AdamW's (arXiv 2502.16982, section 2.2), so that rate and
weight decay mean the same for both.
"""

from collections.abc import Iterator

import torch
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from speechladder.lm.architectures.base import parts_of
from speechladder.lm.distributed import full_tensor, shard_like
from speechladder.lm.muon import BatchedMuon
from speechladder.settings import LM

BETAS = (0.9, 0.95)  # those of TinyLlama
SCALE = "match_rms_adamw"
RATIO = "rate_ratio"  # key of a group of parameters: its rate as a multiple of lm.lr


class ShardedMuon(BatchedMuon):
    """Muon for matrices that FSDP2 shards, of which a half cannot be made orthogonal by itself.

    The momentum stays sharded. The update of one matrix at a time is gathered, every process makes it orthogonal, and
    each takes its shard of the result.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Do one step of all matrices. Every process must call this."""
        for group in self.param_groups:
            momentum, lr = group["momentum"], group["lr"]
            for parameter in group["params"]:
                grad, state = parameter.grad, self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(grad)
                buffer = state["momentum_buffer"].lerp_(grad, 1 - momentum)
                update = self._orthogonal(full_tensor(grad.lerp(buffer, momentum)), lr)
                parameter.mul_(1 - lr * group["weight_decay"]).add_(shard_like(update, parameter))

    def _orthogonal(self, update: torch.Tensor, lr: float) -> torch.Tensor:
        """What a step without momentum adds to a matrix whose gradient is `update`."""
        matrix = torch.nn.Parameter(torch.zeros_like(update))
        matrix.grad = update
        options = {"lr": lr, "weight_decay": 0, "momentum": 0, "nesterov": False, "adjust_lr_fn": SCALE}
        BatchedMuon([matrix], self.kind, **options).step()
        return matrix.detach()


def hidden_matrices(model: PreTrainedModel) -> set[int]:
    """The ids of the parameters that Muon trains: those of two dimensions within the layers."""
    return {id(p) for layer in parts_of(model).layers for p in layer.parameters() if p.dim() == 2}


class Optimizer:
    """The optimisers of one model, which is laid out already. All follow one schedule.

    Weight decay is on matrices only, embeddings and head included. The products of Muon are in the precision of the
    training, 'fp32' or 'bf16'.
    """

    def __init__(self, model: PreTrainedModel, settings: LM, precision: str) -> None:
        parameters = list(model.parameters())
        hidden = hidden_matrices(model) if settings.optimizer == "muon" else set()
        ratio = settings.rest_lr / settings.lr
        matrices = [p for p in parameters if p.dim() > 1 and id(p) not in hidden]
        others = [p for p in parameters if p.dim() <= 1]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay, RATIO: ratio},
            {"params": others, "weight_decay": 0.0, RATIO: ratio},
        ]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=settings.rest_lr, betas=BETAS, fused=True)
        ]
        if hidden:
            group = {"params": [p for p in parameters if id(p) in hidden], RATIO: 1.0}
            kind = ShardedMuon if isinstance(group["params"][0], DTensor) else BatchedMuon
            products = torch.bfloat16 if precision == "bf16" else torch.float32
            options = {"lr": settings.lr, "weight_decay": settings.weight_decay, "adjust_lr_fn": SCALE}
            self.parts.append(kind([group], products, **options))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self, lr: float) -> None:
        """Do one step at rate `lr`; parameters with a rate of their own get it in the same proportion."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr * group[RATIO]
            part.step()

    def _numbered(self) -> Iterator[tuple[torch.optim.Optimizer, int, list[torch.Tensor]]]:
        """Each optimiser with its parameters and the number of the first among those of all."""
        first = 0
        for part in self.parts:
            parameters = [p for group in part.param_groups for p in group["params"]]
            yield part, first, parameters
            first += len(parameters)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state by '{number of the parameter}.{name}', laid out as the parameters are."""
        return {
            f"{first + number}.{name}": tensor
            for part, first, _ in self._numbered()
            for number, state in part.state_dict()["state"].items()
            for name, tensor in state.items()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take whole tensors named as by `tensors` as the state."""
        for part, first, parameters in self._numbered():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in tensors.items():
                number, _, key = name.partition(".")
                if 0 <= (index := int(number) - first) < len(parameters):
                    state.setdefault(index, {})[key] = shard_like(tensor, parameters[index])
            part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
