"""Hub names are checked before any job. A small server on this machine is the hub."""

import fnmatch
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from speechladder.io import hub as models
from speechladder.io.errors import UserError
from speechladder.io.hub import WEIGHTS, fetch_model, find_model_folder, find_weights, is_hub_name, read_model_config
from speechladder.settings import load
from speechladder.workflow.checks import check_hubs


class _Hub(BaseHTTPRequestHandler):
    """open/model is open, gated/model needs a token, and all other names are unknown."""

    def do_GET(self):
        gated = self.path.startswith("/api/models/gated/model") and "Authorization" not in self.headers
        known = "/open/model" in self.path or "/gated/model" in self.path
        self.send_response(403 if gated else 200 if known else 404)
        if gated or not known:
            self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def hub():
    server = HTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _ask(name, tmp_path, **environment):
    code = f"from speechladder.io.hub import check_access; check_access({name!r}, 'continuation.judge_model')"
    unset = ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT")
    env = {k: v for k, v in os.environ.items() if k not in unset} | {"HF_HOME": str(tmp_path)} | environment
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)


def test_names():
    assert is_hub_name("meta-llama/Llama-3.1-8B")
    assert not is_hub_name("run") and not is_hub_name("/data/models/llama") and not is_hub_name("a/b/c")


@pytest.mark.parametrize(
    "name", ["a/b", "a-b/c.d_e", "a/.b", "-a/b", "./b", "a/b-", "a/b--c", "a..b/c", "a/b.git", "a/"]
)
def test_names_are_those_that_the_hubs_client_takes(name):
    try:
        validate_repo_id(name)
    except HFValidationError:
        assert not is_hub_name(name)
    else:
        assert is_hub_name(name)


def test_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name, revision: 1 / 0)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, revision, allow_patterns: 1 / 0)
    monkeypatch.setattr(models, "check_access", lambda name, field: None)
    assert find_model_folder("a/b", "x.y") is None
    assert find_model_folder(str(tmp_path), "x.y") == fetch_model(str(tmp_path), "x.y", ["*.json"]) == tmp_path
    with pytest.raises(UserError, match=r"x\.y: no such folder: nowhere; name run, or a folder"):
        find_model_folder("nowhere", "x.y", "run, or a folder")
    with pytest.raises(UserError, match=r"x\.y: a/b could not be fetched \(ZeroDivisionError: .*--local-dir FOLDER"):
        fetch_model("a/b", "x.y", ["*.json"])
    with pytest.raises(UserError, match=r"x\.y: .* has no config\.json"):
        read_model_config(tmp_path, "x.y")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"x\.y: .*config\.json is not a model's configuration"):
        read_model_config(tmp_path, "x.y")
    with pytest.raises(UserError, match=r"x\.y: .* holds no weights \(\*\.safetensors or \*\.bin\)"):
        find_weights(tmp_path, "x.y", ["*.safetensors", "*.bin"])
    for name in ("b.safetensors", "a.safetensors", "c.bin"):
        (tmp_path / name).touch()
    found = find_weights(tmp_path, "x.y", ["*.pt", "*.safetensors", "*.bin"])
    assert [file.name for file in found] == ["a.safetensors", "b.safetensors"]


WHISPER = ["model.safetensors", "pytorch_model.bin", "model.fp32-00001-of-00002.safetensors", "flax_model.msgpack"]
SHARDED = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "consolidated.safetensors"]
OLD = ["pytorch_model.bin", "tf_model.h5", "rust_model.ot"]
OLD_SHARDS = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]


@pytest.mark.parametrize(
    ("there", "weights", "fetched"),
    [
        (WHISPER, WEIGHTS, WHISPER[:1]),
        (SHARDED, WEIGHTS, SHARDED[:2]),
        ([*SHARDED[:2], *OLD_SHARDS], WEIGHTS, SHARDED[:2]),
        (OLD, WEIGHTS, OLD[:1]),
        (OLD_SHARDS, WEIGHTS, OLD_SHARDS),
        (["g_00050000", "generator.pt", "do_00050000"], ("*.safetensors", "g_*", "*.pt"), ["g_00050000"]),
        ([], WEIGHTS, []),
    ],
)
def test_weights_that_a_hub_has_twice_are_fetched_once(monkeypatch, tmp_path, there, weights, fetched):
    files, seen, asked = ["config.json", "README.md", *there], [], []

    def download(name, revision, allow_patterns):
        asked.append(revision)
        seen.append([file for file in files if any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns)])
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name, revision: asked.append(revision) or files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch_model("a/b", "x.y", ["*.json"], weights, revision="abc") == tmp_path
    assert seen == [["config.json", *fetched]] and asked == ["abc", "abc"]


def test_without_the_network_the_cache_is_asked_for_any_weights(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name, revision: 1 / 0)
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, revision, allow_patterns: seen.append(allow_patterns) or str(tmp_path),
    )
    assert fetch_model("a/b", "x.y", ["*.json"]) == tmp_path and seen == [["*.json", *WEIGHTS]]


@pytest.mark.parametrize(
    ("name", "token", "said"),
    [
        ("open/model", {}, None),
        ("gated/model", {"HF_TOKEN": "hf_test"}, None),
        ("gated/model", {}, "set HF_TOKEN"),
        ("no/model", {}, "no/model is not on the hub"),
    ],
)
def test_access(hub, tmp_path, name, token, said):
    done = _ask(name, tmp_path, HF_ENDPOINT=hub, **token)
    if said is None:
        assert done.returncode == 0, done.stderr
    else:
        for part in (said, "UserError", "continuation.judge_model: ", name, "--local-dir"):
            assert part in done.stderr


def test_a_hub_that_does_not_answer(tmp_path):
    assert "HF_HUB_OFFLINE is set" in _ask("open/model", tmp_path, HF_HUB_OFFLINE="1").stderr
    done = _ask("open/model", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert "did not answer" in done.stderr and "UserError" in done.stderr


@pytest.mark.parametrize(
    ("wanted", "config", "said"),
    [
        ({"asr": "whisper", "whisper": "a/b"}, {"model_type": "wav2vec2"}, "whisper: a/b is a 'wav2vec2' model"),
        ({"second_asr": "a/b"}, {"model_type": "bert"}, r"continuation\.second_asr: a/b is a 'bert' model"),
        ({"judge": "hf", "judge_model": "a/b"}, {"architectures": ["BertForMaskedLM"]}, "judge_model: a/b is BertForM"),
        ({"vocoder": "a/b"}, {"model_type": "speechladder-unit-vocoder", "clusters": 7}, "the run's units are 100"),
        ({"vocoder": "a/b"}, {"model_type": "hifigan"}, "a vocoder for mel spectra"),
    ],
)
def test_a_model_of_another_kind_on_the_hub_is_a_user_error_before_any_job(tmp_path, monkeypatch, wanted, config, said):
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(models, "check_access", lambda name, field: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: str(tmp_path / file))
    with pytest.raises(UserError, match=said):
        check_hubs(load({"continuation": wanted}))
    check_hubs(load({"continuation": wanted | {"enabled": False}}))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: 1 / 0)
    with pytest.raises(UserError, match=r"a/b gives no config.json \(division"):
        check_hubs(load({"continuation": wanted}))


def test_the_runs_judge_may_ask_the_hub_for_the_recognisers_normaliser(tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "train_judge.py"
    words = ["--text", str(tmp_path), "--out", str(tmp_path / "judge"), "--asr", "whisper", "--whisper", "open/model"]
    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    env |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, str(script), *words], env=env, capture_output=True, text=True, timeout=120)
    assert "continuation.whisper: open/model" in done.stderr and "HF_HUB_OFFLINE" not in done.stderr
