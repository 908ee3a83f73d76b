"""Warm start from a text LM: its blocks, the vocabulary of the rung, and the models that are refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_rung import VOCAB, write_rung
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from speechladder.io.errors import UserError
from speechladder.lm import warm_start
from speechladder.lm.model import build_model
from speechladder.lm.output import with_rope_fields
from speechladder.lm.train import train_lm
from speechladder.settings import LM, load
from speechladder.workflow.config import checked

META = {"vocab_size": VOCAB, "pad_id": 0, "bos_id": 1, "eos_id": 2}
RUN = {"window": 48, "batch_windows": 2, "max_steps": 4, "valid_every": 2, "warmup_steps": 1, "learning_points": 0}


@pytest.fixture(scope="module")
def text_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random text LM with tied embeddings and another rotary base."""
    folder = tmp_path_factory.mktemp("text") / "lm"
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=99, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, rope_theta=5e5, rms_norm_eps=1e-6, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def test_the_body_is_taken_and_the_embeddings_are_drawn(text_lm: Path) -> None:
    model, source = build_model(LM(init=str(text_lm)), META, seed=0), load_file(text_lm / "model.safetensors")
    own = model.state_dict()
    body = [name for name in own if name not in ("model.embed_tokens.weight", "lm_head.weight")]
    assert body and all(torch.equal(own[name], source[name].float()) for name in body)
    assert own["model.embed_tokens.weight"].shape == own["lm_head.weight"].shape == (VOCAB, 16)
    assert not torch.equal(own["model.embed_tokens.weight"], own["lm_head.weight"])
    other = build_model(LM(init=str(text_lm)), META, seed=1).state_dict()
    assert not torch.equal(own["lm_head.weight"], other["lm_head.weight"])
    assert model.config.rms_norm_eps == 1e-6
    theirs = AutoModelForCausalLM.from_pretrained(text_lm).model.rotary_emb.inv_freq
    assert torch.equal(model.model.rotary_emb.inv_freq, theirs)


def test_a_warm_started_training_writes_a_plain_llama(text_lm: Path, tmp_path: Path) -> None:
    rung = write_rung(tmp_path / "toy")
    summary = train_lm(rung, tmp_path / "seed0", 0, LM(init=str(text_lm), **RUN))
    assert summary["init"] == str(text_lm)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "seed0")
    assert isinstance(found, LlamaForCausalLM) and found.config.num_hidden_layers == 2
    assert "trained from the text LM" in (tmp_path / "seed0" / "README.md").read_text()
    written = json.loads((tmp_path / "seed0" / "config.json").read_text())
    assert (written["rope_theta"], written["rope_scaling"]) == (5e5, None)  # what older tools read
    assert found.config.rope_parameters == {"rope_theta": 5e5, "rope_type": "default"}
    again = build_model(LM(init=str(tmp_path / "seed0")), META, seed=0)
    assert again.config.rope_parameters == found.config.rope_parameters


@pytest.mark.parametrize(
    ("rope", "scaling"),
    [
        ({"rope_theta": 5e5, "rope_type": "default"}, None),
        ({"rope_theta": 5e5}, None),
        ({"rope_theta": 1e6, "rope_type": "linear", "factor": 2.0}, {"rope_type": "linear", "factor": 2.0}),
    ],
)
def test_older_tools_read_the_same_rotary_positions(rope: dict, scaling: dict | None) -> None:
    found = with_rope_fields({"rope_parameters": rope, "vocab_size": 9})
    assert found == {
        "rope_parameters": rope,
        "vocab_size": 9,
        "rope_theta": rope["rope_theta"],
        "rope_scaling": scaling,
    }
    config = LlamaConfig(**found)  # transformers 5 reads all three as it reads rope_parameters alone
    assert config.rope_parameters == {"rope_type": "default"} | rope


@pytest.mark.parametrize("config", [{}, {"rope_parameters": None}, {"rope_parameters": {"full": {"rope_theta": 1.0}}}])
def test_other_positions_stay_as_they_are(config: dict) -> None:
    assert with_rope_fields(config) == config


def test_other_weights_are_not_resumed(text_lm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rung, source = write_rung(tmp_path / "toy"), tmp_path / "lm"
    shutil.copytree(text_lm, source)
    settings = LM(init=str(source), checkpoint_every=2, **RUN)
    with monkeypatch.context() as patch:
        patch.setattr("speechladder.lm.train.write_output", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_lm(rung, tmp_path / "seed0", 0, settings)
    model = LlamaForCausalLM.from_pretrained(source)
    with torch.no_grad():
        model.model.norm.weight += 1
    model.save_pretrained(source)
    with pytest.raises(UserError, match=r"lm\.init was \w{64}, is \w{64}\."):
        train_lm(rung, tmp_path / "seed0", 0, settings)
    train_lm(rung, tmp_path / "seed0", 0, settings.model_copy(update={"resume": "never"}))


def test_dimensions_are_those_of_the_text_lm(text_lm: Path) -> None:
    found = warm_start.with_init_dimensions(LM(init=str(text_lm)))
    assert (found.hidden_size, found.layers, found.heads, found.kv_heads, found.intermediate_size) == (16, 2, 4, 2, 24)
    with pytest.raises(UserError, match=r"lm\.init: .* has other dimensions than lm\.layers: 3 \(there 2\)"):
        warm_start.with_init_dimensions(LM(init=str(text_lm), layers=3))
    with pytest.raises(UserError, match=r"lm\.hidden_size: 512"):
        warm_start.with_init_dimensions(LM(init=str(text_lm), model="30m"))


def test_a_configuration_with_a_text_lm_is_checked_before_any_job(text_lm: Path, root: Path, tmp_path: Path) -> None:
    found = checked({"lm": {"init": str(text_lm)}}, root).lm
    assert (found.init, found.layers) == (str(text_lm), 2)
    assert checked(load({"lm": {"init": str(text_lm)}}).model_dump(), root).lm == found
    with pytest.raises(UserError, match=r"lm\.init: no such folder: nowhere"):
        checked({"lm": {"init": "nowhere"}}, root)
    with pytest.raises(UserError, match=r"lm\.init: .*config\.json"):
        checked({"lm": {"init": str(tmp_path)}}, root)


def test_other_models_are_refused(text_lm: Path, tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(UserError, match=r"is gpt2 \(GPT2LMHeadModel\).*name one"):
        warm_start.read_config(str(tmp_path / "gpt2"))
    config = json.loads((text_lm / "config.json").read_text())
    with pytest.raises(UserError, match=r"has attention_bias: True; name a plain Llama"):
        warm_start.check_init_config(config | {"attention_bias": True}, "x")
    shutil.copytree(text_lm, tmp_path / "bare")
    (tmp_path / "bare" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"lm\.init: .*holds no weights \(model\*\.safetensors\)"):
        build_model(LM(init=str(tmp_path / "bare")), META, 0)
    (tmp_path / "bare" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        build_model(LM(init=str(tmp_path / "bare")), META, 0)
