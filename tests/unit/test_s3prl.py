"""s3prl's upstreams behind the interface of an encoder, tested with a fake s3prl.

The real one has an environment of its own (tests/e2e/test_s3prl.py).
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.settings import Units, as_options, load
from speechladder.units.decode import Wave
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.encoders.s3prl import S3prlEncoder, check_upstream, digest, fitted
from speechladder.units.encoders.s3prl_environment import LOCK, VENV, check_s3prl, interpreter, split_encoder
from speechladder.workflow.config import checked

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    # as the true one on a CPU: it cannot load its extension, and what s3prl calls is gone
    "torchaudio/__init__.py": "from . import _extension\n",
    "torchaudio/_extension/__init__.py": "raise OSError('libcudart')\n",
    "s3prl/__init__.py": "",
    "s3prl/upstream/__init__.py": "",
    "s3prl/hub.py": """
from s3prl.upstream.toy.hubconf import *
def options(only_registered_ckpt=False):
    return [n for n, v in globals().items() if not n.startswith("_") and callable(v) and n != "options"]
""",
    "s3prl/upstream/toy/__init__.py": "",
    "s3prl/upstream/toy/hubconf.py": """
import json
from pathlib import Path
import torch, torchaudio
from torchaudio.sox_effects import apply_effects_tensor as _gone
torchaudio.set_audio_backend("sox_io")

class _Toy(torch.nn.Module):
    def __init__(self, seed=0, hop=320, window=400, extra=0, dither=0.0, norm=None):
        super().__init__()
        self.hop, self.window, self.extra, self.dither = hop, window, extra, dither
        with torch.random.fork_rng():
            torch.manual_seed(seed) if seed is not None else torch.seed()
            self.first, self.second = torch.nn.Linear(window, 4), torch.nn.Linear(4, 6)
        if norm is not None:
            self.task_cfg = type("Config", (), {"normalize": norm})
    def forward(self, wavs):
        assert len(wavs) == 1 and not self.training
        x = self.first(wavs[0].unfold(0, self.window, self.hop)[None])
        more = x[:, :1].expand(-1, max(0, self.extra), -1)
        x = torch.cat([x, more], 1)[:, : x.shape[1] + self.extra]
        return {"hidden_states": (x + self.dither * torch.randn(x.shape), self.second(x))}

def toy(refresh=False, *args, **kwargs):
    return _Toy()
def toy_custom(ckpt, *args, **kwargs):
    return _Toy(**json.loads(Path(ckpt).read_text()))
def hf_toy_custom(ckpt, *args, **kwargs):
    return _Toy()
def fetched(refresh=False, *args, **kwargs):
    raise ConnectionError("no network")
""",
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The fake packages. They are removed afterwards, because transformers checks whether torchaudio is installed."""
    for name, text in FILES.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "site")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("s3prl", "torchaudio"):
            del sys.modules[name]


@pytest.fixture
def toy(hub):
    """Open a toy upstream with these properties."""

    def opened(layer=1, **how):
        path = hub / f"toy{len(list(hub.iterdir()))}.json"
        path.write_text(json.dumps(how))
        return S3prlEncoder.load(f"toy_custom:{path}", layer, "cpu")

    return opened


def speech(*lengths):
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, n).astype(np.float32) for n in lengths]


def test_a_hidden_state_of_each_utterance_alone(toy):
    waves = speech(400, 16_000, 719, 720, 9_000)
    for layer, dim in ((0, 4), (1, 6)):
        encoder = toy(layer)
        assert (encoder.dim, encoder.layer, encoder.ahead) == (dim, layer, 0)
        assert "precision" not in encoder.provenance  # which is fp32
        for samples, got in zip(waves, encoder.encode(waves), strict=True):
            with torch.no_grad():
                wanted = encoder.model([torch.from_numpy(samples)])["hidden_states"][layer][0]
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, wanted.numpy())
        places = [place for batch in encoder.features([Wave.of(w) for w in waves]) for place, _ in batch]
        assert places == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="400"):
        encoder.encode(speech(399))


@pytest.mark.parametrize("extra", [-2, -1, 0, 1, 2])
def test_frames_are_the_ladders(toy, extra):
    encoder = toy(extra=extra)
    for n in (1_600, 16_000, 23_333):
        (got,) = encoder.encode(speech(n))
        given = encoder.model([torch.from_numpy(*speech(n))])["hidden_states"][1][0].detach().numpy()
        wanted = frame_count(n)
        assert len(got) == wanted == len(given) - extra
        np.testing.assert_array_equal(got[: len(given)], given[:wanted])
        if extra < 0:  # the last is repeated
            np.testing.assert_array_equal(got[extra:], np.repeat(given[-1:], -extra, axis=0))


def test_too_few_samples_for_the_upstreams_own_window_are_padded(toy):
    assert toy().least == 400
    encoder = toy(window=465)
    assert encoder.least == 800
    (got,) = encoder.encode(speech(450))
    (padded,) = encoder.encode([np.pad(*speech(450), (0, 350))])
    assert len(got) == 1
    np.testing.assert_array_equal(got, padded[:1])
    assert toy(extra=-1).least == 800  # none is left of the one frame that there would be


def test_another_rate_is_refused(toy):
    with pytest.raises(
        UserError, match=r"units\.encoder: hidden state 1 of toy_custom.* gives 398 frames.*99\.5 a second"
    ):
        toy(hop=160)
    with pytest.raises(UserError, match="the ladder needs 50: 49, 2 more or less"):
        fitted(torch.zeros(52, 3), 16_000, "x")
    with pytest.raises(UserError, match="0 frames"):
        fitted(torch.zeros(0, 3), 720, "x")


def test_what_is_not_the_same_twice_is_refused(toy, hub):
    with pytest.raises(UserError, match="other features for the same speech"):
        toy(0, dither=0.1)
    path = hub / "random.json"
    path.write_text('{"seed": null}')
    with pytest.raises(UserError, match="other weights each time"):
        check_upstream(f"toy_custom:{path}", 1)
    path.write_text('{"seed": 3}')
    assert check_upstream(f"toy_custom:{path}", 1)["layer"] == 1


def test_hash_is_of_the_name_and_the_weights(toy, hub):
    same, again, other = toy(seed=1), toy(seed=1), toy(seed=2)
    assert same.hash == again.hash != other.hash
    assert same.name != again.name  # another file
    assert digest("toy", same.model) != digest("toy_custom:x", same.model) == same.hash
    by_name = S3prlEncoder.load("toy", 1, "cpu")
    assert len(by_name.hash) == 64
    same.model.register_buffer("masked_spec_embed", torch.zeros(3))  # in training only
    assert digest(same.name, same.model) == same.hash


def test_provenance(toy):
    encoder = toy(norm=True)
    assert encoder.provenance == {
        "encoder": encoder.name,
        "sha256": encoder.hash,
        "layer": 1,
        "dim": 6,
        "normalise": True,
        "source": "s3prl",
    }
    assert (toy(norm=False).normalise, toy().normalise) == (False, None)


def test_settings_open_it(hub):
    encoder = open_encoder(Units(source="s3prl", encoder="toy", layer=0), "cpu")
    assert isinstance(encoder, S3prlEncoder)
    assert (encoder.name, encoder.layer) == ("toy", 0)


def test_what_cannot_be_opened_is_named(toy, hub, monkeypatch):
    with pytest.raises(UserError, match=r"units\.layer: 2 .* allowed: 0 to 1"):
        toy(2)
    with pytest.raises(UserError, match=r"no upstream 'tpy' among its 4; the nearest: toy"):
        S3prlEncoder.load("tpy", 1, "cpu")
    with pytest.raises(UserError, match=r"ConnectionError: no network\).*whatever HF_HUB_OFFLINE says"):
        S3prlEncoder.load("fetched", 1, "cpu")
    with pytest.raises(UserError, match="no upstream 'Path'"):  # what the hub's modules import
        S3prlEncoder.load("Path", 1, "cpu")
    with pytest.raises(UserError, match=r"cannot open toy_custom:.*fairseq-style"):
        S3prlEncoder.load(f"toy_custom:{hub}/absent", 1, "cpu")


def test_without_s3prl_it_is_said_where_it_is():
    with pytest.raises(UserError, match=r"units\.source: s3prl: .* cannot import s3prl .*make s3prl"):
        S3prlEncoder.load("hubert", 1, "cpu")


def test_names_and_checkpoints():
    assert split_encoder("hubert_large_ll60k") == ("hubert_large_ll60k", None)
    assert split_encoder("hubert_url:https://somewhere/a.pt") == ("hubert_url", "https://somewhere/a.pt")
    for given, said in (
        ("hubert-micro", "no upstream of s3prl"),
        ("facebook/hubert", "no upstream of s3prl"),
        ("hubert:", "no upstream of s3prl"),
        ("hubert_local", "write hubert_local:CHECKPOINT"),
        ("hubert:mine.pt", "would not read mine.pt; .*_local, _custom, _url"),
    ):
        with pytest.raises(UserError, match=r"units\.encoder: .*" + said):
            split_encoder(given)


def _settings(**units):
    return {"units": {"source": "s3prl", "encoder": "hubert"} | units}


def test_a_configuration_is_checked_and_its_paths_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PWD", str(tmp_path))
    (tmp_path / "mine.pt").touch()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.symlink_to(sys.executable)
    found = checked(_settings(encoder="hubert_local:mine.pt", s3prl_python="venv/bin/python", layer=0), ROOT).units
    assert found.encoder == f"hubert_local:{tmp_path}/mine.pt"
    assert found.s3prl_python == str(python)  # and not what the link leads to
    for given in ("hubert", "hf_hubert_custom:someone/hubert", "wavlm_url:https://somewhere/a.pt"):
        assert checked(_settings(encoder=given), ROOT).units.encoder == given
    for wrong, said in (
        ({"encoder": "hubert_local:absent.pt"}, r"units\.encoder: absent\.pt: no such file"),
        ({"encoder": "hubert_local:some/one"}, r"units\.encoder: some/one: no such file"),
        ({"encoder": "hubert-micro"}, "no upstream of s3prl"),
        ({"s3prl_python": "absent/python"}, r"units\.s3prl_python"),
        ({"precision": "bf16"}, "precision: bf16 would not be read"),
        ({"compile": True}, "compile: would not be read"),
        ({"source": "auto", "s3prl_python": "x"}, "s3prl_python: would not be read"),
        ({"source": "auto", "layer": 0}, "layer: 0 is a hidden state of source: s3prl"),
    ):
        with pytest.raises(UserError, match=said):
            checked(_settings(**wrong), ROOT)


def test_which_python_opens_the_encoder_makes_nothing_anew():
    units = load(_settings(s3prl_python="/some/python")).units
    assert "python" not in as_options(units)
    assert interpreter(units, ROOT, conda=True) == "/some/python"
    units = load(_settings()).units
    assert interpreter(units, ROOT, conda=True) == "python"
    assert interpreter(units, ROOT, conda=False) == str(ROOT / VENV / "bin" / "python")
    assert interpreter(Units(), ROOT, conda=False) == "python"


def _python(folder: Path, text: str) -> str:
    """A fake python that runs this shell command."""
    folder.mkdir(exist_ok=True)
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_before_any_job(tmp_path):
    def given(python, **units):
        return load(_settings(s3prl_python=python, **units)).units

    check_s3prl(Units(), tmp_path, conda=False)  # another source asks nothing
    check_s3prl(load(_settings()).units, tmp_path, conda=True)
    with pytest.raises(UserError) as error:
        check_s3prl(load(_settings()).units, tmp_path, conda=False)
    for word in (f"{VENV}/bin/python;", f"make -C {tmp_path} s3prl", f"install -r {tmp_path}/{LOCK}", "--sdm conda"):
        assert word in str(error.value)
    with pytest.raises(UserError, match=r"units\.s3prl_python: there is no /absent"):
        check_s3prl(given("/absent"), tmp_path, conda=False)
    with pytest.raises(UserError, match=r"cannot run s3prl \(ModuleNotFoundError: pydantic\)(?s:.*)make -C"):
        check_s3prl(given(_python(tmp_path, "echo ModuleNotFoundError: pydantic >&2; exit 1")), tmp_path, conda=False)
    with pytest.raises(UserError, match=r"^units\.layer: 7 is not$"):
        told = 'echo some warning >&2; echo "check_s3prl.py: error: units.layer: 7 is not" >&2; exit 2'
        check_s3prl(given(_python(tmp_path, told)), tmp_path, conda=False)
    words = tmp_path / "words"
    check_s3prl(given(_python(tmp_path, f'echo "$PYTHONPATH $@" > {words}'), layer=7), tmp_path, conda=False)
    script = tmp_path / "scripts" / "check_s3prl.py"
    assert words.read_text().split() == [f"{tmp_path}/src", str(script), "--encoder", "hubert", "--layer", "7"]


def test_the_script_says_what_it_is(hub):
    import subprocess

    def run(*words):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{hub / 'site'}"}
        command = [sys.executable, str(ROOT / "scripts" / "check_s3prl.py"), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    said = json.loads(run("--encoder", "toy", "--layer", "1").stdout)
    assert (said["encoder"], said["dim"]) == ("toy", 6)
    assert run().stdout.split() == ["toy", "toy_custom", "hf_toy_custom", "fetched"]
    wrong = run("--encoder", "toy", "--layer", "4")
    assert wrong.returncode == 2
    assert "check_s3prl.py: error: units.layer: 4" in wrong.stderr
