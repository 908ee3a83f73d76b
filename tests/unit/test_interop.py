"""A trained folder works with other tools as any Llama does: transformers, lm-evaluation-harness, servers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from toy_rung import write_rung
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from speechladder.io.files import read_json, write_json
from speechladder.lm.likelihood import sequence_nll
from speechladder.lm.model import load_model
from speechladder.lm.output import model_card
from speechladder.lm.train import train_lm
from speechladder.rungs import registry, tokenizers
from speechladder.settings import LM, Tokens

PHONES = "HH AH SIL L OW"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model trained for two steps, with the tokenizer of phone-raw."""
    root = tmp_path_factory.mktemp("interop")
    tokens, rung = write_rung(root / "tokens"), registry.get("phone-raw")
    shutil.rmtree(tokens / "tokenizer")
    alphabet = rung.alphabet(Tokens(), 0)
    tokenizers.build(rung, alphabet, Tokens(), [], tokens / "tokenizer")
    size = tokenizers.Codec(tokens / "tokenizer").vocab_size
    write_json(tokens / "meta.json", read_json(tokens / "meta.json") | {"rung": "phone-raw", "vocab_size": size})
    settings = LM(hidden_size=16, layers=2, heads=2, kv_heads=1, intermediate_size=32, window=64, batch_windows=2)
    short = settings.model_copy(update={"max_steps": 2})
    train_lm(tokens, root / "lm" / "phone-raw" / "seed0", 0, short, corpus="librispeech")
    return root / "lm" / "phone-raw" / "seed0"


def ids_of(text: str, folder: Path) -> np.ndarray:
    """`<s>` and the tokens of a text, as benchmark items are."""
    (ids,) = tokenizers.Codec(folder).encode([text.split()])
    return np.array([tokenizers.BOS, *ids], np.uint16)


def test_transformers_loads_it_without_code_of_this_project(folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config._attn_implementation != "packed"  # it is set where it is used, and not saved
    ids = tokenizer(PHONES, return_tensors="pt").input_ids
    assert ids[0].tolist() == ids_of(PHONES, folder).tolist()  # with <s>, as in training
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == PHONES
    with torch.no_grad():
        logits = model(ids).logits.double()
    nll = -torch.log_softmax(logits[0, :-1], -1).gather(1, ids[0, 1:, None]).sum().item()
    assert nll == pytest.approx(sequence_nll(load_model(folder), [ids_of(PHONES, folder)], 64)[0, 0], rel=1e-5)
    out = model.generate(ids, max_new_tokens=5, do_sample=False)
    assert out.shape[1] <= ids.shape[1] + 5


def test_the_card_says_what_the_hub_asks_for_and_the_tokenizer_its_window(folder):
    from huggingface_hub import ModelCard

    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.language, data.datasets) == ("apache-2.0", "en", ["openslr/librispeech_asr"])
    assert (data.library_name, data.pipeline_tag, data.base_model) == ("transformers", "text-generation", None)
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 64


@pytest.mark.parametrize(
    ("init", "corpus", "license", "datasets", "base", "sentence"),
    [
        (None, "world", "apache-2.0", [], None, "The speech is generated"),
        (None, "local", "unknown", [], None, "The speech is the user's own"),
        (
            None,
            "librispeech-synthesized",
            "apache-2.0",
            ["openslr/librispeech_asr"],
            None,
            "speech is that of espeak-ng",
        ),
        ("OWNER/NAME", "libriheavy", "unknown", ["pkufool/libriheavy"], "OWNER/NAME", "from the text LM OWNER/NAME"),
        (None, "", "unknown", [], None, "## Data\n60 training utterances"),
    ],
)
def test_a_card_follows_the_corpus_and_the_start(folder, init, corpus, license, datasets, base, sentence):
    from huggingface_hub import ModelCard

    meta = {"bos_id": 1, "utterances": {"train": 60, "valid": 12}, "seconds": {"train": 1.0, "valid": 1.0}}
    summary = read_json(folder / "train.json") | {"init": init}
    card = model_card(summary, LM(init=init), meta | {"tokens": {"train": 9}}, corpus)
    data = ModelCard(card).data
    assert (data.license, data.datasets, data.base_model) == (license, datasets, base)
    assert sentence in card and "snakemake" not in card and "Optimiser: Muon (the matrices" in card


def test_a_server_finds_what_it_needs(folder):
    """vLLM, SGLang and TGI read a known architecture without code, safetensors, and a fast tokenizer."""
    config, generation = json.loads((folder / "config.json").read_text()), read_json(folder / "generation_config.json")
    assert (config["architectures"], config["model_type"]) == (["LlamaForCausalLM"], "llama")
    assert not {"auto_map", "quantization_config"} & set(config)
    assert config["max_position_embeddings"] >= config["train_window"]
    # a server with an older transformers does not know rope_parameters, and assumes this by default
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 10000.0}
    assert config["num_attention_heads"] % config["num_key_value_heads"] == 0
    for part in (config, generation):
        assert [part[f"{name}_token_id"] for name in ("pad", "bos", "eos")] == [0, 1, 2]
    assert not [path for path in folder.rglob("*") if path.suffix in (".py", ".bin", ".pt", ".pkl")]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.is_fast and len(tokenizer) == config["vocab_size"]
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert read_json(folder / "tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_weights_are_those_that_the_architecture_names(folder):
    expected = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).state_dict()
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert (file.metadata() or {}).get("format") == "pt"
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert found == {name: tuple(value.shape) for name, value in expected.items()}


def test_lm_evaluation_harness_gives_our_likelihoods(folder):
    pytest.importorskip("lm_eval")
    pytest.importorskip("accelerate")  # part of lm-eval's extra 'hf'
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    texts = [PHONES, "AH L", "OW L SIL HH AH L OW L L AH"]
    harness = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=2)

    def asked(kind, pairs):
        return [Instance(kind, {}, pair, n) for n, pair in enumerate(pairs)]

    ours = -sequence_nll(load_model(folder), [ids_of(text, folder) for text in texts], 64)[:, 0]
    found = harness.loglikelihood(asked("loglikelihood", [("", text) for text in texts]))
    assert [value for value, _ in found] == pytest.approx(ours, rel=1e-5)
    begun = [" ".join(text.split()[:1]) for text in texts]
    rest = [" " + " ".join(text.split()[1:]) for text in texts]
    context = -sequence_nll(load_model(folder), [ids_of(text, folder) for text in begun], 64)[:, 0]
    found = harness.loglikelihood(asked("loglikelihood", list(zip(begun, rest))))
    assert [value for value, _ in found] == pytest.approx(ours - context, rel=1e-5)
