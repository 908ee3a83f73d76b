"""A mistake in settings, files or folders is one message before any job, with what to set."""

import gzip
import inspect
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from speechladder.io.errors import UserError
from speechladder.settings import LM, Settings, load
from speechladder.units.encoders.check import check_config
from speechladder.units.kmeans import faiss_backend
from speechladder.workflow import checks
from speechladder.workflow.config import checked
from speechladder.workflow.errors import PrintsAlone, SpeechladderError

ROOT = Path(__file__).resolve().parents[2]
HUBERT = {"model_type": "hubert", "num_hidden_layers": 4, "conv_kernel": [240, 2], "conv_stride": [160, 2]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))


def _refused(config: dict, computes: bool = False) -> str:
    with pytest.raises(UserError) as error:
        checked(config, ROOT, computes)
    return str(error.value)


# --- encoders ---


def _encoder(weights: str | None = "model.safetensors", **changes: object) -> Path:
    folder = Path("encoder")
    folder.mkdir()
    config = {key: value for key, value in (HUBERT | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    if weights:
        save_file({"encoder.layers.0": np.ones(300)}, folder / weights)
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv_stride": [160, 4]}, "has 25 frames a second (400 samples every 640); the ladder needs 50"),
        ({"conv_stride": [160, 1]}, "has 100 frames a second"),
        ({"conv_kernel": [480, 2]}, "has 50 frames a second (640 samples every 320)"),
        ({"conv_kernel": [240, 2, 2]}, "conv_kernel and conv_stride"),
        ({"conv_kernel": "240"}, "conv_kernel and conv_stride"),
        ({"conv_kernel": None}, "conv_kernel and conv_stride"),  # one of the two alone
        ({"model_type": "data2vec-audio"}, "a 'data2vec-audio' model; the units need one of hubert, wavlm, wav2vec2"),
        ({"model_type": "wav2vec2-conformer"}, "'wav2vec2-conformer' model"),
        ({"model_type": "clip"}, "'clip' model"),
        ({"model_type": "whisper", "num_hidden_layers": None}, "'whisper' model"),
        ({"model_type": "bert"}, "'bert' model"),
        ({"model_type": ["hubert"]}, "a ['hubert'] model"),
        ({"model_type": None}, "no model_type"),
        ({"num_hidden_layers": None}, "num_hidden_layers in its config.json is None"),
        ({"num_hidden_layers": "12"}, "num_hidden_layers in its config.json is '12'"),
        ({"num_hidden_layers": 2}, "units.layer: 3 is out of range; encoder has the layers 1 to 2"),
        ({"feat_extract_activation": "relu"}, "'relu'; the units need gelu"),
    ],
)
def test_a_config_of_another_kind(changes, said):
    _encoder(**changes)
    assert said in _refused({"units": {"encoder": "encoder"}})


def test_an_encoder_whose_config_leaves_out_the_usual_values():
    check_config({"model_type": "hubert", "num_hidden_layers": 12}, "x", 12)
    _encoder()
    assert checked({"units": {"encoder": "encoder"}}, ROOT).units.encoder == str(Path.cwd() / "encoder")


def _nothing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _fairseq(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "hubert_base_ls960.pt")


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_nothing, r"holds no weights \(model\.safetensors"),
        (_fairseq, r"holds no weights .*hubert_local:FILE\.pt"),
        (_cut, "is no whole file of safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "is empty"),
        (lambda f: save_file({}, f / "model.safetensors"), "holds no tensor"),
        (lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs"),
        (lambda f: (f / "model.safetensors").rename(f / "model-00001-of-00003.safetensors"), "1 of the 3 parts"),
        (lambda f: (f / "model.safetensors").rename(f / "adapter_model.safetensors"), "holds no weights"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "no whole file of torch.save"),
        (lambda f: (f / "config.json").write_text("{nope"), r"config\.json: not JSON .*fetch the model again"),
        (lambda f: (f / "config.json").write_text("[]"), "not a model's configuration"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe{"), "not JSON"),
        (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
        (lambda f: (f / "preprocessor_config.json").write_text('{"sampling_rate": 8000}'), "8000; the units need"),
    ],
)
def test_a_folder_that_cannot_be_loaded(change, said):
    change(_encoder())
    message = _refused({"units": {"encoder": "encoder"}})
    assert re.match(rf"units\.encoder: .*{said}", message)


def test_a_file_in_place_of_a_folder():
    for name in ("hubert_base_ls960.pt", "model.safetensors"):
        Path(name).write_bytes(b"PK")
        message = _refused({"units": {"encoder": name}})
        assert re.match(r"units\.encoder: .* is a file; name a folder that holds config\.json and weights", message)
        assert ("hubert_local:FILE.pt" in message) == name.endswith(".pt")
    assert "units.encoder: '' names no file or folder" in _refused({"units": {"encoder": ""}})


# --- files and folders ---


def _wrong_folder(name: str) -> None:
    Path(name).mkdir()
    (Path(name) / "readme.md").write_text("nothing of the kind")
    (Path(name) / "._x.TextGrid").touch()


LOCAL = {"corpus": {"name": "local", "path": "speech"}, "alignment": {"aligner": "pocketsphinx"}}


@pytest.mark.parametrize("make", [lambda name: Path(name).mkdir(), _wrong_folder], ids=["empty", "of another kind"])
@pytest.mark.parametrize(
    ("config", "said"),
    [
        (LOCAL | {"corpus": {"name": "local", "path": "it"}}, r"corpus\.path: \S+it .*\.trans\.txt"),
        (LOCAL | {"corpus": {"name": "librispeech", "source": "it"}}, r"corpus\.source: \S+it holds no librispeech"),
        ({"benchmarks": {"slm21": "it"}}, r"benchmarks\.slm21: \S+it .*gold\.csv"),
        ({"benchmarks": {"storycloze": "it"}}, r"benchmarks\.storycloze: \S+it .*STORY_PREFIX_correct\.wav"),
        (LOCAL | {"alignment": {"aligner": "textgrids", "textgrids": "it"}}, r"alignment\.textgrids: .*ID\.TextGrid"),
        ({"units": {"source": "external", "path": "it"}}, r"units\.path: \S+it: no files of units"),
        ({"units": {"encoder": "it"}}, r"units\.encoder: \S+it has no config\.json"),
        ({"lm": {"init": "it"}}, r"lm\.init: \S+it has no config\.json"),
        ({"continuation": {"vocoder": "it"}}, r"continuation\.vocoder: \S+it has no config\.json"),
        ({"continuation": {"judge": "hf", "judge_model": "it"}}, r"continuation\.judge_model: \S+it has no config"),
        ({"continuation": {"asr": "whisper", "whisper": "it"}}, r"continuation\.whisper: \S+it has no config\.json"),
        ({"continuation": {"judge_text": ["it"]}}, r"continuation\.judge_text: \S+it is a folder; name its files"),
        ({"benchmarks": {"sblimp": ["it"]}}, r"benchmarks\.sblimp: \S+it is a folder; name a file in it"),
    ],
)
def test_a_folder_without_what_the_setting_needs(make, config, said):
    make("it")
    Path("speech/1/2").mkdir(parents=True)
    Path("speech/1/2/1-2.trans.txt").touch()
    assert re.match(said, _refused(config))


def test_a_subset_that_is_empty_and_a_zip_without_textgrids():
    Path("data/train-clean-100").mkdir(parents=True)
    config = LOCAL | {"corpus": {"name": "librispeech", "source": "data"}}
    assert re.match(r"corpus\.source: \S+data holds no \.trans\.txt", _refused(config))
    Path("data/train-clean-100/1-2.trans.txt").touch()
    assert checked(config, ROOT).corpus.source == str(Path.cwd() / "data")
    with zipfile.ZipFile("grids.zip", "w") as archive:
        archive.writestr("a/1-2-0000.txt", "x")
    config["alignment"] = {"aligner": "textgrids", "textgrids": "grids.zip"}
    assert re.match(r"alignment\.textgrids: \S+grids\.zip holds no \.textgrid", _refused(config))
    with zipfile.ZipFile("grids.zip", "a") as archive:
        archive.writestr("a/1-2-0000.TextGrid", "x")
    checked(config, ROOT)


def test_a_folder_without_speech_says_what_it_holds(tmp_path):
    """Circles of links end, and what is left alone counts for nothing."""
    root = tmp_path / "speech"
    (root / "wavs" / "__MACOSX").mkdir(parents=True)
    for name in ("wavs/a.wav", "wavs/b.wav", "metadata.csv", ".x.trans.txt", "wavs/__MACOSX/x.trans.txt"):
        (root / name).touch()
    for name in ("up", "again", "wavs/up", "wavs/again"):
        (root / name).symlink_to(root)
    said = r"corpus\.path: \S+speech holds no \.trans\.txt; it holds 2 of \.wav, 1 of \.csv; expected speaker/chapter"
    assert re.match(
        said, _refused({"corpus": {"name": "local", "path": str(root)}, "alignment": {"aligner": "pocketsphinx"}})
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.gguf", b"GGUF\3\0\0\0", "is not plain text; name files .txt or .txt.gz"),
        ("renamed.txt", b"GGUF\3\0\0\0", "is not plain text (it has NUL bytes)"),
        ("utf16.txt", "Ein Text".encode("utf-16"), "is not plain text (it has NUL bytes)"),
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b" \n\n\t\n", "is empty"),
        ("blank.txt.gz", gzip.compress(b"\n", mtime=0), "is empty"),
        ("cut.txt.gz", gzip.compress(b"some words", mtime=0)[:-9], "is not readable as text"),
        ("plain.txt.gz", b"not packed", "is not readable as text"),
    ],
)
def test_judge_text_that_is_no_text(name, content, said):
    Path(name).write_bytes(content)
    message = _refused({"continuation": {"judge_text": [name]}})
    assert message.startswith("continuation.judge_text: ") and name in message and said in message


def test_judge_text_that_is_text_or_is_not_read():
    Path("a.txt").write_text("Some words of a text.\n")
    Path("b.TXT.gz").write_bytes(gzip.compress(b"Some words of a text.\n"))
    Path("c.gguf").touch()
    checked({"continuation": {"judge_text": ["a.txt", "b.TXT.gz"]}}, ROOT)
    checked({"continuation": {"judge_text": ["c.gguf"], "enabled": False}}, ROOT)


def test_a_pairs_file_that_cannot_be_read_and_one_that_is_empty():
    Path("pairs.jsonl").write_text('{"a": 1')
    message = _refused({"benchmarks": {"sblimp": ["pairs.jsonl"]}})
    assert message.startswith("benchmarks.sblimp: ") and "pairs.jsonl: no usable pair" in message
    Path("none.csv").touch()
    assert re.match(r"benchmarks\.topic: \S+none\.csv is empty", _refused({"benchmarks": {"topic": ["none.csv"]}}))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.txz"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 99])
def test_a_file_that_is_only_named_as_an_archive(name, content):
    Path(name).write_bytes(content)
    said = f"{Path.cwd() / name} is not an archive, or not a whole one"
    assert _refused({"benchmarks": {"slm21": name}}).startswith(f"benchmarks.slm21: {said}")
    corpus = {"corpus": {"name": "librispeech", "archives": [name]}, "alignment": {"aligner": "pocketsphinx"}}
    assert _refused(corpus).startswith(f"corpus.archives: {said}")


def test_a_folder_for_a_file_and_a_file_for_a_folder():
    Path("file").touch()
    Path("folder").mkdir()
    assert "downloads.folder: file is a file" in _refused({"downloads": {"folder": "file"}})
    upstream = {"source": "s3prl", "encoder": "hubert_local:folder"}
    assert "folder is a folder; hubert_local reads a file" in _refused({"units": upstream})
    Path("folder/x.pt").touch()
    checked({"units": upstream | {"encoder": "hubert_local:folder/x.pt"}}, ROOT)


# --- a GPU ---

ON_GPU = [
    ({"lm": {"attention": "flex"}}, "lm.attention: flex needs a GPU"),
    ({"lm": {"compile": True}}, "lm.compile: on needs a GPU"),
    ({"units": {"precision": "fp16"}}, "units.precision: fp16 needs a GPU"),
    ({"units": {"kmeans": "faiss-gpu"}}, "units.kmeans: faiss-gpu needs a GPU"),
]


@pytest.mark.parametrize(("config", "said"), ON_GPU)
def test_what_needs_a_gpu_where_jobs_compute_on_this_machine(monkeypatch, config, said):
    monkeypatch.setattr(checks, "gpus", list)
    message = _refused(config, computes=True)
    assert said in message and "write auto, or let a cluster run the jobs" in message
    checked(config, ROOT)  # on the login node of a cluster
    monkeypatch.setattr(checks, "gpus", lambda: ["GPU-1"])
    monkeypatch.setattr(faiss_backend, "_gpus", lambda: 1)
    checked(config, ROOT, computes=True)


def test_faiss_gpu_needs_its_package_too(monkeypatch):
    monkeypatch.setattr(checks, "gpus", lambda: ["GPU-1"])
    monkeypatch.setattr(faiss_backend, "_gpus", lambda: 0)
    assert "the package faiss-gpu-cu12" in _refused({"units": {"kmeans": "faiss-gpu"}}, computes=True)


def test_what_is_not_read_needs_no_gpu(monkeypatch):
    monkeypatch.setattr(checks, "gpus", list)
    checks.check_gpu(load({"units": {"kmeans": "faiss-gpu", "labels": "phones"}}))
    checks.check_gpu(Settings())


def test_a_job_of_a_cluster_finds_out_before_it_reads_data(monkeypatch):
    from speechladder.lm.train import train_lm
    from speechladder.units.encoders.transformers import TransformersEncoder
    from speechladder.units.kmeans.fit import fit
    from speechladder.units.kmeans.plan import Plan

    monkeypatch.setattr("speechladder.lm.train.prepare_torch", lambda threads: torch.device("cpu"))
    monkeypatch.setattr(faiss_backend, "_gpus", lambda: 0)
    for settings, said in (({"attention": "flex"}, "lm.attention: flex"), ({"compile": "on"}, "lm.compile: on")):
        with pytest.raises(UserError, match=said):
            train_lm(Path("no tokens"), Path("out"), 0, LM(**settings))
    with pytest.raises(UserError, match=r"units\.precision: fp16"):
        TransformersEncoder.load("no encoder", 1, device="cpu", precision="fp16")
    with pytest.raises(UserError, match=r"units\.kmeans: faiss-gpu"):
        fit(np.full((1, 2), np.nan, np.float32), Plan(4, 2, 0, backend="faiss-gpu"))


@pytest.mark.parametrize(
    ("lm", "said"),
    [
        ({"attention": "flex", "hidden_size": 96, "heads": 4}, "attention: flex needs heads of 16, 32, 64, ... dim"),
        ({"compile": "on", "hidden_size": 96, "heads": 4}, "compile: on needs flex_attention, and heads have 24"),
        ({"compile": "on", "attention": "packed"}, "compile: on needs flex_attention, and attention is packed"),
    ],
)
def test_settings_that_no_machine_can_serve(lm, said):
    with pytest.raises(UserError, match=re.escape(said)):
        load({"lm": lm})
    LM(init="somewhere", **{name: value for name, value in lm.items() if name == "attention"})


# --- messages ---


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"lm": {"window": 2.5}}, "lm.window: 2.5 is not allowed; allowed: a whole number, at least 8"),
        ({"lm": {"seeds": 3}}, "lm.seeds: 3 is not allowed; allowed: a list of whole numbers, not empty"),
        ({"lm": {"seeds": [0, True]}}, "lm.seeds: [0, True] is not allowed; allowed: a list of whole numbers"),
        ({"lm": {"attention": None}}, "lm.attention: null is not allowed; allowed: auto, packed, flex"),
        ({"lm": {"layers": 0}}, "lm.layers: 0 is not allowed; allowed: a whole number, at least 1, or null"),
        ({"lm": {"min_lr_ratio": 2}}, "lm.min_lr_ratio: 2 is not allowed; allowed: a number, at least 0 and at most 1"),
        ({"rungs": "text-bpe"}, "rungs: 'text-bpe' is not allowed; allowed: a list of texts, not empty"),
        ({"rungs": []}, "rungs: [] is not allowed; allowed: a list of texts, not empty"),
        ({"units": {"repeat": "maybe"}}, "units.repeat: 'maybe' is not allowed; allowed: true or false"),
        ({"sweep": {"layers": [0]}}, "sweep.layers.0: 0 is not allowed; allowed: a whole number, at least 1"),
        ({"corpus": {"causes": "rate"}}, "corpus.causes: 'rate' is not allowed; allowed: a list of voices, accents, "),
        ({"corpus": "local"}, "corpus: 'local' is not allowed; allowed: a section with the keys name, path, "),
        ({"downloads": {"files": {"x": "y"}}}, "downloads.files.x: 'y' is not allowed; allowed: a section with the k"),
        ({"benchmarks": {"topic_pairs": 3}}, "allowed: a whole number, at least 2 and a multiple of 2"),
        ({"rungs": "[a"}, "rungs: '[a' is not allowed; allowed: a list of texts, not empty"),
        ({"rungs": "text-bpe"}, "; write [text-bpe] for a list of one"),
        ({"lm": "{seeds:[0]}"}, "--config lm='{KEY: VALUE, KEY: VALUE}', with a space after each colon"),
        ({"lm.seeds": [0]}, "lm.seeds: unknown key; write lm: {seeds: VALUE}"),
        ({"LM": {}}, "LM: unknown key; did you mean 'lm'? allowed here: seed, rungs"),
        ({5: 3}, "5: unknown key; allowed here: seed, rungs"),
        ({"lm": {5: 3}}, "lm.5: unknown key; allowed here: architecture"),
        ({"lm": {"lr": float("inf")}}, "lm.lr: inf is not allowed; allowed: a number, above 0"),
        ({"corpus": {"hours": float("inf")}}, "corpus.hours: inf is not allowed; allowed: a number, above 0"),
        ({"downloads": {"files": {"x": {"urls": ["x"], "md5": 1}}}}, "allowed: text of 32 hexadecimal digits, or null"),
        ({"scaling": {"sizes": ["xs"]}}, "scaling.sizes.0: 'xs' is not allowed; allowed: a section of keys and values"),
        ({"scaling": {"sizes": [{"name": "a", 5: 1}]}}, "scaling.sizes.a.5: unknown key; allowed here: architecture"),
        ({"scaling": {"sizes": [{"lr": 1}]}}, "letters, digits, '.' and '_'; this is none: null"),
        ({"scaling": {"sizes": [{"name": "a", "lr": "x"}]}}, "scaling.sizes.a.lr: 'x' is not allowed; allowed: "),
        ({"units": {"label_minutes": 3}}, "units.label_minutes: would not be read, since labels is none"),
        (
            {"units": {"segment_penalty": 5}, "questions": {"arms": ["segments-word"]}},
            "units.segment_penalty: would not be read, since units.segments is frame",
        ),
    ],
)  # fmt: skip
def test_a_setting_is_named_with_its_value_and_what_is_allowed(config, line):
    with pytest.raises(UserError) as error:
        load(config)
    assert line in str(error.value)
    assert "Input should" not in str(error.value)


def test_a_penalty_that_an_arm_of_the_questions_reads():
    assert load({"units": {"segment_penalty": 5}}).units.segment_penalty == 5


def test_snakemake_prints_the_message_alone():
    command = [str(Path(sys.executable).parent / "snakemake"), "-n", "-s", str(ROOT / "workflow" / "Snakefile")]
    done = subprocess.run([*command, "--config", "lm={window: wide}"], capture_output=True, text=True, timeout=120)
    _, _, message = done.stdout.partition("SpeechladderError:\n")
    assert done.returncode == 1
    assert message.splitlines()[1:2] == ["  lm.window: 'wide' is not allowed; allowed: a whole number, at least 8"]
    assert len(message.strip().splitlines()) == 2
    assert "common.smk" not in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr


def test_the_error_keeps_its_message_through_context_managers():
    with pytest.raises(SpeechladderError, match="one message"), np.errstate():
        raise SpeechladderError("one message")


def test_an_error_of_an_input_function_is_printed_alone(tmp_path):
    """A UserError that shows when Snakemake asks for the inputs of a rule."""
    corpus = "corpus={name: local, path: a}"
    (tmp_path / "a" / "1" / "2").mkdir(parents=True)
    (tmp_path / "a" / "1" / "2" / "1-2.trans.txt").write_text("1-2-0 HELLO\n")
    words = ["results/causes.csv", "--cores", "1", "--config", corpus, "alignment={aligner: pocketsphinx}"]
    command = [str(Path(sys.executable).parent / "snakemake"), "-n", "-s", str(ROOT / "workflow" / "Snakefile")]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120)
    _, _, message = done.stdout.partition("SpeechladderError:\n")
    assert done.returncode == 1 and message.startswith("results/causes.csv needs corpus.name: world")
    assert len(message.strip().splitlines()) == 1
    assert not any(word in done.stdout + done.stderr for word in ("Traceback", "InputFunctionException", ".smk"))


def test_functions_keep_their_parameters_and_so_do_those_they_return():
    def options(rule):
        def inner(wildcards, input):
            if rule == "wrong":
                raise UserError("no such thing")
            return rule

        return inner

    inputs = PrintsAlone(SimpleNamespace(options=options, shards=["0"]))
    assert inputs.shards == ["0"] and inputs.options("align")(None, None) == "align"
    assert list(inspect.signature(inputs.options("align")).parameters) == ["wildcards", "input"]
    with pytest.raises(SystemExit):
        inputs.options("wrong")(None, None)
