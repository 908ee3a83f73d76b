"""What a training does on a GPU, as far as a CPU can show it: one graph, equal shapes, estimates, ways back."""

from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.attention.flex_attention as torch_flex
from torch._dynamo.utils import counters

from speechladder.io.errors import UserError
from speechladder.lm import attention
from speechladder.lm.attention import attention_blocks, flex_mask, resolve_attention, resolve_compile, triton_lacks
from speechladder.lm.batches import IGNORE, Batches, split_batch
from speechladder.lm.compute import ACTIVATIONS, SCORES, plan_memory, usual_mode, window_bytes, worth_compiling
from speechladder.lm.curriculum import Curriculum, make_batches
from speechladder.lm.likelihood import sequence_nll
from speechladder.lm.model import autocast, build_model
from speechladder.lm.prefetch import Prefetch, prepare
from speechladder.lm.step import TrainState
from speechladder.lm.validation import BATCH_TOKENS, Validation
from speechladder.settings import LM
from tests.pretend_card import CARD, PretendCard

META = {"vocab_size": 20, "pad_id": 0, "bos_id": 1, "eos_id": 2}
SIZE = {"hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1, "intermediate_size": 48}
SMALL = LM(**SIZE, window=128, batch_windows=8, optimizer="adamw", lr=1e-3)
PAPER = LM(model="tinyllama-1.1b", window=2048, batch_windows=128, optimizer="adamw", lr=4e-4)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def documents(count: int = 120, longest: int = 70, meta: dict | None = None) -> SimpleNamespace:
    """Documents of random tokens with the fields of rungs.data.TokenData."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, longest, count)
    tokens = rng.integers(4, META["vocab_size"], lengths.sum()).astype(np.uint16)
    offsets = np.cumsum(lengths) - lengths
    tokens[offsets], tokens[offsets + lengths - 1] = 1, 2
    return SimpleNamespace(tokens=tokens, offsets=offsets, lengths=lengths, meta=meta or {})


def prefetch(batches: Batches | Curriculum, micro: int, flex: bool = True) -> Prefetch:
    return Prefetch(batches, 0, 0, 1, micro, flex, torch.float32, False)


# ---------------------------------------------------------------- graphs


class Held:
    """Validation data whose documents are of every length, some beyond the window."""

    lengths = (5, 17, 40, 90, 128, 150, 200, 260, 261, 300)
    seconds = np.array(lengths) / 50

    def __len__(self) -> int:
        return len(self.lengths)

    def utterance(self, number: int) -> np.ndarray:
        return np.array([1, *np.random.default_rng(number).integers(4, 20, self.lengths[number])], np.uint16)


@pytest.fixture
def dynamo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Layers compile without code generation, and torch lets flex_attention differentiate on a CPU."""
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="eager"))
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *given: None)
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    counters.clear()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_one_graph_serves_every_step_and_validation_adds_none(dynamo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 windows by 3 are 3, 3 and 2, and documents of validation have ten lengths, in bf16 and then in fp32."""
    monkeypatch.setitem(BATCH_TOKENS, "cpu", 300)
    model = build_model(SMALL, META, 0)
    state, validation = TrainState(model, SMALL, CPU, "bf16", compiled=True), Validation(Held(), 1e9)
    with prefetch(Batches(documents(), 0, 128, 8), micro=3) as data:
        feed = iter(data)
        for _ in range(3):
            state.train_step(next(feed), 1e-3)
        assert graphs() == 1 and not counters["graph_break"]
        with autocast(CPU, "bf16"):
            rounded = validation.bits(model)[0]
        exact = validation.bits(model)[0]
        state.train_step(next(feed), 1e-3)
    assert graphs() == 1 and not counters["graph_break"]
    plain = build_model(SMALL, META, 0)
    plain.load_state_dict(model.state_dict())
    state.optimizer.zero_grad()
    assert rounded == pytest.approx(exact, rel=1e-2) and rounded != exact
    assert validation.bits(model) == validation.bits(plain)


@pytest.mark.parametrize("rung", ["text-bpe", "speech-hubert"])
def test_micro_batches_of_flex_attention_have_one_shape(rung: str) -> None:
    settings = SMALL.model_copy(update={"run_curriculum": 0.4})
    for micro in (1, 3, 5, 7, 8):
        batches = make_batches(documents(), rung, 0, settings)
        if isinstance(batches, Curriculum):
            batches.plan(6)
        data = prefetch(batches, micro)
        steps = [data.read_step(step) for step in range(6)]
        assert {part.inputs.shape for step in steps for part in step.batches} == {(micro, 128)}
        assert [len(step.batches) for step in steps] == [-(-8 // micro)] * 6


# ---------------------------------------------------------------- windows that fill a micro-batch


def gradients(parts: list, predicted: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a step in fp64 and its gradients, before clipping."""
    model = build_model(SMALL, META, 0).double()
    state = TrainState(model, SMALL.model_copy(update={"clip": 1e9}), CPU, "fp32")
    state.optimizer.step = lambda lr: None
    loss = state.train_step(SimpleNamespace(batches=parts, predicted=predicted), 1e-3)
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}


def test_filling_windows_add_nothing() -> None:
    data = prefetch(Batches(documents(), 0, 128, 8), micro=3, flex=False)
    data.dtype = torch.float64
    ragged = data.read_step(0)
    even = [prepare(b, False, torch.float64, False) for b in split_batch(data.batches.at(0), 0, 1, 3, even=True)]
    assert [len(p.inputs) for p in ragged.batches] == [3, 3, 2] and [len(p.inputs) for p in even] == [3, 3, 3]
    assert ragged.predicted == sum(int((p.targets != IGNORE).sum()) for p in even)
    (loss, got), (want, grads) = gradients(even, ragged.predicted), gradients(ragged.batches, ragged.predicted)
    assert torch.equal(loss, want)
    for name, grad in grads.items():
        assert torch.equal(got[name], grad), name
    # a micro-batch of nothing else: zeros, not NaN
    last = [t[2:] for t in (even[-1].inputs, even[-1].targets, even[-1].positions, even[-1].starts)]
    nothing, zeros = gradients([type(even[0])(*last, attention_blocks(last[3], torch.float64))], 7)
    assert nothing == 0 and all(not grad.any() for grad in zeros.values())


# ---------------------------------------------------------------- memory


def kept_bytes(lm: LM, mode: str, tokens: int, document: int = 128) -> int:
    """Bytes that a layer keeps for its backward pass over `tokens` tokens in bf16, weights left out."""
    model = build_model(lm, META, 0)
    layer, own = model.model.layers[0], {p.untyped_storage().data_ptr() for p in model.parameters()}
    starts = (torch.arange(tokens) // document * document)[None]
    blocks = attention_blocks(starts, torch.bfloat16) if mode == "packed" else flex_mask(starts)
    x = torch.randn(1, tokens, lm.hidden_size, requires_grad=True)
    rotary = model.model.rotary_emb(x, torch.arange(tokens)[None])
    own |= {r.untyped_storage().data_ptr() for r in rotary}  # one pair serves all layers
    call, kept = layer, {}
    if mode == "compiled":
        torch._dynamo.reset()
        call = torch.compile(layer, backend="aot_eager_decomp_partition")  # keeps what inductor keeps

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(CPU, "bf16"):
        call(x, position_embeddings=rotary, blocks=blocks)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("mode", ["flex", "packed", "compiled"])
def test_estimates_of_activations_are_what_a_layer_keeps(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *given: None)
    width = 128
    lm = LM(hidden_size=width, layers=1, heads=2, kv_heads=2, intermediate_size=352, window=256)
    measured = (kept_bytes(lm, mode, 512) - kept_bytes(lm, mode, 256)) / 256  # what does not grow with tokens drops out
    estimated = width * sum(ACTIVATIONS[mode])
    if mode == "packed":
        estimated += SCORES * lm.heads * 128  # documents of one block, all of whose pairs are kept
    assert measured <= estimated * 1.02
    assert measured >= estimated * 0.9


def test_a_mode_that_keeps_more_takes_fewer_windows_at_once() -> None:
    found = {mode: plan_memory(PAPER, 2048, 1, True, 80e9, mode) for mode in ACTIVATIONS}
    assert found["compiled"].micro > found["flex"].micro > found["packed"].micro
    assert all(plan.needed < 80e9 for plan in found.values())
    per_token = {mode: window_bytes(PAPER, 2048, True, False, mode) / 2048 for mode in ("flex", "compiled")}
    assert {mode: round((value / 22 - 14 * 2048 / 22) / 2048) for mode, value in per_token.items()} == {
        "flex": 58,
        "compiled": 36,
    }


# ---------------------------------------------------------------- whether compiling is worth its time


def test_short_trainings_are_not_compiled() -> None:
    default, smoke = LM(), LM(max_steps=30, window=256)
    base = LM(model="125m", window=2048, batch_windows=16)
    assert [worth_compiling(lm, 500, steps) for lm, steps in ((default, 2400), (smoke, 30), (base, 50))] == [False] * 3
    assert worth_compiling(base, 500, 20_000) and worth_compiling(PAPER, 2048, 400)
    assert worth_compiling(smoke.model_copy(update={"compile": "on"}), 500, 30)
    eight = base.model_copy(update={"processes": 8})
    assert [worth_compiling(lm, 500, 1500) for lm in (base, eight)] == [True, False]


def test_attention_and_layers_follow_the_expected_work() -> None:
    assert resolve_attention("auto", CUDA, 64, worth=False) == "packed"
    assert [resolve_compile("auto", True, worth) for worth in (True, False)] == [True, False]
    assert resolve_compile("on", True, False) and not resolve_compile("off", True, True)
    assert [usual_mode(PAPER, 2048, steps) for steps in (10, 400)] == ["packed", "compiled"]
    assert usual_mode(PAPER.model_copy(update={"attention": "flex"}), 2048, 10) == "flex"
    assert usual_mode(PAPER.model_copy(update={"compile": "off"}), 2048, 400) == "flex"
    assert usual_mode(PAPER.model_copy(update={"head_dim": 24}), 2048, 400) == "packed"


# ---------------------------------------------------------------- what Triton needs


@pytest.fixture
def fresh() -> Iterator[None]:
    triton_lacks.cache_clear()
    yield
    triton_lacks.cache_clear()


def _compiler(tmp_path: Path, text: str) -> str:
    path = tmp_path / "cc"
    path.write_text(f"#!/bin/sh\ncat >/dev/null\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            'echo "<stdin>:1: fatal error: Python.h: No such file" >&2; exit 1',
            r"finds no Python\.h; install Python's headers",
        ),
        ("echo 'cc: internal error' >&2; exit 4", r"fails \(cc: internal error\); name another one in CC"),
        (None, r"cannot be started \(No such file or directory\); name another one in CC"),
        ("none", r"there is no C compiler; install gcc, or name one in CC"),
    ],
)
def test_without_a_compiler_or_headers_attention_is_packed_with_a_sentence(
    script: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fresh: None,
) -> None:
    monkeypatch.setattr(attention.importlib.util, "find_spec", lambda name: object())
    if script == "none":
        monkeypatch.delenv("CC", raising=False)
        monkeypatch.setattr(attention.shutil, "which", lambda name: None)
    else:
        monkeypatch.setenv("CC", _compiler(tmp_path, script) if script else str(tmp_path / "missing"))
    assert resolve_attention("auto", CUDA, 64) == "packed"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lm.attention: packed, because flex needs kernels that Triton builds, and ")
    with pytest.raises(UserError, match=said):
        resolve_attention("flex", CUDA, 64)
    assert resolve_compile("auto", False) is False


def test_with_a_compiler_and_headers_attention_is_flex(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fresh: None
) -> None:
    monkeypatch.setenv("CC", _compiler(tmp_path, "exit 0"))
    monkeypatch.setattr(attention.importlib.util, "find_spec", lambda name: object())
    assert resolve_attention("auto", CUDA, 64) == "flex"
    triton_lacks.cache_clear()
    monkeypatch.setattr(attention.importlib.util, "find_spec", lambda name: None)
    assert resolve_attention("auto", CUDA, 64) == "packed"
    assert "Triton is not installed; install torch with CUDA" in capsys.readouterr().err


# ---------------------------------------------------------------- waits


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_does_not_wait_for_the_device(optimizer: str) -> None:
    """With packed attention; flex_attention does not run on a pretended card."""
    settings = SMALL.model_copy(update={"optimizer": optimizer})
    data = Prefetch(Batches(documents(), 0, 128, 8), 0, 0, 1, 3, False, torch.bfloat16, True)
    with PretendCard() as card:
        state = TrainState(build_model(settings, META, 0), settings, CARD, "bf16")
        steps = [data.read_step(step) for step in range(2)]
        card.waits.clear()
        loss = [state.train_step(step, 1e-3) for step in steps][-1]
        assert card.on(loss) and card.waits == []
        assert np.isfinite(float(loss)) and card.waits  # reading it is what waits


@pytest.mark.parametrize("layers", [False, True])
def test_scores_are_copied_from_the_device_once(layers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mask is read on the device, and nothing comes back before the end, over any number of batches."""
    copied: list[torch.Size] = []
    real = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copied.append(tensor.shape) or real(tensor))
    seen: list[object] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, given=(), named=None):
            name = str(function)
            # these read values on the CPU to know a shape or a number
            if name.startswith(("aten.nonzero", "aten._local_scalar_dense", "aten.masked_select", "aten.item")):
                seen.append(name)
            if name.startswith("aten.index.Tensor") and any(t is not None and t.dtype == torch.bool for t in given[1]):
                seen.append(name)
            return function(*given, **(named or {}))

    model = build_model(SMALL, META, 0)
    sequences = [Held().utterance(n)[:100] for n in range(10)]
    with Watch():
        found = sequence_nll(model, sequences, 200, layers=layers)
    assert found.shape == (10, 3 if layers else 1) and np.isfinite(found).all()
    assert copied == [torch.Size(found.shape)]
    assert seen == []
