"""lm/muon.py against torch.optim.Muon."""

import copy

import pytest
import torch

from speechladder.lm.muon import BatchedMuon

SHAPES = [(16, 16), (40, 16), (16, 40), (16, 16), (40, 16)]


@pytest.mark.parametrize("scale", ["match_rms_adamw", "original"])
@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_and_state_are_those_of_torch(scale: str, nesterov: bool) -> None:
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    others = copy.deepcopy(parameters)
    options = {"lr": 0.1, "weight_decay": 0.1, "nesterov": nesterov, "adjust_lr_fn": scale}
    theirs, ours = torch.optim.Muon(parameters, **options), BatchedMuon(others, **options)
    for _ in range(3):
        before = [p.detach().clone() for p in parameters]
        for p, q in zip(parameters, others):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        theirs.step()
        ours.step()
        for p, q, old in zip(parameters, others, before):
            # a bf16 product sums in another order; an update's own size is the measure
            assert float((p - q).detach().norm()) < 0.02 * float((p - old).detach().norm())
            q.data.copy_(p.data)
    for p, q in zip(parameters, others):
        torch.testing.assert_close(ours.state[q]["momentum_buffer"], theirs.state[p]["momentum_buffer"])
