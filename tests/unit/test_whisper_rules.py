"""Whisper's rules: a stub at the level of texts, a stub at the level of logits, and the real weights where they are."""

import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from speechladder.continuation.asr import load_asr
from speechladder.continuation.asr.fallback import CASES, TEMPERATURES, Decoded, Sampler, decode_with_fallback
from speechladder.continuation.asr.whisper import Whisper
from speechladder.io.audio import read_audio
from speechladder.settings import Continuation

LOOP = "the knife " * 60
GOOD, LOOPS, GUESS = Decoded("the cow", -0.2, 0.1), Decoded(LOOP, -0.1, 0.1), Decoded("he", -1.2, 0.1)


class Texts:
    """A model whose texts are given by temperature, the last for all that follow; it keeps what it was asked."""

    def __init__(self, *rows: list[Decoded]) -> None:
        self.rows, self.asked = rows, []

    def encode(self, audio: list[np.ndarray]) -> np.ndarray:
        return np.arange(len(audio))

    def decode(self, encoded: np.ndarray, temperature: float, seeds: list[int]) -> list[Decoded]:
        self.asked.append((temperature, list(encoded), list(seeds)))
        at = TEMPERATURES.index(temperature)
        return [self.rows[n][min(at, len(self.rows[n]) - 1)] for n in encoded]


def audio(*seeds: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(0, 0.1, 8000).astype(np.float32) for seed in seeds]


@pytest.mark.parametrize(
    ("row", "text", "tried", "counted"),
    [
        ([GOOD], "the cow", 1, {}),
        ([LOOPS, GOOD], "the cow", 2, {"repetitive": 1}),
        ([GUESS, GUESS, GOOD], "the cow", 3, {"improbable": 1}),
        ([GUESS, LOOPS, GOOD], "the cow", 3, {"improbable": 1}),  # counted once, by its first fault
        ([LOOPS], LOOP, 6, {"repetitive": 1, "still_repetitive": 1}),
        ([LOOPS, GUESS], "he", 6, {"repetitive": 1, "still_improbable": 1}),
        ([Decoded("the cow", -1.2, 0.7)], "", 1, {"no_speech": 1}),  # improbable, and perhaps no speech
        ([Decoded("the cow", -0.9, 0.7)], "the cow", 1, {}),  # sure of its words
        ([Decoded("the cow", -1.0, 0.6)], "the cow", 1, {}),  # at the thresholds
        ([Decoded("You.", -0.3, 0.9)], "", 1, {"no_speech": 1}),  # what it makes of silence
        ([Decoded("You.", -0.3, 0.5)], "You.", 1, {}),  # someone says it
        ([Decoded(LOOP, -0.3, 0.7), Decoded("he", -1.1, 0.7)], "", 2, {"repetitive": 1, "no_speech": 1}),
    ],
)
def test_each_rule(row, text, tried, counted) -> None:
    model, cases = Texts(row), Counter()
    assert decode_with_fallback(model, audio(0), lambda text: text == "You.", cases) == [text]
    assert [temperature for temperature, *_ in model.asked] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0][:tried]
    assert dict(cases) == counted


def test_the_threshold_of_repetition_is_whispers() -> None:
    ratios = []
    for count in range(1, 40):
        text = " ".join(["the old man walks to the river"] * count)
        model, ratio = Texts([Decoded(text, -0.1, 0.0)]), len(text) / len(zlib.compress(text.encode()))
        decode_with_fallback(model, audio(0), lambda text: False, Counter())
        ratios.append(ratio)
        assert len(model.asked) == (6 if ratio > 2.4 else 1)
    assert min(ratios) < 2.4 < max(ratios)


def test_what_fails_alone_is_decoded_again_with_seeds_of_its_own() -> None:
    model = Texts([GOOD], [LOOPS, GOOD], [GUESS, GUESS, GOOD])
    assert decode_with_fallback(model, audio(0, 1, 2), bool, Counter()) == ["the cow"] * 3
    assert [rows for _, rows, _ in model.asked] == [[0, 1, 2], [1, 2], [2]]
    seeds = [seed for *_, some in model.asked for seed in some]
    assert len({*seeds}) == len(seeds)  # by part and by temperature
    again = Texts([GUESS, GUESS, GOOD])
    decode_with_fallback(again, audio(2), bool, Counter())
    assert [some for *_, some in again.asked] == [some[-1:] for *_, some in model.asked]


def test_silence_is_empty_and_what_is_said_of_it_is_the_models_own() -> None:
    model = Texts([Decoded("Thank you.", -0.4, 0.9)])
    asr = Whisper(model, lambda text: text.lower().strip("."), 1)
    quiet = 1e-4 * audio(0)[0]
    assert asr.transcribe([quiet, np.zeros(90, np.float32)]) == ["", ""] and not model.asked
    assert asr.transcribe(audio(1)) == [""] and [len(rows) for _, rows, _ in model.asked] == [1, 1]
    assert asr.cases == {**dict.fromkeys(CASES, 0), "parts": 2, "no_speech": 2}


class Logits:
    """A model whose next token has the same logits at every step: 0 ends, 1 is "knife", 2 is "cow"."""

    def __init__(self, *rows: list[float]) -> None:
        self.rows = rows

    def encode(self, audio: list[np.ndarray]) -> np.ndarray:
        return np.array([self.rows[round(100 * float(x.max())) % len(self.rows)] for x in audio], np.float32)

    def decode(self, encoded: np.ndarray, temperature: float, seeds: list[int]) -> list[Decoded]:
        import torch

        sampler = Sampler(temperature, seeds, 0)
        for _ in range(60):
            sampler.step(torch.from_numpy(encoded.copy()))
            if all(sampler.ended):
                break
        texts = [" ".join(["", "knife", "cow", "the", "farmer"][token] for token in row) for row in sampler.rows]
        return [Decoded(text, mean, 0.0) for text, mean in zip(texts, sampler.log_probabilities())]


def test_a_loop_ends_the_same_way_twice_and_in_any_batch() -> None:
    model, some = Logits([1.5, 2.0, 1.0, 0.8, 0.6], [0.0, 9.0, -9.0, -9.0, -9.0]), audio(*range(9))
    cases = Counter()
    together = decode_with_fallback(model, some, bool, cases)
    assert cases["repetitive"] == 9 and 0 < cases["still_repetitive"] < 9  # the second row loops whatever is tried
    assert any(text.count("knife") < 20 for text in together)
    assert decode_with_fallback(model, some, bool, Counter()) == together
    assert decode_with_fallback(model, some[::-1], bool, Counter()) == together[::-1]
    assert [decode_with_fallback(model, [x], bool, Counter())[0] for x in some] == together


def test_tokens_are_drawn_from_the_softmax_at_the_temperature() -> None:
    import torch

    logits, draws = torch.tensor([0.3, 1.0, -0.5, -torch.inf]), 4000
    for temperature in (0.2, 1.0):
        sampler = Sampler(temperature, range(draws), 9)
        chosen = sampler.step(logits.expand(draws, -1))
        wanted = (logits / temperature).softmax(-1)
        assert torch.allclose(torch.bincount(chosen, minlength=4) / draws, wanted, atol=0.03)
        plain = logits.log_softmax(-1)  # as Whisper has it, whatever the temperature
        assert np.allclose(sampler.sums, plain[chosen].tolist(), atol=1e-5)
    greedy = Sampler(0.0, [1, 2], 0)
    assert greedy.step(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist() == [1, 0]
    assert greedy.step(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist() == [0, 0]  # the second has ended
    assert greedy.rows == [[1], []] and greedy.ended == [True, True]
    assert greedy.log_probabilities() == pytest.approx([-0.3133] * 2, abs=1e-4)  # over one token and the end


# The real weights


def save_for_openai(folder: Path, file: Path) -> Path:
    """Write the checkpoint of openai-whisper with the weights of a folder of transformers."""
    import safetensors.torch
    import torch

    names = (
        *(("model.", ""), ("layers", "blocks"), ("encoder_attn_layer_norm", "cross_attn_ln")),
        *(("self_attn_layer_norm", "attn_ln"), ("encoder_attn", "cross_attn"), ("self_attn", "attn")),
        *(("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp.0")),
        *(("fc2", "mlp.2"), ("final_layer_norm", "mlp_ln"), ("encoder.layer_norm", "encoder.ln_post")),
        *(("decoder.layer_norm", "decoder.ln"), ("embed_tokens", "token_embedding")),
        ("embed_positions.weight", "positional_embedding"),
    )
    state = {}
    for key, tensor in safetensors.torch.load_file(folder / "model.safetensors").items():
        for one, other in names:
            key = key.replace(one, other)
        state[key] = tensor
    config = json.loads((folder / "config.json").read_text())
    sizes = {"n_mels": "num_mel_bins", "n_vocab": "vocab_size", "n_audio_ctx": "max_source_positions"}
    sizes |= {"n_audio_state": "d_model", "n_audio_head": "encoder_attention_heads", "n_audio_layer": "encoder_layers"}
    sizes |= {"n_text_ctx": "max_target_positions", "n_text_state": "d_model"}
    sizes |= {"n_text_head": "decoder_attention_heads", "n_text_layer": "decoder_layers"}
    state.pop("proj_out.weight", None)
    dims = {name: config[field] for name, field in sizes.items()}
    torch.save({"dims": dims, "model_state_dict": state}, file)
    return file


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """A function that returns what both paths make of some audio, which must be the same, and what their rules did."""
    folder = shared_data / "whisper-tiny.en"
    if not folder.is_dir():
        pytest.skip("no weights of Whisper")
    pytest.importorskip("whisper")
    names = folder, save_for_openai(folder, tmp_path_factory.mktemp("openai") / "tiny.en.pt")
    one, other = (load_asr(Continuation(asr="whisper", whisper=str(name)), None) for name in names)

    def hear(*some: np.ndarray) -> tuple[list[str], dict[str, int]]:
        before = one.cases.copy()
        texts = one.transcribe([x.astype(np.float32) for x in some])
        assert other.transcribe([x.astype(np.float32) for x in some]) == texts and other.cases == one.cases
        return [one.normalise(text) for text in texts], {n: one.cases[n] - before[n] for n in CASES}

    return hear


@pytest.mark.shared
def test_real_weights_hear_speech_and_no_words_in_silence_and_noise(real, shared_data) -> None:
    speech = read_audio(next((shared_data / "librispeech").rglob("1089-134686-0001.flac")))
    rng, time = np.random.default_rng(0), np.arange(32_000) / 16_000
    noise = rng.normal(0, 0.002, 32_000), rng.normal(0, 0.1, 32_000), 0.05 * np.sin(2 * np.pi * 50 * time)
    heard, cases = real(speech, np.zeros(32_000), *noise)
    # said: stuff it into you his belly counselled him
    assert heard == ["stuffered into you his belly counseled him", "", "", "", ""]
    assert cases == {**dict.fromkeys(CASES, 0), "parts": 5, "no_speech": 4}


@pytest.mark.shared
def test_real_weights_draw_the_same_words_on_both_paths(real, shared_data) -> None:
    said = read_audio(next((shared_data / "librispeech").rglob("367-130732-0006.flac")))  # lobster a la newberg
    heard, cases = real(said)
    assert heard == ["lobster on a new bird"]  # at temperature 0.4, after two improbable texts
    assert cases == {**dict.fromkeys(CASES, 0), "parts": 1, "improbable": 1}
