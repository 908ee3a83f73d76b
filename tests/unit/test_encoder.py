"""The encoder: the features of the full model, whatever else is in the batch."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.units.codebook import assign
from speechladder.units.encoder import Encoder, fingerprint
from tests import tiny_hubert

LENGTHS = (400, 16_000, 719, 720, 23_333, 9_000, 16_000)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: (root / kind, tiny_hubert.save(root / kind, kind)) for kind in tiny_hubert.KINDS}


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(0)
    # levels and offsets differ, so that a normalisation over the batch would show
    return [(rng.normal(0.02 * i, 0.02 * (i + 1), n)).astype(np.float32) for i, n in enumerate(LENGTHS)]


@pytest.mark.parametrize("kind", tiny_hubert.KINDS)
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_layer_of_the_full_model(checkpoints, speech, kind, layer):
    folder, full = checkpoints[kind]
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    features = Encoder.load(str(folder), layer, device="cpu").encode(speech)
    for samples, got in zip(speech, features, strict=True):
        values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            wanted = full(values, output_hidden_states=True).hidden_states[layer][0]
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", tiny_hubert.KINDS)
def test_no_batch_changes_a_unit(checkpoints, speech, kind):
    encoder = Encoder.load(str(checkpoints[kind][0]), 3, device="cpu")
    alone = [encoder.encode([samples])[0] for samples in speech]
    centroids = np.concatenate(alone)[::7][:20]
    units = [assign(features, centroids) for features in alone]
    # whole: one batch of all, as a GPU would run it
    with torch.inference_mode():
        whole = encoder._layers(speech)
    for together in (encoder.encode(speech), whole):
        for a, b, u in zip(alone, together, units, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
            assert (assign(b, centroids) == u).all()


def test_padding_would_show_in_a_group_norm(checkpoints, speech):
    """The reason for the convolutions one by one: transformers' own padded batch differs, mask or not."""
    folder, full = checkpoints["base"]
    encoder = Encoder.load(str(folder), 3, device="cpu")
    batch = torch.zeros(2, 16_000)
    batch[0], batch[1, :9_000] = torch.from_numpy(speech[1]), torch.from_numpy(speech[5])
    mask = torch.ones(2, 16_000, dtype=torch.long)
    mask[1, 9_000:] = 0
    with torch.no_grad():
        padded = full(batch, attention_mask=mask).last_hidden_state[1, : frame_count(9_000)]
    assert np.abs(padded.numpy() - encoder.encode([speech[5]])[0]).max() > 1e-2


def test_batches_are_bounded_and_complete(checkpoints):
    encoder = Encoder.load(str(checkpoints["base"][0]), 1, batch_seconds=3.0, device="cpu")
    object.__setattr__(encoder, "device", type("Gpu", (), {"type": "cuda"}))
    lengths = [16_000, 400, 48_000, 16_001, 100_000, 15_000, 16_000]
    batches = list(encoder._batches(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 48_000 for b in batches)
    assert max(map(len, batches)) == 3


@pytest.mark.parametrize("kind", tiny_hubert.KINDS)
def test_frames_are_counted_exactly(checkpoints, kind):
    encoder = Encoder.load(str(checkpoints[kind][0]), 1, device="cpu")
    for n in (400, 719, 720, 1039, 1040, 16_000, 160_000):
        assert encoder.encode([np.zeros(n, np.float32)])[0].shape == (frame_count(n), 16)
    with pytest.raises(ValueError, match="400"):
        encoder.encode([np.zeros(399, np.float32)])


def test_normalisation_without_preprocessor_is_the_releases(tmp_path):
    for kind, wanted in (("base", False), ("large", True)):
        tiny_hubert.save(tmp_path / kind, kind, preprocessor=False)
        assert Encoder.load(str(tmp_path / kind), 1, device="cpu").normalise is wanted


def test_normalisation_is_the_preprocessors(tmp_path, speech):
    tiny_hubert.save(tmp_path / "large", "large")
    encoder = Encoder.load(str(tmp_path / "large"), 2, device="cpu")
    np.testing.assert_allclose(encoder.encode([speech[1]])[0], encoder.encode([speech[1] * 3 + 1])[0], atol=1e-4)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "large")
    plain = Encoder.load(str(tmp_path / "large"), 2, device="cpu")
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
        Encoder.load(str(checkpoints["base"][0]), layer)


def test_what_cannot_be_loaded_is_named(checkpoints, tmp_path):
    with pytest.raises(UserError, match=r"units\.encoder.*no such directory"):
        Encoder.load(str(tmp_path / "absent"), 1)

    def broken(change) -> str:
        folder = tmp_path / f"broken{len(list(tmp_path.iterdir()))}"
        shutil.copytree(checkpoints["base"][0], folder)
        change(folder)
        with pytest.raises(UserError, match=r"units\.encoder") as error:
            Encoder.load(str(folder), 1)
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
    assert "'wav2vec2' model" in broken(lambda f: config(f, model_type="wav2vec2"))
    assert "400 every 320" in broken(lambda f: config(f, conv_stride=[5, 2, 2, 2, 2, 2, 1]))
    assert "k_proj" in broken(drop_a_tensor)
    assert "8000" in broken(lambda f: transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(f))


def test_hub_id_without_network_says_how_to_get_it(monkeypatch):
    import huggingface_hub

    def no_network(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    with pytest.raises(UserError, match="hf download someone/hubert --local-dir"):
        Encoder.load("someone/hubert", 1)
