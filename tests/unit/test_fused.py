"""lm/fused.py: the layer by hand against the layer of transformers under autograd."""

import copy

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from speechladder.lm import fused
from speechladder.lm.attention import attention_blocks
from speechladder.lm.model import build_model
from speechladder.settings import LM

META = {"vocab_size": 30, "pad_id": 0, "bos_id": 1, "eos_id": 2}
SIZE = {"hidden_size": 24, "layers": 2, "heads": 3, "kv_heads": 3, "intermediate_size": 40}


def loud(**changes: object) -> torch.nn.Module:
    """A model whose norms differ from 1 and whose weights are large, so that each path of the gradient shows."""
    model = build_model(LM(**SIZE | changes), META, 0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter.dim() < 2))
    return model


def gradients(
    model: torch.nn.Module, dtype: torch.dtype, autocast: bool
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits and the gradient of each parameter, over two windows of several documents."""
    torch.manual_seed(2)
    ids, starts = torch.randint(4, 30, (2, 300)), torch.zeros(2, 300, dtype=torch.long)
    starts[0, 50:], starts[0, 140:], starts[1, 170:] = 50, 140, 170
    kind = torch.bfloat16 if autocast else dtype
    positions = torch.arange(300) - starts
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        blocks = attention_blocks(starts, kind)
        logits = model(input_ids=ids, position_ids=positions, use_cache=False, blocks=blocks).logits
    weight = torch.randn(logits.shape, dtype=torch.float64)
    (logits.double() * weight).sum().backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters()}


@pytest.fixture
def norms_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers computes norms in fp32 whatever it is given."""

    def forward(self: LlamaRMSNorm, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


@pytest.mark.usefixtures("norms_in_float64")
def test_the_layer_and_every_gradient_are_those_of_transformers_in_float64() -> None:
    plain = loud().double()
    own = copy.deepcopy(plain)
    assert fused.install(own)
    want, expected = gradients(plain, torch.float64, autocast=False)
    got, found = gradients(own, torch.float64, autocast=False)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    assert found.keys() == expected.keys() and all(float(g.abs().max()) > 1e-3 for g in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-9, msg=name)


def test_in_bf16_it_is_as_near_to_float64_as_autocast() -> None:
    """Each gradient's distance from the one in float64 is at most a quarter more than that of autocast."""
    exact = gradients(loud().double(), torch.float64, autocast=False)[1]
    plain, own = loud(), loud()
    assert fused.install(own)
    _, theirs = gradients(plain, torch.float32, autocast=True)
    _, ours = gradients(own, torch.float32, autocast=True)
    for name, gradient in exact.items():
        off = [float((g[name] - gradient).norm() / gradient.norm()) for g in (theirs, ours)]
        assert off[1] < 1.25 * off[0] < 0.1, (name, off)


@pytest.mark.parametrize("changes", [{"kv_heads": 1}, {"architecture": "qwen3"}])
def test_other_models_stay_as_they_are(changes: dict[str, object]) -> None:
    model = loud(**changes)
    assert not fused.install(model)
    assert all("forward" not in vars(layer) for layer in model.model.layers)


def test_without_blocks_a_layer_is_that_of_transformers() -> None:
    model = loud()
    ids = torch.randint(4, 30, (2, 60))
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits
        fused.install(model)
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)
