"""The judge: the run's own one is trained and resumed, any causal LM loads, continuations are scored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechladder.continuation.judge.checks import check_judge
from speechladder.continuation.judge.likelihood import Judge, load_judge, negative_log_likelihoods
from speechladder.continuation.judge.training import pack_judge_text, train_judge
from speechladder.io.errors import UserError
from speechladder.rungs.data import TokenData
from speechladder.settings import LM, Continuation, Tokens

WORDS = ["the", "farmer", "sees", "a", "cow", "and", "walks", "to", "barn", "by", "river"]
SIZE = {"hidden_size": 16, "layers": 1, "heads": 2, "kv_heads": 2, "intermediate_size": 32, "window": 32}
TINY = LM(**SIZE, batch_windows=2, warmup_steps=2, valid_every=5, checkpoint_every=5, max_steps=99, precision="fp32")
OPTIONS = Continuation(judge_steps=10)
TOKENS = Tokens(text_vocab=60)
PAIRS = [
    ("the farmer sees", "a cow"),
    ("the cow", "walks to the barn by the river"),
    ("", "the"),
    ("a", ""),
    ("a b", "c"),
]


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    lines = [" ".join(WORDS[(n * k + k) % len(WORDS)] for k in range(3 + n % 9)) for n in range(120)]
    (folder / "train.txt").write_text("\n".join(lines[20:]) + "\n")
    (folder / "valid.txt").write_text("\n".join(lines[:20]) + "\n\n")
    return folder


@pytest.fixture(scope="module")
def own(text, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("own") / "judge"
    train_judge(text, out, OPTIONS, TINY, TOKENS)
    return out


def _trained(style: str):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    alphabet = list("abcdefghijklmnopqrstuvwxyz ")
    if style == "metaspace":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS), " ".join(reversed(WORDS)), "the cow and the farmer"] * 3, trainer)
    return tokenizer


def save_llama(folder: Path, style: str) -> Path:
    """A random Llama with a tokenizer: BPE of SentencePiece's kind, of GPT-2's, or with pieces over words."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    if style == "over words":
        vocab = ["<unk>", "<s>", "</s>", *"abc ", "a ", "a b"]
        merges = [("a", " "), ("a ", "b")]
        tokenizer = Tokenizer(models.BPE(vocab={v: n for n, v in enumerate(vocab)}, merges=merges, unk_token="<unk>"))
    else:
        tokenizer = _trained(style)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(wrapped), **size, max_position_embeddings=64, initializer_range=0.5)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["metaspace", "bytes", "own"])
def judge(request, tmp_path_factory) -> Judge:
    if request.param == "own":
        return load_judge(request.getfixturevalue("own") / "model", own=True)
    return load_judge(save_llama(tmp_path_factory.mktemp(request.param), request.param))


def by_hand(judge: Judge, text: str | list[int]) -> float:
    """NLL in nats of a whole text (or its ids) after the start token, one position at a time."""
    ids = [judge.start, *(judge.tokenizer.encode(text, add_special_tokens=False) if isinstance(text, str) else text)]
    with torch.no_grad():
        logits = judge.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return -sum(float(logits[n, token]) for n, token in enumerate(ids[1:]))


def test_a_continuation_is_scored_given_its_prompt(judge):
    for prompt, continuation in (("the farmer sees", "a cow"), ("a", "river and the barn"), ("the", "q")):
        ((nats, tokens),) = negative_log_likelihoods(judge, [(prompt, continuation)])
        assert nats == pytest.approx(by_hand(judge, f"{prompt} {continuation}") - by_hand(judge, prompt), abs=1e-4)
        ((first, before), (both, total)) = negative_log_likelihoods(
            judge, [("", prompt), ("", f"{prompt} {continuation}")]
        )
        assert nats == pytest.approx(both - first, abs=1e-4) and tokens == total - before > 0


def test_the_batch_changes_nothing(judge):
    together = negative_log_likelihoods(judge, PAIRS)
    for pair, (nats, tokens) in zip(PAIRS, together):
        ((alone, count),) = negative_log_likelihoods(judge, [pair], batch_tokens=1)
        assert nats == pytest.approx(alone, abs=1e-4) and tokens == count
    assert np.allclose(together[::-1], negative_log_likelihoods(judge, PAIRS[::-1]), atol=1e-4)
    assert together[3] == (0.0, 0)  # an empty continuation


def test_without_logits_to_keep(judge, monkeypatch):
    before = negative_log_likelihoods(judge, PAIRS)
    forward = judge.model.forward
    monkeypatch.setattr(judge.model, "forward", lambda input_ids, attention_mask, use_cache: forward(input_ids))
    assert np.allclose(negative_log_likelihoods(judge, PAIRS), before, atol=1e-4)


def test_a_merged_token_is_the_continuations(tmp_path):
    judge = load_judge(save_llama(tmp_path, "over words"))
    ((ids, count),) = judge.encode("a", "b")
    assert len(ids) == 2 and count == 1
    ((ids, count),) = judge.encode("b", "c")
    assert len(ids) == 4 and count == 2  # without a merged token


def test_a_long_prompt_loses_its_beginning_and_a_long_continuation_is_read_in_parts(judge):
    short = Judge(judge.model, judge.tokenizer, judge.start, 8, "x")
    ((ids, count),) = short.encode("the farmer sees a cow by the river", "and walks")
    assert len(ids) == 8 and ids[0] == judge.start and 0 < count < 8
    assert ids[-count:] == judge.encode("the farmer sees a cow by the river", "and walks")[0][0][-count:]
    said = " ".join(WORDS)
    ((whole, count),) = judge.encode("a", said)
    parts = short.encode("a", said)
    assert [token for ids, n in parts for token in ids[-n:]] == whole[-count:] and len(parts) > 1
    assert all(ids[0] == short.start and n <= 4 and len(ids) <= 8 for ids, n in parts)
    assert all(len(ids) == 8 for ids, _ in parts[2:])  # after as much of the preceding text as fits
    done: list[float] = []
    (nats, tokens), _, (same, _) = negative_log_likelihoods(
        short, [("a", said), ("a", ""), ("a", said)], advance=done.append
    )
    by_parts = [by_hand(short, ids[1:]) - by_hand(short, ids[1 : len(ids) - n]) for ids, n in parts]
    assert tokens == count and nats == same == pytest.approx(sum(by_parts), abs=1e-4) and sum(done) == 1


def test_the_runs_judge_is_a_rung_and_a_model(own, text):
    data = TokenData(own / "tokens", "train")
    assert data.meta["rung"] == "judge" and len(data) == 100
    words = len((text / "train.txt").read_text().split())
    assert data.seconds.sum() == pytest.approx(words / 2.5)
    made = json.loads((own / "model" / "train.json").read_text())
    assert made["steps"] == 10 and not (own / "model" / "learning").exists()
    assert not own.with_name("judge.checkpoints").exists()
    ((good, _), (bad, _)) = negative_log_likelihoods(
        load_judge(own / "model", own=True), [("the", "cow and the"), ("the", "zxq jvw zq")]
    )
    assert good < bad  # it has learnt something about its letters


def test_a_judge_that_was_interrupted_goes_on_to_the_same_weights(own, text, tmp_path, monkeypatch):
    from speechladder.lm.step import TrainState

    class StopError(Exception):
        pass

    step, done = TrainState.train_step, []

    def until(state, data, lr):
        done.append(lr)
        if len(done) == 8:
            raise StopError
        return step(state, data, lr)

    monkeypatch.setattr(TrainState, "train_step", until)
    with pytest.raises(StopError):
        train_judge(text, tmp_path / "judge", OPTIONS, TINY, TOKENS)
    seen = []
    monkeypatch.setattr(TrainState, "train_step", lambda state, data, lr: seen.append(lr) or step(state, data, lr))
    train_judge(text, tmp_path / "judge", OPTIONS, TINY, TOKENS)
    assert len(seen) == 5 and seen[:3] == done[5:]  # from the checkpoint of step 5 on
    weights = "model/model.safetensors"
    assert (tmp_path / "judge" / weights).read_bytes() == (own / weights).read_bytes()


@pytest.mark.parametrize(("asr", "offline"), [("pocketsphinx", "1"), ("whisper", None)])
def test_threads_and_the_hub_are_decided_before_torch_is_imported(tmp_path, asr, offline):
    code = (
        "import os, sys; from pathlib import Path; from speechladder.continuation.judge import training\n"
        "from speechladder.settings import LM, Continuation, Tokens\n"
        "print('torch' in sys.modules)\n"
        "training.load_normaliser = lambda continuation: 1 / 0\n"
        f"given = Path('text'), Path('out'), Continuation(asr={asr!r}), LM(threads=2), Tokens()\n"
        "try: training.train_judge(*given)\n"
        "except ZeroDivisionError: print(os.environ['OMP_NUM_THREADS'], os.environ.get('HF_HUB_OFFLINE'))\n"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.stdout == f"False\n2 {offline}\n", done.stderr


def test_missing_or_empty_text(text, tmp_path):
    with pytest.raises(UserError, match=r"train.txt: no such file"):
        pack_judge_text(tmp_path, tmp_path / "tokens", TOKENS)
    (tmp_path / "train.txt").write_text("\n \n")
    with pytest.raises(UserError, match=r"train.txt: no documents"):
        pack_judge_text(tmp_path, tmp_path / "tokens", TOKENS)


def test_digits_and_signs_are_spelt_for_the_judge(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / f"{split}.txt").write_text("The 12 cows -- don't eat.\nthe cow\n")
    pack_judge_text(tmp_path, tmp_path / "tokens", TOKENS, lambda text: text.replace("don't", "do not"))
    data = TokenData(tmp_path / "tokens", "valid")
    assert data.seconds.tolist() == [6 / 2.5, 2 / 2.5]  # the twelve cows do not eat
    assert 3 not in data.tokens


def hf(name: object) -> Continuation:
    return Continuation(judge="hf", judge_model=str(name))


def test_check_names_the_field_and_the_fix(tmp_path, monkeypatch):
    folder = save_llama(tmp_path / "llama", "bytes")
    check_judge(hf(folder))
    check_judge(Continuation(judge="run", judge_model="not there"))
    with pytest.raises(UserError, match=r"continuation.judge_model: no such folder: /no/where; name a folder, or"):
        check_judge(hf("/no/where"))
    with pytest.raises(UserError, match=r"continuation.judge_model: .*config.json is a file"):
        check_judge(hf(folder / "config.json"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"continuation.judge_model: .* holds no tokenizer"):
        check_judge(hf(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"continuation.judge_model: .* holds no weights"):
        check_judge(hf(folder))
    (folder / "model.safetensors").touch()
    (folder / "config.json").write_text('{"architectures": ["BertForMaskedLM"], "model_type": "bert"}')
    with pytest.raises(UserError, match=r"BertForMaskedLM, which does not read left to right"):
        check_judge(hf(folder))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"continuation.judge_model: .* has no config.json"):
        check_judge(hf(folder))


@pytest.fixture
def no_pauses(monkeypatch):
    """Without a network the hub's client waits 23 s in total between its tries; do not wait."""
    import huggingface_hub.utils._http as http

    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)


@pytest.mark.usefixtures("no_pauses")
def test_a_gated_model_without_a_token(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    class RefusedError(GatedRepoError):
        def __init__(self):
            Exception.__init__(self, "gated")

    def refuse(name):
        raise RefusedError

    monkeypatch.setattr(huggingface_hub, "auth_check", refuse)
    with pytest.raises(UserError, match=r"continuation.judge_model: owner/gated is gated: .* HF_TOKEN"):
        load_judge("owner/gated")


@pytest.mark.usefixtures("no_pauses")
def test_a_model_that_cannot_be_loaded_is_a_user_error(tmp_path):
    folder = save_llama(tmp_path / "llama", "bytes")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"continuation.judge_model: .*tokenizer"):
        load_judge(folder)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"continuation.judge_model: .* could not be loaded"):
        load_judge(folder)
    with pytest.raises(UserError, match=r"continuation.judge_model: owner/absent is not in the cache"):
        load_judge("owner/absent")


def test_the_check_is_light():
    code = (
        "from speechladder.continuation.judge.checks import check_judge\n"
        "from speechladder.settings import Continuation\n"
        "check_judge(Continuation(judge='hf', judge_model='.'))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys\ntry:\n    exec({code!r})\nexcept Exception as e: print(type(e).__name__)\n"
            "print([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.stdout.split("\n")[:2] == ["UserError", "[]"], done.stderr
