"""Generation: each row against its own full forward pass, whatever the batch; the nucleus; prompts on every rung."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from speechladder.continuation.decoding import NEVER, generate, sample
from speechladder.continuation.generate import continue_rung, new_tokens, uniforms
from speechladder.continuation.perplexity import BABBLE
from speechladder.io.audio import encode_flac, frame_count
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import CONTINUATIONS, PROMPTS, TOKEN_INDEX, UNITS, read_table, write_table
from speechladder.lm.model import build_model
from speechladder.rungs import registry, tokenizers
from speechladder.rungs.registry import SPACE
from speechladder.rungs.tokenizers import BOS, EOS, Codec
from speechladder.settings import LM, Continuation, Tokens

VOCAB = 30
RUNGS = ("text-bpe", "text-raw", "phone-bpe", "phone-raw", "phone-repeat", "speech-hubert", "speech-hubert-dedup")
RATES = {"text-bpe": 4.0, "text-raw": 12.3, "phone-bpe": 4.1, "phone-raw": 9.9, "speech-hubert-dedup": 25.0}
SEED = 3


def model(window: int = 64, vocab: int = VOCAB) -> LlamaForCausalLM:
    """A Llama with grouped heads and large attention weights: fresh ones would give nearly the same everywhere."""
    size = LM(hidden_size=16, layers=2, heads=4, kv_heads=2, intermediate_size=24, window=window)
    made = build_model(size, {"vocab_size": vocab, "pad_id": 0, "bos_id": 1, "eos_id": 2}, seed=1)
    with torch.no_grad():
        for weights in made.parameters():
            if weights.dim() == 2:
                weights.mul_(20)
    return made.eval()


def drawn(logits: np.ndarray, number: float, temperature: float, top_p: float) -> int:
    """The nucleus' inverse distribution function, one id at a time."""
    p = np.exp((logits - logits.max()) / temperature)
    p[NEVER] = 0
    p /= p.sum()
    nucleus, together = [], 0.0
    for i in sorted(range(len(p)), key=lambda i: (-p[i], i)):
        if together >= top_p or p[i] == 0:
            break
        nucleus.append(i)
        together += p[i]
    for i in nucleus:
        number -= p[i] / together
        if number < 0:
            return i
    return nucleus[-1]


def one_by_one(lm: LlamaForCausalLM, prompt: list[int], numbers: np.ndarray, t: float, top_p: float, window: int):
    """A continuation by whole forward passes of transformers' own attention, without cache, batch or padding."""
    lm.double().set_attn_implementation("eager")
    ids = list(prompt)
    for number in numbers:
        order = torch.arange(len(ids))
        seen = (order <= order[:, None]) & (order > order[:, None] - window)
        mask = torch.zeros(seen.shape, dtype=torch.float64).masked_fill(~seen, -torch.inf)
        with torch.no_grad():
            logits = lm(torch.tensor([ids]), attention_mask=mask[None, None]).logits[0, -1]
        ids.append(drawn(logits.numpy(), number, t, top_p))
        if ids[-1] == EOS:
            return ids[len(prompt) : -1], True
    return ids[len(prompt) :], False


def some_prompts(count: int, longest: int = 20) -> list[list[int]]:
    rng = np.random.default_rng(5)
    return [[BOS, *rng.integers(4, VOCAB, int(n)).tolist()] for n in rng.integers(0, longest, count)]


@pytest.mark.parametrize("window", [64, 8])  # longer and shorter than prompts of up to 20 tokens and 12 new ones
def test_each_row_is_its_own_full_forward_pass(window: int) -> None:
    prompts, numbers = some_prompts(5), np.random.default_rng(6).random((5, 2, 12))
    lm = model(window)
    found = generate(lm, prompts, numbers, 0.8, 0.9, batch=64)
    for prompt, streams, samples in zip(prompts, numbers, found):
        assert samples == [one_by_one(lm, prompt, stream, 0.8, 0.9, window) for stream in streams]
    assert len({tuple(ids) for samples in found for ids, _ in samples}) == 10
    assert {ended for samples in found for _, ended in samples} == {True, False}


def test_the_batch_never_changes_a_token() -> None:
    prompts, numbers = some_prompts(22, 40), np.random.default_rng(7).random((22, 3, 30))
    lm = model()
    first, *others = (generate(lm, prompts, numbers, 1.0, 0.9, batch) for batch in (64, 1, 2, 3, 7))
    assert all(other == first for other in others)
    assert lm.dtype == torch.float64  # too few tokens to show the effect of fp32
    assert generate(model(), prompts[4:6], numbers[4:6, 1:2], 1.0, 0.9, 9) == [[first[4][1]], [first[5][1]]]


def test_each_continuation_has_its_stream_and_a_shorter_one_begins_a_longer() -> None:
    assert (uniforms(0, "p", 1, 2, 9)[:4] == uniforms(0, "p", 1, 2, 4)).all()
    names = [(0, "p", 1, 2), (1, "p", 1, 2), (0, "q", 1, 2), (0, "p", 0, 2), (0, "p", 1, 0)]
    assert len({uniforms(*name, 1)[0] for name in names}) == 5


def test_sampling_is_the_nucleus() -> None:
    rng = np.random.default_rng(8)
    logits, numbers = rng.normal(0, 2, (300, VOCAB)), rng.random(300)
    logits[:, NEVER] = 9.0
    for temperature, top_p in ((1.0, 0.9), (0.5, 0.9), (2.0, 1.0), (1.0, 1e-9)):
        got = sample(torch.tensor(logits), torch.tensor(numbers), temperature, top_p).tolist()
        assert got == [drawn(row, u, temperature, top_p) for row, u in zip(logits, numbers)]
        assert not {*got} & {*NEVER}
    p = torch.tensor([0, 0, 0.2, 0, 0.4, 0.3, 0.1]).log()[None].repeat(2000, 1)
    even = torch.arange(0.5, 2000, dtype=torch.float64) / 2000
    assert torch.bincount(sample(p, even, 1.0, 0.65)).tolist() == [0, 0, 0, 0, 1143, 857]  # 4/7, 3/7
    assert torch.bincount(sample(p, even, 1.0, 1.0)).tolist() == [0, 0, 400, 0, 800, 600, 200]
    last = torch.full((1,), 1 - 2**-53, dtype=torch.float64)
    assert sample(p[:1], last, 1.0, 1.0).tolist() == [6]  # never an id without probability


def test_tokens_after_the_end_are_left_out() -> None:
    lm = model()
    torch.nn.init.zeros_(lm.lm_head.weight)  # all ids are equally likely, so the stream determines the id
    at = (0.5 + np.arange(VOCAB)) / (VOCAB - len(NEVER))  # order: </s>, 4, 5, ...
    numbers = np.array([[[at[1], at[0], at[3]], [at[2], at[3], at[4]]]])
    told: list[float] = []
    found = generate(lm, [[BOS]], numbers, 1.0, 1.0, 2, told.append)
    assert found == [[([4], True), ([5, 6, 7], False)]]
    assert told == [2, 2, 1]
    told.clear()
    assert generate(lm, [[BOS]], numbers[:, :1], 1.0, 1.0, 2, told.append) == [[([4], True)]]
    assert told == [1, 1]  # all ended: no more steps


# The words of a prompt and of its continuation, with phones of 0.1 s; SIL is a pause.
SPOKEN = [("the", "DH AH"), ("cat", "K AE T"), (None, "SIL"), ("sat", "S AE T"), (None, "SIL"), ("there", "DH EH R")]


def spoken(words: list[tuple[str | None, str]]) -> dict[str, object]:
    """Columns of a PROMPTS row."""
    phones, spans, at = [], [], 0.0
    for word, said in words:
        begin = at
        for phone in said.split():
            phones.append({"label": phone, "start": at, "end": at + 0.1})
            at += 0.1
        spans += [{"label": word, "start": begin, "end": at}] if word else []
    text = " ".join(word for word, _ in words if word)
    audio = encode_flac(np.zeros(round(at * 16000), np.float32))
    return {"text": text, "words": spans, "phones": phones, "seconds": at, "audio": audio}


class Run:
    """Prompts `a` (cut after a pause) and `b` (cut before one), and a model of each wanted rung."""

    def __init__(self, root: Path, cuts: dict[str, int] | None = None, **tokens: object) -> None:
        self.root, self.options = root, Tokens(text_vocab=60, phone_vocab=60, **tokens)
        rows, units, self.units = [], [], {}
        for name, cut in (cuts or {"a": 3, "b": 2}).items():
            for part, words in (("prompt", SPOKEN[:cut]), ("whole", SPOKEN)):
                row = {"item": f"{name}|{part}", "id": name, "part": part, "voice": "v"} | spoken(words)
                frames = frame_count(round(row["seconds"] * 16000))
                # near the cut the encoder's input differs, so the prompt's last frames differ from the whole's
                numbers = [i // 4 + (part == "prompt" and i > frames - 3) for i in range(frames)]
                rows.append(row)
                units.append({"id": row["item"], "units": numbers})
                self.units[name, part] = numbers
        write_table(root / "prompts.parquet", rows, PROMPTS)
        write_table(root / "units.parquet", units, UNITS)

    def tokens(self, name: str) -> Path:
        folder, rung = self.root / "tokens" / name, registry.get(name)
        symbols = [p for _, said in SPOKEN for p in said.split()] if name.startswith("phone") else list("the\u2581cat")
        tokenizers.build(rung, rung.alphabet(self.options, 30), self.options, [symbols] * 9, folder / "tokenizer")
        settings = {"tokens": self.options.model_dump(mode="json"), "clusters": 30}
        write_json(
            folder / "meta.json", {"rung": name, "tokens_per_second": RATES.get(name, 49.7), "settings": settings}
        )
        return folder

    def model(self, name: str, seed: int, vocab: int) -> Path:
        folder = self.root / "lm" / name / f"seed{seed}"
        model(vocab=vocab).save_pretrained(folder)
        write_json(folder / "train.json", {"rung": name, "seed": seed})
        return folder

    def go_on(self, name: str, **settings: object) -> list[dict]:
        tokens = self.tokens(name)
        models = [self.model(name, seed, Codec(tokens / "tokenizer").vocab_size) for seed in (0, 4)]
        out = self.root / "out.parquet"
        asked = Continuation(**{"seconds": 0.6, "samples": 2, "babble": 0} | settings)
        continue_rung(models, tokens, self.root / "prompts.parquet", out, asked, self.root / "units.parquet", SEED)
        return read_table(out, CONTINUATIONS).to_pylist()


@pytest.mark.parametrize("name", RUNGS)
def test_every_rung_continues(tmp_path: Path, name: str) -> None:
    run = Run(tmp_path)
    rows = run.go_on(name)
    keys = [(row["id"], row["seed"], row["sample"]) for row in rows]
    said = [(i, seed, k) for seed in (0, 4) for i in "ab" for k in (0, 1)]
    assert keys == [("a", -1, -1), ("b", -1, -1), *said]
    codec = Codec(tmp_path / "tokens" / name / "tokenizer")
    frames = {i: len(run.units[i, "prompt"]) for i in "ab"}
    after = {i: run.units[i, "whole"][frames[i] :] for i in "ab"}
    # runs of units begin where the unit changes, also at the cut
    runs = {
        i: [f"u{u}" for last, u in zip([run.units[i, "prompt"][-1], *after[i]], after[i]) if u != last] for i in "ab"
    }
    phones = ["S", "AE", "T", "SIL", "DH", "EH", "R"]
    labels = [p["label"] for p in spoken(SPOKEN)["phones"] for _ in range(5)]
    true = {
        "text": {"a": list("\u2581sat\u2581#\u2581there"), "b": list("\u2581#\u2581sat\u2581#\u2581there")}
        if name == "text-bpe"
        else {"a": list("sat#there"), "b": list("#sat#there")},
        "phones": {"a": phones, "b": ["SIL", *phones]},
        "phone-frames": {i: labels[frames[i] : len(run.units[i, "whole"])] for i in "ab"},
        "units": {i: [f"u{u}" for u in after[i]] for i in "ab"},
        "unit-runs": runs,
    }[registry.get(name).transcribed_as]
    assert {row["id"]: row["symbols"] for row in rows[:2]} == true
    count = new_tokens(0.6, registry.get(name), RATES.get(name, 49.7))
    counts = {"text-bpe": 2, "phone-bpe": 2, "text-raw": 7, "phone-raw": 6, "speech-hubert-dedup": 15}
    assert count == counts.get(name, 30)
    for row in rows[2:]:
        assert len(row["tokens"]) == count or (row["ended"] and len(row["tokens"]) < count)
        assert min(row["tokens"], default=4) > 3
        plain = [s for i in row["tokens"] for s in codec._pieces[i]]
        assert row["symbols"] == plain  # with the space before a new word
    assert rows == run.go_on(name, batch=3)
    assert not any(row["ended"] for row in rows[:2])


@pytest.mark.parametrize("name", ["text-bpe", "phone-raw", "speech-hubert"])
def test_a_bigram_model_babbles_after_the_first_prompts(tmp_path: Path, name: str) -> None:
    run = Run(tmp_path)
    models = run.go_on(name)
    tokens = tmp_path / "tokens" / name
    ids = np.tile([BOS, 5, 4, 5, 4, EOS], 8).astype(np.uint16)  # after 4 comes 5 or the end, after 5 always 4
    ids.tofile(tokens / "train.bin")
    index = [{"id": str(n), "offset": 6 * n, "length": 6, "seconds": 1.0} for n in range(8)]
    write_table(tokens / "train.parquet", index, TOKEN_INDEX)
    *others, babble = run.go_on(name, babble=1)
    assert others == models  # the models' own continuations stay what they are
    assert (babble["id"], babble["seed"], babble["sample"], babble["ended"]) == ("a", BABBLE, 0, False)
    assert len(babble["tokens"]) == new_tokens(0.6, registry.get(name), RATES.get(name, 49.7))
    assert {*zip(babble["tokens"], babble["tokens"][1:])} <= {(4, 5), (5, 4)}
    codec = Codec(tokens / "tokenizer")
    assert babble["symbols"] == [s for i in babble["tokens"] for s in codec._pieces[i]]
    assert [row["id"] for row in run.go_on(name, babble=9) if row["seed"] == BABBLE] == ["a", "b"]


@pytest.mark.parametrize("name", RUNGS)
def test_decode_is_the_inverse_of_encode(tmp_path: Path, name: str) -> None:
    codec, rng = Codec(Run(tmp_path).tokens(name) / "tokenizer"), np.random.default_rng(9)
    known = [s for s in codec.symbols if s != SPACE]
    lines = [rng.choice(known, int(n)).tolist() for n in rng.integers(0, 30, 50)]
    if name.startswith("text"):
        lines += [list("the\u2581cat\u2581sat"), list("tt\u2581he")]
    for line, ids in zip(lines, codec.encode(lines), strict=True):
        assert codec.decode([BOS, *ids, EOS]) == line


def test_a_pause_at_the_cut_is_before_the_boundary(tmp_path: Path) -> None:
    rows = Run(tmp_path, word_boundary=True).go_on("phone-raw")
    true = ["|", "SIL", "S", "AE", "T", "|", "SIL", "DH", "EH", "R"]
    assert [row["symbols"] for row in rows[:2]] == [true, true]  # cut after the pause or before: the same


def test_a_model_of_another_rung_and_broken_prompts_are_named(tmp_path: Path) -> None:
    run = Run(tmp_path)
    tokens, out = run.tokens("text-raw"), tmp_path / "out.parquet"
    good = run.model("text-raw", 0, Codec(tokens / "tokenizer").vocab_size)

    def go(folder: Path, prompts: Path) -> None:
        continue_rung([folder], tokens, prompts, out, Continuation(seconds=0.5, samples=1, babble=0), None, SEED)

    go(good, tmp_path / "prompts.parquet")
    with pytest.raises(UserError, match=r"seed1: a model of rung phone-raw with 32 ids"):
        go(run.model("phone-raw", 1, 32), tmp_path / "prompts.parquet")
    with pytest.raises(UserError, match=r"seed2: a model of rung text-raw with 9 ids"):
        go(run.model("text-raw", 2, 9), tmp_path / "prompts.parquet")
    rows = read_table(tmp_path / "prompts.parquet", PROMPTS).to_pylist()
    write_table(tmp_path / "half.parquet", rows[:3], PROMPTS)
    with pytest.raises(UserError, match=r"half.parquet: prompt 'b' has the parts \['prompt'\]"):
        go(good, tmp_path / "half.parquet")
    write_table(tmp_path / "other.parquet", [rows[0] | {"text": "the dog"}, rows[1]], PROMPTS)
    with pytest.raises(UserError, match="'a' on rung text-raw: the prompt is not the beginning"):
        go(good, tmp_path / "other.parquet")
    write_table(tmp_path / "odd.parquet", [r | {"text": r["text"].replace("cat", "c4t")} for r in rows], PROMPTS)
    with pytest.raises(UserError, match=r"'a' cannot be written on rung text-raw, which lacks \['4'\]"):
        go(good, tmp_path / "odd.parquet")
