"""The encoder gives the features of the full model, whatever else is in the batch."""

import json
import shutil
from itertools import product

import numpy as np
import pytest
import torch
import transformers

from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.settings import Units
from speechladder.units.assign import assign
from speechladder.units.decode import Wave
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.encoders.fast import packs
from speechladder.units.encoders.models import fingerprint
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.kmeans.fit import kmeans
from tests import tiny_hubert

LENGTHS = (400, 16_000, 719, 720, 23_333, 9_000, 16_000)
ALL = [*product(("Hubert",), tiny_hubert.KINDS), *product(("WavLM", "Wav2Vec2"), ("base", "large"))]
each = pytest.mark.parametrize("which", ALL, ids="-".join)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    folders = {which: root / "-".join(which) for which in ALL}
    return {
        (family, kind): (folder, tiny_hubert.save(folder, kind, family=family))
        for (family, kind), folder in folders.items()
    }


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(0)
    # levels and offsets differ, so that a normalisation over the batch would be noticed
    return [(rng.normal(0.02 * i, 0.02 * (i + 1), n)).astype(np.float32) for i, n in enumerate(LENGTHS)]


def load(checkpoints, which, layer=3, **how):
    return TransformersEncoder.load(str(checkpoints[which][0]), layer, device="cpu", **how)


def scale(features):
    """The root mean square of features, to which rounding errors are proportional."""
    return float(np.sqrt(np.mean(np.square(features))))


def together(encoder, speech):
    """Encode all of `speech` in one padded batch."""
    (batch,) = encoder.features([Wave.of(samples) for samples in speech])
    return [features.numpy() for _, features in sorted(batch, key=lambda row: row[0])]


@each
@pytest.mark.parametrize("fast", [False, True])
def test_layer_of_the_full_model(checkpoints, speech, which, fast):
    folder, full = checkpoints[which]
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    values = [extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values for samples in speech]
    with torch.no_grad():
        wanted = [full(value, output_hidden_states=True).hidden_states for value in values]
    for layer in (1, 2, 3):
        encoder = load(checkpoints, which, layer, fast=fast)
        assert len(encoder.model.encoder.layers) == layer  # the ones above are never computed
        for states, got in zip(wanted, encoder.encode(speech), strict=True):
            wanted_here = states[layer][0].numpy()
            # float32 sums depend on their order, which each CPU's kernels choose; the next layer differs by 1e-2
            np.testing.assert_allclose(got, wanted_here, rtol=0, atol=1e-4 * scale(wanted_here))


@each
def test_no_batch_changes_a_unit(checkpoints, speech, which):
    encoder = load(checkpoints, which, fast=True)
    alone = [encoder.encode([samples])[0] for samples in speech]
    centroids = np.concatenate(alone)[::7][:20]
    for a, b in zip(alone, together(encoder, speech), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        assert (assign(a, centroids) == assign(b, centroids)).all()


@pytest.mark.parametrize("which", [("Hubert", "base"), ("Hubert", "large"), ("WavLM", "base")], ids="-".join)
def test_bf16_changes_a_unit_in_a_thousand_at_most_with_the_batch(checkpoints, which):
    rng = np.random.default_rng(1)
    speech = [rng.normal(0, 0.1, n).astype(np.float32) for n in rng.integers(12_000, 32_000, 8)]
    exact, encoder = (load(checkpoints, which, precision=p, fast=True) for p in ("fp32", "bf16"))
    fp32 = np.concatenate(exact.encode(speech))
    centroids = kmeans(fp32, 10, 5, 10**6, 0).centroids
    alone = assign(np.concatenate([encoder.encode([samples])[0] for samples in speech]), centroids)
    batch = assign(np.concatenate(together(encoder, speech)), centroids)
    assert (alone == batch).mean() >= 0.999
    # How many units bf16 changes depends on the CPU's kernels: 1 % without AMX, 14 % with it. On both, the chosen
    # centroid is about as near as the nearest; a centroid drawn at random is 1.8 to 2 times as far.
    if not torch.cpu.get_capabilities().get("amx_bf16"):
        assert (assign(fp32, centroids) == batch).mean() > 0.95
    nearest, chosen = (np.linalg.norm(fp32 - centroids[units], axis=1) for units in (assign(fp32, centroids), batch))
    assert chosen.mean() < 1.05 * nearest.mean()
    assert np.abs(fp32 - np.concatenate(together(encoder, speech))).max() > 1e-3 * scale(fp32)  # it is not fp32
    assert encoder.provenance["precision"] == "bf16"
    assert "precision" not in exact.provenance


def test_padding_would_show_in_a_group_norm(checkpoints, speech):
    """Why statistics come from each utterance: a padded batch of transformers differs, even with a mask."""
    _, full = checkpoints["Hubert", "base"]
    encoder = load(checkpoints, ("Hubert", "base"))
    batch = torch.zeros(2, 16_000)
    batch[0], batch[1, :9_000] = torch.from_numpy(speech[1]), torch.from_numpy(speech[5])
    mask = torch.ones(2, 16_000, dtype=torch.long)
    mask[1, 9_000:] = 0
    with torch.no_grad():
        padded = full(batch, attention_mask=mask).last_hidden_state[1, : frame_count(9_000)]
    assert np.abs(padded.numpy() - encoder.encode([speech[5]])[0]).max() > 1e-2


def test_a_front_of_a_batch_is_that_of_each(checkpoints, speech):
    """As on a GPU: all waveforms are padded together, each with its own group norm."""
    for which in (("Hubert", "base"), ("Hubert", "micro"), ("Hubert", "large")):
        front = load(checkpoints, which, fast=True).front
        waves = [torch.from_numpy(samples) for samples in speech]
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        front.packed, front.cpu = False, False
        got = front(padded, [front.fold(wave) for wave in waves])
        for row, wave in zip(got, waves, strict=True):
            alone = front(wave[None], [front.fold(wave)])[0]
            np.testing.assert_allclose(row[: len(alone)].numpy(), alone.numpy(), atol=1e-5)


def test_default_on_a_cpu_is_transformers_own_path(checkpoints):
    """The units of the default run must stay the same to the last bit."""
    encoder = load(checkpoints, ("Hubert", "micro"))
    assert encoder.front is None
    assert encoder.batch == encoder.ahead == 0
    fast = load(checkpoints, ("Hubert", "micro"), fast=True, batch_seconds=600.0)
    assert fast.batch == 16.0  # more is slower on a CPU
    assert load(checkpoints, ("Hubert", "micro"), precision="bf16").front is not None


def test_a_large_model_on_a_cpu_goes_through_onednn(tmp_path):
    config = transformers.HubertConfig(hidden_size=768, num_hidden_layers=3, num_attention_heads=12)
    transformers.HubertModel(config).save_pretrained(tmp_path)
    encoder = TransformersEncoder.load(str(tmp_path), 3, device="cpu")
    assert encoder.front is not None
    dense = encoder.model.encoder.layers[0].feed_forward.intermediate_dense
    assert dense.packed is packs(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("fast", [False, True])
def test_frames_are_counted_exactly(checkpoints, fast):
    for which in ALL:
        encoder = load(checkpoints, which, 1, fast=fast)
        for n in (400, 719, 720, 1039, 1040, 16_000, 48_000):
            assert encoder.encode([np.zeros(n, np.float32)])[0].shape == (frame_count(n), 16)
    with pytest.raises(ValueError, match="400"):
        encoder.encode([np.zeros(399, np.float32)])


def test_settings_open_an_encoder(checkpoints):
    folder = str(checkpoints["WavLM", "base"][0])
    encoder = open_encoder(Units(encoder=folder, layer=2, precision="bf16", chunk_seconds=20), "cpu")
    assert (encoder.precision, encoder.chunk_seconds, encoder.layer) == ("bf16", 20, 2)
    assert open_encoder(Units(encoder=folder, layer=1, source="wavlm"), "cpu").precision == "fp32"
    with pytest.raises(UserError, match=r"units\.source: hubert, but .* is a 'wavlm' model"):
        open_encoder(Units(encoder=folder, layer=1, source="hubert"), "cpu")
    with pytest.raises(UserError, match=r"fp16 needs a GPU"):
        open_encoder(Units(encoder=folder, layer=1, precision="fp16"), "cpu")


def test_compiled_is_the_same(checkpoints, speech, monkeypatch):
    """Test only the wiring, because torch.compile itself takes half a minute."""
    eager = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, dynamic: eager(call, dynamic=dynamic, backend="eager"))
    plain, compiled = (load(checkpoints, ("Hubert", "base"), fast=True, compiled=c) for c in (False, True))
    for a, b in zip(together(plain, speech[:3]), together(compiled, speech[:3]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_normalisation_without_preprocessor_is_the_releases(tmp_path):
    for kind, wanted in (("base", False), ("large", True)):
        tiny_hubert.save(tmp_path / kind, kind, preprocessor=False)
        assert TransformersEncoder.load(str(tmp_path / kind), 1, device="cpu").normalise is wanted


def test_normalisation_is_the_preprocessors(tmp_path, speech):
    tiny_hubert.save(tmp_path / "large", "large")
    encoder = TransformersEncoder.load(str(tmp_path / "large"), 2, device="cpu")
    np.testing.assert_allclose(encoder.encode([speech[1]])[0], encoder.encode([speech[1] * 3 + 1])[0], atol=1e-4)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "large")
    plain = TransformersEncoder.load(str(tmp_path / "large"), 2, device="cpu")
    assert not plain.normalise
    assert np.abs(plain.encode([speech[1]])[0] - plain.encode([speech[1] * 3 + 1])[0]).max() > 1e-3


def test_fingerprint_is_of_the_weights(tmp_path):
    tiny_hubert.save(tmp_path / "a", "base", seed=0)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    tiny_hubert.save(tmp_path / "c", "base", seed=1)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")


@pytest.mark.parametrize("layer", [0, 4])
def test_layer_out_of_range(checkpoints, layer):
    with pytest.raises(UserError, match=r"units\.layer.*1 to 3"):
        TransformersEncoder.load(str(checkpoints["Hubert", "base"][0]), layer)


def test_what_cannot_be_loaded_is_named(checkpoints, tmp_path):
    with pytest.raises(UserError, match=r"units\.encoder.*no such folder"):
        TransformersEncoder.load(str(tmp_path / "absent"), 1)

    def broken(change) -> str:
        folder = tmp_path / f"broken{len(list(tmp_path.iterdir()))}"
        shutil.copytree(checkpoints["Hubert", "base"][0], folder)
        change(folder)
        with pytest.raises(UserError, match=r"units\.encoder") as error:
            TransformersEncoder.load(str(folder), 1)
        return str(error.value)

    def config(folder, **changes):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def truncate(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])

    def drop_a_tensor(folder):
        from safetensors.numpy import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        tensors.pop("encoder.layers.0.attention.k_proj.weight")
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    assert "cannot be loaded" in broken(truncate)
    assert "no weights" in broken(lambda f: (f / "model.safetensors").unlink())
    assert "config.json" in broken(lambda f: (f / "config.json").unlink())
    assert "'unispeech' model" in broken(lambda f: config(f, model_type="unispeech"))
    assert "400 every 320" in broken(lambda f: config(f, conv_stride=[5, 2, 2, 2, 2, 2, 1]))
    assert "'relu'; the units need gelu" in broken(lambda f: config(f, feat_extract_activation="relu"))
    assert "k_proj" in broken(drop_a_tensor)
    assert "8000" in broken(lambda f: transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(f))


def test_hub_id_without_network_says_how_to_get_it(monkeypatch):
    import huggingface_hub

    def no_network(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"units\.encoder: someone/hubert .*hf download someone/hubert --local-dir"):
        TransformersEncoder.load("someone/hubert", 1)
