"""The same weights give the same units in s3prl's environment and in ours. Run by `make test-s3prl`."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from speechladder.io.audio import frame_count
from tests import fairseq_hubert, tiny_hubert
from tests.e2e.conftest import ROOT, run

PYTHON = os.environ.get("S3PRL_PYTHON", "")
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not PYTHON, reason="needs .venv-s3prl: make test-s3prl")]

KINDS = [("Hubert", kind) for kind in tiny_hubert.KINDS] + [("Wav2Vec2", kind) for kind in ("base", "large")]
LAYERS = 3
LENGTHS = (400, 16_000, 719, 720, 23_333, 48_000)
ENCODE = """
import json, sys
import numpy as np
from speechladder.units.encoders.s3prl import S3prlEncoder
speech = list(np.load("speech.npz").values())
found, about = {}, {}
for name in json.loads(sys.argv[1]):
    for layer in range(4):
        encoder = S3prlEncoder.load(name, layer, "cpu")
        about[f"{name} {layer}"] = [encoder.least, encoder.provenance]
        for at, features in enumerate(encoder.encode(speech)):
            found[f"{name} {layer} {at}"] = features
np.savez("features.npz", **found)
print(json.dumps(about))
"""
CHECK = """
import json, sys
from speechladder.io.errors import UserError
from speechladder.units.encoders.s3prl import check_upstream
for name, layer in json.loads(sys.argv[1]):
    try:
        check_upstream(name, layer)
    except UserError as error:
        print(json.dumps(str(error)))
"""


def there(*words, cwd=ROOT):
    """Run the Python of s3prl's environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([PYTHON, *map(str, words)], env=environment, cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """(folder of the checkpoints, speech, features by name, layer and index, provenance of each encoder)."""
    folder = tmp_path_factory.mktemp("s3prl")
    names = []
    for family, kind in KINDS:
        # other than the convolutions' width, as in the releases: fairseq has no projection where they are equal
        model = tiny_hubert.save(folder / f"{family}-{kind}", kind, LAYERS, family=family, width=24)
        names.append(f"hf_{family.lower()}_custom:{family}-{kind}")
        if (family, kind) in (("Hubert", "base"), ("Hubert", "large")):
            fairseq_hubert.save(model, folder / f"{kind}.pt", normalise=kind == "large")
            names.append(f"hubert_local:{kind}.pt")
    rng = np.random.default_rng(0)
    speech = [rng.normal(0.02 * i, 0.02 * (i + 1), n).astype(np.float32) for i, n in enumerate(LENGTHS)]
    np.savez(folder / "speech.npz", *speech)
    done = there("-W", "ignore", "-c", ENCODE, json.dumps(names), cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, speech, dict(np.load(folder / "features.npz")), json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("which", KINDS, ids="-".join)
def test_s3prl_and_transformers_give_the_same_hidden_states(encoded, which):
    from speechladder.units.encoders.transformers import TransformersEncoder

    folder, speech, found, about = encoded
    family, kind = which
    name = f"hf_{family.lower()}_custom:{family}-{kind}"
    for layer in range(1, LAYERS + 1):
        encoder = TransformersEncoder.load(str(folder / f"{family}-{kind}"), layer, device="cpu")
        for at, features in enumerate(encoder.encode(speech)):
            np.testing.assert_allclose(found[f"{name} {layer} {at}"], features, atol=1e-5)
        least, provenance = about[f"{name} {layer}"]
        assert least == 400
        assert (provenance["dim"], provenance["normalise"]) == (encoder.dim, encoder.normalise)
    assert np.abs(found[f"{name} 0 1"] - found[f"{name} 1 1"]).max() > 1e-2  # they are layers, not one and the same


@pytest.mark.parametrize("kind", ["base", "large"])
def test_s3prls_own_hubert_gives_the_same_hidden_states(encoded, kind):
    """Its copy of fairseq's HuBERT, with which s3prl opens hubert_large_ll60k and most other names."""
    import torch
    import transformers

    from speechladder.units.encoders.transformers import TransformersEncoder

    folder, speech, found, about = encoded
    name, place = f"hubert_local:{kind}.pt", str(folder / f"Hubert-{kind}")
    for layer in range(1, LAYERS + (kind == "base")):
        for at, features in enumerate(TransformersEncoder.load(place, layer, device="cpu").encode(speech)):
            np.testing.assert_allclose(found[f"{name} {layer} {at}"], features, atol=1e-5)
    # its last state is normalised once more in the large kind: docs/units.md
    model = transformers.HubertModel.from_pretrained(place).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(place)
    for at, samples in enumerate(speech):
        with torch.no_grad():
            values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
            wanted = model(values).last_hidden_state[0].numpy()
        assert len(wanted) == frame_count(len(samples))
        np.testing.assert_allclose(found[f"{name} {LAYERS} {at}"], wanted, atol=1e-5)
    assert about[f"{name} 1"][1]["normalise"] is (kind == "large")


def test_what_s3prl_cannot_give_is_said(encoded, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = encoded[0]
    known = there(ROOT / "scripts" / "check_s3prl.py")
    assert {"hubert_large_ll60k", "wavlm_large", "hf_hubert_custom", "fbank"} <= set(known.stdout.split())
    assert not {"Path", "FileLock", "load_and_convert_fairseq_ckpt"} & set(known.stdout.split())
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (folder / "Hubert-base").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    tensors = load_file(broken / "model.safetensors")
    tensors.pop("encoder.layers.0.attention.k_proj.weight")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    wrong = (
        ("hubert_larg_ll60k", 0, "no upstream 'hubert_larg_ll60k'"),
        ("fbank", 0, "a second; the ladder needs 50"),
        ("hf_hubert_custom:Hubert-base", 4, "units.layer: 4 is not a hidden state"),
        ("hubert_local:Hubert-base", 0, "fairseq-style"),
        (f"hf_hubert_custom:{broken}", 1, "other weights each time"),
    )
    done = there("-c", CHECK, json.dumps([row[:2] for row in wrong]), cwd=folder)
    for line, (*_, said) in zip(done.stdout.splitlines(), wrong, strict=True):
        assert said in json.loads(line)


def test_the_workflow_runs_it_where_it_is(tmp_path, monkeypatch):
    """With the weights of the shipped encoder, the units of both environments are the same."""
    from speechladder.corpora.cuts import read_cuts
    from speechladder.units.codebook import load_codebook
    from speechladder.units.encoders.transformers import TransformersEncoder

    encoder = "hf_hubert_custom:src/speechladder/assets/hubert-micro"
    units = f"units={{source: s3prl, encoder: {encoder!r}, s3prl_python: {PYTHON!r}}}"
    sweep = "sweep={layers: [2], clusters: [32], seeds: [0], train: []}"
    targets = ("results/units/0.parquet", "results/units_sweep/layer2/quality.json")
    run(tmp_path, "--config", units, sweep, "--", *targets)
    book = load_codebook(tmp_path / "results/units/centroids.safetensors")
    assert book.provenance["sample"]["source"] == "s3prl"
    ours = TransformersEncoder.load("hubert-micro", 1, device="cpu")
    table = pq.read_table(tmp_path / "results/units/0.parquet")
    assert table.num_rows > 10
    theirs = {row["id"]: row["units"] for row in table.to_pylist()}
    monkeypatch.chdir(tmp_path)
    for cut in read_cuts(tmp_path / "results/corpus/cuts.0.jsonl.gz"):
        if cut.id in theirs:
            assert book.assign(ours.encode([cut.samples()])[0]).tolist() == theirs.pop(cut.id)
    assert not theirs
    assert set(json.loads((tmp_path / targets[1]).read_text())) == {"layer2-k32-none-seed0", "layer2-k32-speaker-seed0"}


def test_no_job_starts_where_s3prl_is_not(tmp_path):
    """The Python of the main environment has no s3prl."""
    units = f"units={{source: s3prl, encoder: hubert, s3prl_python: {sys.executable!r}}}"
    out = run(tmp_path, "--config", units, "--", "results/units/0.parquet", check=False)
    assert "cannot import s3prl" in out
    assert not (tmp_path / "results").exists()
