"""Recognisers: PocketSphinx built from a tiny corpus, tiny random Whispers of both kinds, and their checks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from speechladder.alignment.pocketsphinx import pcm_bytes
from speechladder.continuation.asr import check_asr, load_asr, load_normaliser
from speechladder.continuation.asr import whisper as asr_whisper
from speechladder.continuation.asr.adapt import CODEBOOKS, Parameters, features, model_folder
from speechladder.continuation.asr.checks import SIZES
from speechladder.continuation.asr.fallback import Decoded
from speechladder.continuation.asr.pocketsphinx import PocketSphinx, build_asr
from speechladder.continuation.asr.text import english_normaliser, wer
from speechladder.continuation.asr.whisper import LONGEST, divided
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.speak import speak
from speechladder.corpora.voices import voices
from speechladder.io.audio import encode_flac
from speechladder.io.errors import UserError
from speechladder.io.spans import as_rows
from speechladder.io.tables import ALIGNMENT, write_table
from speechladder.settings import Continuation

TEXTS = ["the farmer sees the cow", "a small cow walks to the river", "the river is near the farmer", "many cows walk"]
HELD_OUT = ["the small cow sees the river", "a farmer walks to the cow"]


def save_corpus(folder: Path, texts: list[str], split: str = "train") -> tuple[Path, Path]:
    """Cuts and their alignment, spoken by the plain voice."""
    cuts, rows = [], []
    for n, text in enumerate(texts):
        spoken = speak(text, voices(1)[0], seed=n)
        path, seconds = folder / f"{split}{n}.flac", len(spoken.samples) / 16_000
        path.write_bytes(encode_flac(spoken.samples))
        name = f"{split}-{n}"
        cuts.append(
            Cut(name, name, str(path), 0.0, seconds, "one", split, text, text.capitalize(), 16_000, len(spoken.samples))
        )
        rows.append({"id": name, "words": as_rows(spoken.words), "phones": as_rows(spoken.phones), "seconds": seconds})
    write_cuts(folder / f"{split}.jsonl.gz", cuts)
    write_table(folder / f"{split}.parquet", [row | {"aligner": "truth"} for row in rows], ALIGNMENT)
    return folder / f"{split}.jsonl.gz", folder / f"{split}.parquet"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, Path]:
    return save_corpus(tmp_path_factory.mktemp("corpus"), TEXTS)


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("asr") / "asr"
    build_asr([corpus[0]], out, [corpus[1]])
    return out


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    return [speak(text, voices(1)[0], seed=9).samples for text in HELD_OUT]


def test_held_out_sentences_of_a_tiny_corpus_are_recognised(folder, speech) -> None:
    asr = load_asr(Continuation(), folder)
    found = asr.transcribe(speech)
    assert wer(HELD_OUT, found, asr.normalise) <= 0.2
    assert {word for text in found for word in text.split()} <= {word for text in TEXTS for word in text.split()}


def test_a_transcript_depends_on_its_audio_alone(folder, speech) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, 20_000).astype(np.float32)
    utterances = [noise, *speech, speech[0][:9000], 0.1 * speech[1]]
    asr = PocketSphinx(folder)
    together = asr.transcribe(utterances)
    assert asr.transcribe(utterances[::-1])[::-1] == together
    assert [PocketSphinx(folder).transcribe([x])[0] for x in utterances] == together


@pytest.mark.parametrize("samples", [0, 1, 100, 700])
def test_almost_no_audio_gives_no_text(folder, samples) -> None:
    assert PocketSphinx(folder).transcribe([np.zeros(samples, np.float32)]) == [""]


def test_a_folder_is_the_same_twice(corpus, folder, tmp_path) -> None:
    build_asr([corpus[0]], tmp_path / "again", [corpus[1]])
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["asr.json", "lm.arpa", "means", "variances", "words.dict"]
    assert all((folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_pronunciations_come_from_the_corpus_or_from_dictionaries(corpus, folder, tmp_path) -> None:
    lines = (folder / "words.dict").read_text().splitlines()
    assert lines[0].split()[0] == "a" and "cow K AW" in lines
    build_asr([corpus[0]], tmp_path / "local", corpus="local")
    local = (tmp_path / "local" / "words.dict").read_text()
    assert "the DH AH\nthe(2) DH IY\n" in local  # the bundled dictionary's variants
    assert not (tmp_path / "local" / "means").exists()
    PocketSphinx(tmp_path / "local").transcribe([np.zeros(8000, np.float32)])


def test_a_corpus_of_one_word(tmp_path) -> None:
    cuts, table = save_corpus(tmp_path, ["zorble"])
    build_asr([cuts], tmp_path / "asr", [table], "local")
    said = speak("zorble", voices(1)[0], seed=3).samples
    assert PocketSphinx(tmp_path / "asr").transcribe([said]) == ["zorble"]


def test_no_train_split_and_no_folder_are_user_errors(corpus, tmp_path) -> None:
    cuts, _ = save_corpus(tmp_path, ["a cow"], split="test")
    with pytest.raises(UserError, match="train split"):
        build_asr([cuts], tmp_path / "asr")
    with pytest.raises(UserError, match="build_asr"):
        load_asr(Continuation(), tmp_path / "asr")


def test_parameters_are_written_as_they_were_read(tmp_path) -> None:
    for name in ("means", "variances"):
        given = Parameters(model_folder() / name)
        given.write(tmp_path / name, given.values)
        assert (tmp_path / name).read_bytes() == (model_folder() / name).read_bytes()
    assert given.values.shape == (42, 3, 128, 13) and len(CODEBOOKS) == 42
    (tmp_path / "means").write_bytes(b"s3\nendhdr\n" + bytes(40))
    with pytest.raises(UserError, match="bundled"):
        Parameters(tmp_path / "means")


def test_features_have_a_frame_each_10_ms_and_slopes(speech) -> None:
    first = features(pcm_bytes(speech[0]))
    assert abs(len(first) - len(speech[0]) / 160) < 3 and first.shape[1:] == (3, 13)
    assert np.allclose(first[:, 0].mean(axis=0), 0, atol=1e-3)
    features(pcm_bytes(speech[1]))
    assert np.array_equal(features(pcm_bytes(speech[0])), first)  # whatever came before
    assert np.allclose(first[2:-2, 1], first[4:, 0] - first[:-4, 0], atol=1e-6)


def test_error_rate_counts_over_all_texts() -> None:
    same = english_normaliser()
    assert wer(["I'm twenty-one.", "the cow"], ["i am 21", "the cow"], same) == 0
    assert wer(["the cow", "a b c d"], ["the", "a b c d"], same) == pytest.approx(1 / 6)
    assert wer(["the cow", ""], ["the cow", "oh no no"], str) == pytest.approx(3 / 2)
    assert wer(["the cow"], [""], same) == 1
    with pytest.raises(ValueError, match="2 references for 1"):
        wer(["a", "b"], ["a"], same)
    with pytest.raises(ValueError, match="no reference"):
        wer([""], ["a"], same)


def test_spelling_map_is_the_models_own() -> None:
    assert english_normaliser({"colour": "color"})("Colour") == "color"
    assert english_normaliser()("Colour") == "colour"


def test_pocketsphinx_and_the_normaliser_load_without_torch(folder) -> None:
    code = (
        "import sys; from speechladder.settings import Continuation\n"
        "from speechladder.continuation.asr import load_asr\n"
        f"asr = load_asr(Continuation(), {str(folder)!r}); import numpy; asr.transcribe([numpy.zeros(9000, 'f4')]);"
        "print(asr.normalise('Two!'), {'torch', 'transformers', 'whisper'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "2 set()\n", done.stderr


# Whisper


@pytest.fixture(scope="module")
def openai_file(tmp_path_factory) -> Path:
    torch, whisper = pytest.importorskip("torch"), pytest.importorskip("whisper")
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1}
    dims |= {"n_vocab": 51864, "n_text_ctx": 12, "n_text_state": 16, "n_text_head": 2, "n_text_layer": 1}
    torch.manual_seed(0)
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**dims))
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    file = tmp_path_factory.mktemp("whisper") / "tiny.pt"
    torch.save({"dims": dims, "model_state_dict": model.state_dict()}, file)
    return file


def save_whisper(folder: Path) -> Path:
    """A random Whisper as transformers saves it, whose tokens are letters."""
    import torch
    import transformers

    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    # tokens after <|notimestamps|> are times, by which Whisper divides speech into segments: there are none
    symbols = ["<|endoftext|>", "<|startoftranscript|>", *"abcdefghijklmnopqrstuvwxyz", "\u0120", "<|notimestamps|>"]
    vocab = {symbol: n for n, symbol in enumerate(symbols)}
    tokenizer = transformers.WhisperTokenizer(vocab=vocab, merges=[])
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "decoder_start_token_id": 1}
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = transformers.WhisperConfig(
        vocab_size=len(vocab), max_target_positions=12, suppress_tokens=None, begin_suppress_tokens=None,
        init_std=0.5, **special, **sizes, **heads,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        max_length=12, no_timestamps_token_id=len(vocab) - 1, **special
    )
    model.save_pretrained(folder)
    transformers.WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    (folder / "normalizer.json").write_text(json.dumps({"colour": "color"}))  # as the hub's folders have it
    return folder


@pytest.fixture(scope="module")
def transformers_folder(tmp_path_factory) -> Path:
    return save_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(params=["openai_file", "transformers_folder"])
def tiny_whisper(request) -> Path:
    return request.getfixturevalue(request.param)


def test_random_whispers_of_both_kinds_give_the_same_text_twice(tiny_whisper, speech) -> None:
    settings = Continuation(asr="whisper", whisper=str(tiny_whisper))
    check_asr(settings)
    asr = load_asr(settings, None)
    found = asr.transcribe([*speech, np.zeros(0, np.float32)])
    assert found[-1] == "" and all(found[:2])
    assert load_asr(settings, None).transcribe(speech[::-1])[::-1] == found[:2]
    assert asr.cases["parts"] == 2 and asr.cases["improbable"]  # random weights are sure of nothing
    asr._batch = 3  # more than on a CPU
    assert asr.transcribe(speech[::-1])[::-1] == found[:2]
    assert asr.normalise("Colour, it's twenty-two!") == "color it is 22"


def test_a_whisper_on_a_gpu_runs_in_float16_on_whole_batches(tiny_whisper, monkeypatch) -> None:
    """The device is named cuda:0 but does not exist, so the model stays on the CPU."""
    import torch

    seen: dict[str, object] = {}

    def noting(owner: object, name: str, field: str, **instead: str) -> None:
        real = getattr(owner, name)

        def call(*args: object, **options: object) -> object:
            seen[field] = options[field]
            return real(*args, **{**options, **instead})

        monkeypatch.setattr(owner, name, call)

    monkeypatch.setattr(asr_whisper, "acquire_gpu", lambda: "cuda:0")
    if tiny_whisper.is_file():
        import whisper

        noting(whisper, "load_model", "device", device="cpu")
        noting(whisper, "DecodingOptions", "fp16")
        wanted = {"device": "cuda:0", "fp16": True}
    else:
        import transformers

        noting(transformers.WhisperForConditionalGeneration, "from_pretrained", "dtype")
        monkeypatch.setattr(torch.nn.Module, "to", lambda module, *place: seen.update(device=place[0]) or module)
        wanted = {"device": "cuda:0", "dtype": torch.float16}
    asr = load_asr(_whisper(tiny_whisper), None)
    assert seen == wanted

    asked: list[int] = []
    asr._model.encode = lambda batch: asked.append(len(batch)) or np.zeros(len(batch))
    asr._model.decode = lambda encoded, *_: [Decoded("", 0.0, 0.0)] * len(encoded)
    asr.transcribe([np.ones(8000, np.float32)] * (asr_whisper.BATCH + 1))
    assert asked == [asr_whisper.BATCH, 1]


def test_the_normaliser_loads_without_the_recogniser(tiny_whisper) -> None:
    said = "The Colour, twenty-one."
    assert load_normaliser(_whisper(tiny_whisper))(said) == load_asr(_whisper(tiny_whisper), None).normalise(said)
    assert load_normaliser(_whisper(tiny_whisper))(said) == "the color 21"
    assert load_normaliser(Continuation())(said) == "the colour 21"


def test_long_speech_is_divided_where_it_is_quiet() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, round(1.5 * LONGEST)).astype(np.float32)
    quiet = len(samples) // 2 + 9000
    samples[quiet : quiet + 1000] = 0
    first, second = divided(samples)
    assert quiet <= len(first) <= quiet + 1000 and len(first) + len(second) == len(samples)
    assert [len(x) for x in divided(samples[:LONGEST])] == [LONGEST] and divided(samples[:300]) == []
    assert all(len(x) <= LONGEST for x in divided(np.tile(samples[: 2 * LONGEST - 10], 2)))


def test_sizes_are_those_of_the_package() -> None:
    whisper = pytest.importorskip("whisper")
    assert sorted(SIZES) == sorted(whisper.available_models())


def test_a_size_is_a_size_whatever_lies_in_the_folder(tmp_path, monkeypatch) -> None:
    pytest.importorskip("whisper")
    monkeypatch.chdir(tmp_path)
    Path("tiny").mkdir()
    Path("base").write_text("no checkpoint")
    check_asr(_whisper("tiny"))
    check_asr(_whisper("base"))
    with pytest.raises(UserError, match=r"config\.json"):
        check_asr(_whisper("./tiny"))


def _whisper(name: object) -> Continuation:
    return Continuation(asr="whisper", whisper=str(name))


def test_a_model_that_is_no_whisper_is_a_user_error_before_any_job(transformers_folder, tmp_path, monkeypatch) -> None:
    check_asr(Continuation(whisper="nonsense"))  # not used by pocketsphinx
    check_asr(_whisper("openai/whisper-large-v3"))
    for name in ("huge", tmp_path / "missing", "checkpoints/missing.pt"):
        with pytest.raises(UserError, match=r"continuation\.whisper: .*large-v3-turbo"):
            check_asr(_whisper(name))
    (tmp_path / "broken.pt").write_text("not found")
    with pytest.raises(UserError, match=r"continuation\.whisper: .*not a checkpoint"):
        check_asr(_whisper(tmp_path / "broken.pt"))
    copy = tmp_path / "copy"
    copy.mkdir()
    with pytest.raises(UserError, match=r"continuation\.whisper: .*config\.json"):
        check_asr(_whisper(copy))
    (copy / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UserError, match="'llama' model, not a Whisper"):
        check_asr(_whisper(copy))
    (copy / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(UserError, match="no weights"):
        check_asr(_whisper(copy))
    (copy / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"lacks preprocessor_config\.json"):
        check_asr(_whisper(copy))
    for name in ("preprocessor_config.json", "tokenizer.json"):
        (copy / name).write_text("{}")
    check_asr(_whisper(copy))
    with pytest.raises(UserError, match=r"continuation\.whisper: .*cannot be loaded"):
        load_asr(_whisper(copy), None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"speechladder\[whisper\]"):
        check_asr(_whisper("tiny"))


def test_a_whisper_of_another_rate_is_a_user_error_before_any_job(transformers_folder, tmp_path) -> None:
    folder = tmp_path / "whisper"
    shutil.copytree(transformers_folder, folder)
    changed = 0
    for file in folder.glob("*processor_config.json"):
        text = file.read_text()
        file.write_text(text.replace("16000", "22050"))
        changed += file.read_text() != text
    assert changed
    with pytest.raises(UserError, match="sampling_rate is 22050"):
        check_asr(_whisper(folder))


@pytest.mark.parametrize("content", ["[]", '{"feature_extractor": 16000}'])
def test_a_preprocessor_that_is_no_configuration(transformers_folder, tmp_path, content) -> None:
    folder = tmp_path / "whisper"
    shutil.copytree(transformers_folder, folder)
    (folder / "preprocessor_config.json").write_text(content)
    with pytest.raises(UserError, match=r"preprocessor_config\.json is not a model's configuration"):
        check_asr(_whisper(folder))


def test_a_missing_tensor_and_a_foreign_checkpoint_are_user_errors(openai_file, transformers_folder, tmp_path) -> None:
    import shutil

    import safetensors.torch
    import torch

    torch.save({"weights": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(UserError, match=r"foreign\.pt cannot be loaded as a Whisper \(KeyError"):
        load_asr(_whisper(tmp_path / "foreign.pt"), None)
    copy = shutil.copytree(transformers_folder, tmp_path / "copy")
    tensors = safetensors.torch.load_file(copy / "model.safetensors")
    tensors.pop("model.encoder.conv1.weight")
    safetensors.torch.save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 .*conv1"):
        load_asr(_whisper(copy), None)


def test_a_name_that_the_hub_lacks_is_a_user_error(monkeypatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"continuation\.whisper: somebody/whisper"):
        load_asr(_whisper("somebody/whisper"), None)
