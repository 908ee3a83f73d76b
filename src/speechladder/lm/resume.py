"""What a checkpoint holds of a training in progress, however it is laid out over processes."""

import hashlib
from typing import Any

import numpy as np
import torch

from speechladder.lm import warm_start
from speechladder.lm.distributed import gather, like
from speechladder.lm.step import Trainee
from speechladder.rungs.data import TokenData
from speechladder.settings import HOW, LM, STAGES


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in memory that the next step will not change."""
    return tensor.cpu() if tensor.is_cuda else tensor.clone()


def pack(trainee: Trainee, best: dict[str, torch.Tensor], keep: bool) -> dict[str, torch.Tensor]:
    """Copies of weights, moments (by the parameter's number in the optimiser) and best weights, whole.

    Every process takes part, since each has a part; what it returns without `keep` is nothing.
    """
    named = {f"model.{k}": v for k, v in trainee.model.state_dict().items()}
    for number, moments in trainee.optimizer.state_dict()["state"].items():
        named |= {f"optimizer.{number}.{k}": v for k, v in moments.items()}
    return gather(named, keep, copied) | ({f"best.{k}": v for k, v in best.items()} if keep else {})


def fingerprint(settings: LM, seed: int, precision: str, device: torch.device, *splits: TokenData) -> dict[str, Any]:
    """What a checkpoint must agree on, field by field, to be gone on from; how it is computed (HOW) is free."""
    left_out = {"seeds", "model", "init", *HOW}
    fields = {f"lm.{k}": v for k, v in settings.model_dump(mode="json").items() if k not in left_out}
    data = hashlib.sha256()
    for split in splits:
        for array in (split.lengths, split.seconds, split.tokens):
            data.update(np.ascontiguousarray(array))
    about = {"seed": seed, "precision": precision, "device": device.type, "torch": torch.__version__}
    rung = {"rung": splits[0].meta["rung"], "vocab_size": splits[0].meta["vocab_size"], "data": data.hexdigest()}
    init = warm_start.digest(warm_start.place(settings.init)) if settings.init else None
    return fields | about | rung | {"lm.init": init, "version": STAGES["train_lm"].version}


def restore(trainee: Trainee, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Load a checkpoint into model and optimiser, as they are laid out; returns the best weights."""
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts[part][key] = tensor
    with torch.no_grad():
        for name, parameter in trainee.model.state_dict().items():
            parameter.copy_(like(parts["model"][name], parameter))
    optimizer, moments = trainee.optimizer, {}
    numbered = [p for group in optimizer.param_groups for p in group["params"]]
    for name, tensor in parts["optimizer"].items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = like(tensor, numbered[int(number)])
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return parts["best"]
