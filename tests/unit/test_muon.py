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


@pytest.mark.parametrize(("kind", "off"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_products_are_in_the_kind_that_is_given(kind: torch.dtype, off: float) -> None:
    torch.manual_seed(0)
    matrix = torch.nn.Parameter(torch.zeros(16, 40))
    matrix.grad = torch.randn(16, 40)
    options = {"lr": 1.0, "weight_decay": 0.0, "momentum": 0.0, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}
    BatchedMuon([matrix], kind, **options).step()
    x = matrix.grad.double() / matrix.grad.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    error = float((matrix.detach() + 0.2 * 40**0.5 * x).norm() / matrix.detach().norm())
    assert error < off and (kind == torch.float32 or error > 1e-4)
