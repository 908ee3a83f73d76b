"""Architectures beside Llama: one entry in the registry, and the ordinary loop trains, scores and samples with it."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_architecture import GPT2
from toy_rung import VOCAB, toy_document, write_rung
from transformers import AutoModelForCausalLM

from speechladder.benchmarks.score import score_rung
from speechladder.continuation.decoding import generate
from speechladder.io.errors import UserError
from speechladder.io.tables import ITEM_TOKENS, ITEMS, SCORES, read_table, write_table
from speechladder.lm.architectures.base import ARCHITECTURES, get_architecture, parts_of, register
from speechladder.lm.attention import attention_blocks
from speechladder.lm.batches import Batches
from speechladder.lm.compute import ACTIVATIONS, active_parameters, parameters, train_flops, window_bytes
from speechladder.lm.likelihood import sequence_nll
from speechladder.lm.model import build_model
from speechladder.lm.train import train_lm
from speechladder.lm.warm_start import with_init_dimensions
from speechladder.rungs.data import TokenData
from speechladder.settings import LM, Scores
from speechladder.workflow.config import checked

SIZE = {"hidden_size": 16, "layers": 2, "heads": 4, "kv_heads": 2, "intermediate_size": 32, "window": 48}
RUN = {"batch_windows": 2, "lr": 1e-2, "max_steps": 20, "warmup_steps": 2, "valid_every": 10, "learning_points": 1}
META = {"vocab_size": VOCAB, "pad_id": 0, "bos_id": 1, "eos_id": 2}
NAMES = ("llama", "qwen3", "gpt2")


@pytest.fixture(autouse=True)
def gpt2(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2 is registered for the time of a test."""
    monkeypatch.setitem(ARCHITECTURES, "gpt2", GPT2())


@pytest.fixture(scope="module")
def rung(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rung(tmp_path_factory.mktemp("tokens") / "toy")


def loud(name: str, seed: int = 0) -> torch.nn.Module:
    """A model whose random weights are so large that a leak between documents shows."""
    model = build_model(LM(architecture=name, **SIZE), META, seed).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_formulas_count_the_parameters(name: str) -> None:
    settings = LM(architecture=name, **SIZE)
    model = build_model(settings, META, 0)
    assert type(model).__name__ == get_architecture(name).model_class
    assert parameters(settings, VOCAB) == model.num_parameters()
    looked_up = sum(p.numel() for module in parts_of(model).embeddings for p in module.parameters())
    assert active_parameters(settings, VOCAB) == model.num_parameters() - looked_up


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_heads_of_another_width_are_counted(name: str, tmp_path: Path) -> None:
    """Released models of Qwen3 have heads of 128 dimensions, whatever their width is."""
    source = LM(architecture=name, **SIZE | {"head_dim": 8})
    model = build_model(source, META, 0)
    assert model.config.head_dim == 8 != SIZE["hidden_size"] // SIZE["heads"]
    assert parameters(source, VOCAB) == model.num_parameters() > parameters(LM(architecture=name, **SIZE), VOCAB)
    model.save_pretrained(tmp_path / "text")
    warm = with_init_dimensions(LM(architecture=name, init=str(tmp_path / "text"), window=SIZE["window"]))
    assert (warm.head_dim, warm.attention_width) == (8, 32)
    own = build_model(warm, META, 0)
    assert parameters(warm, VOCAB) == own.num_parameters() == model.num_parameters()
    # attention costs by the width of the heads, the rest by that of the model
    usual = LM(architecture=name, **SIZE)
    more = train_flops(warm, VOCAB, 10) - train_flops(usual, VOCAB, 10)
    assert more == 6 * (parameters(warm, VOCAB) - parameters(usual, VOCAB)) + 12 * 2 * (32 - 16) * 5
    assert window_bytes(warm, VOCAB, True, False) - window_bytes(usual, VOCAB, True, False) == (
        48 * 2 * ACTIVATIONS["compiled"][1] * (32 - 16)
    )
    with pytest.raises(UserError, match=r"has other dimensions than lm\.head_dim: 4 \(there 8\)"):
        with_init_dimensions(warm.model_copy(update={"head_dim": 4}))
    assert checked({"lm": {"architecture": name, "init": str(tmp_path / "text")}}, tmp_path).lm.head_dim == 8


def test_heads_of_the_usual_width_are_not_named(tmp_path: Path) -> None:
    build_model(LM(**SIZE), META, 0).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["head_dim"] == 4
    assert with_init_dimensions(LM(init=str(tmp_path))).head_dim is None
    with pytest.raises(ValueError, match="head_dim is 5; rotary positions need an even number"):
        LM(**SIZE | {"head_dim": 5})


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_it_trains_on_a_rung_and_is_scored_with_its_layers(rung: Path, tmp_path: Path, name: str) -> None:
    settings, out = LM(architecture=name, **SIZE, **RUN), tmp_path / "seed0"
    summary = train_lm(rung, out, 0, settings)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.config.model_type == name and model.num_parameters() == summary["parameters"]

    rng, items, tokens = np.random.default_rng(7), tmp_path / "items.parquet", tmp_path / "tokens.parquet"
    sequences = {f"p{i}": toy_document(rng)[:-1] for i in range(4)}
    other = {"voice": "a", "correct": True, "type": "t", "split": "", "text": "x", "words": [], "phones": []}
    other |= {"seconds": 1.0, "audio": b"\0"}
    write_table(items, [{"item": n, "id": n} | other for n in sequences], ITEMS)
    write_table(tokens, [{"item": n, "tokens": ids} for n, ids in sequences.items()], ITEM_TOKENS)
    score_rung([out], [items], [tokens], [tmp_path / "swuggy.parquet"], tmp_path / "learning.parquet", Scores())
    for row in read_table(tmp_path / "swuggy.parquet", SCORES).to_pylist():
        ids = torch.tensor([sequences[row["item"]]])
        want = layer_nll(model, ids)
        assert row["nll"] == pytest.approx(want[-1], rel=1e-4)
        assert row["layer_nll"] == pytest.approx(want, rel=1e-4)
        assert len(want) == SIZE["layers"] + 1


@torch.no_grad()
def layer_nll(model: torch.nn.Module, ids: torch.Tensor) -> list[float]:
    """The embeddings and the output of each layer, caught by hooks, through final norm and head."""
    parts, caught = parts_of(model), []
    hooks = [parts.layers[0].register_forward_pre_hook(lambda module, given: caught.append(given[0]))]
    for layer in parts.layers:
        hooks.append(
            layer.register_forward_hook(lambda m, given, out: caught.append(out if torch.is_tensor(out) else out[0]))
        )
    model(input_ids=ids)
    for hook in hooks:
        hook.remove()
    logits = [parts.head(parts.norm(states[0, :-1])) for states in caught]
    return [F.cross_entropy(one, ids[0, 1:], reduction="sum").item() for one in logits]


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_recomputed_activations_give_the_same_weights(rung: Path, tmp_path: Path, name: str) -> None:
    for how in ("on", "off"):
        changes = {"max_steps": 3, "activation_checkpointing": how}
        train_lm(rung, tmp_path / how, 0, LM(architecture=name, **SIZE, **RUN | changes))
    on, off = ((tmp_path / how / "model.safetensors").read_bytes() for how in ("on", "off"))
    assert on == off


@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_documents_in_a_window_do_not_see_each_other(rung: Path, name: str) -> None:
    model = loud(name)
    batch = Batches(TokenData(rung, "train"), 0, window=300, batch_windows=1).at(0)
    inputs, _, positions, starts = map(torch.from_numpy, batch)
    with torch.no_grad():
        blocks = attention_blocks(starts, torch.float32)
        packed = model(input_ids=inputs, position_ids=positions, use_cache=False, blocks=blocks).logits[0]
        model.set_attn_implementation("eager")
        edges = [*sorted(set(batch.starts[0])), 300]
        for begin, end in pairwise(edges):
            alone = model(input_ids=inputs[:, begin:end], use_cache=False).logits[0]
            torch.testing.assert_close(packed[begin:end], alone, rtol=1e-4, atol=1e-4)
    assert len(edges) > 5


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_the_models_own_distribution(name: str) -> None:
    model = loud(name, seed=3)
    uniforms = np.random.default_rng(0).random((1, 2, 6))
    found = generate(model, [[1, 5, 9]], uniforms, 1.0, 1.0, 2)
    for (ids, _), numbers in zip(found[0], uniforms[0]):
        row = [1, 5, 9]
        for token, number in zip(ids, numbers):
            model.set_attn_implementation("eager")
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1]
            logits[[0, 1, 3]] = -torch.inf
            p, order = torch.softmax(logits, -1).sort(descending=True, stable=True)
            assert token == order[int(torch.searchsorted(p.cumsum(0), number, right=True))]
            row.append(token)


def test_likelihoods_do_not_depend_on_the_batch() -> None:
    """Padding and neighbours change a likelihood by rounding only, on any architecture."""
    rng = np.random.default_rng(0)
    sequences = [np.array(toy_document(rng), np.uint16) for _ in range(5)]
    for name in ("qwen3", "gpt2"):
        model = loud(name)
        together = sequence_nll(model, sequences, 10_000, layers=True)
        alone = np.concatenate([sequence_nll(model, [s], 1, layers=True) for s in sequences])
        np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_an_architecture_that_packed_attention_cannot_do_is_refused() -> None:
    model = loud("qwen3")
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 8
    with pytest.raises(UserError, match="sliding_window"):
        model(input_ids=torch.tensor([[1, 4, 5]]), use_cache=False)


def test_an_unknown_architecture_is_an_error_with_the_nearest_name(root: Path) -> None:
    with pytest.raises(UserError, match=r"lm\.architecture: 'lama' is not allowed; did you mean 'llama'\?"):
        checked({"lm": {"architecture": "lama"}}, root)
    with pytest.raises(
        UserError, match=r"scaling\.sizes\.q\.architecture: 'qwen' is not allowed; did you mean 'qwen3'"
    ):
        checked({"scaling": {"sizes": [{"name": "q", "architecture": "qwen"}]}}, root)
    with pytest.raises(ValueError, match="registered already"):
        register(GPT2())


def test_a_warm_start_is_of_the_same_architecture(rung: Path, tmp_path: Path) -> None:
    for name in ("gpt2", "qwen3"):
        source = loud(name, seed=5)
        source.save_pretrained(tmp_path / name)
        settings = LM(architecture=name, init=str(tmp_path / name), window=48)
        own = build_model(settings, META, 0).state_dict()
        fresh = {"transformer.wte.weight", "model.embed_tokens.weight", "lm_head.weight"}
        assert all(torch.equal(value, own[key]) for key, value in source.state_dict().items() if key not in fresh)
    with pytest.raises(UserError, match=r"is qwen3 \(Qwen3ForCausalLM\); lm\.architecture is llama"):
        build_model(LM(init=str(tmp_path / "qwen3")), META, 0)
