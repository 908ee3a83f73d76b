"""Pre-training of hubert-micro at a tiny size."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.units.mfcc import mfcc
from tests.hubert_micro_recipe import data, network, pretrain

Architecture, Augmentation, Sampler = network.Architecture, data.Augmentation, data.Sampler

TINY = Architecture(
    bands=8,
    conv_dim=(32, 32),
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    position_kernel=5,
    position_groups=4,
)
QUIET = Augmentation(warp_share=0.0, noise_share=0.0, tilt=0.0)


def tones(number: int, seconds: float, seed: int = 0) -> list:
    """Utterances of tones of 100 ms at four pitches, which masked prediction can learn in seconds."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(number):
        pitches = np.repeat(rng.choice([200.0, 600.0, 1500.0, 4000.0], round(seconds * 10)), 1600)
        wave = np.sin(2 * np.pi * np.cumsum(pitches) / 16_000) + rng.normal(0, 0.01, len(pitches))
        rows.append((f"u{i}", f"s{i % 2}", (8000 * wave).astype(np.int16)))
    return data.weighted_utterances(rows, 1.0)


def recipe(steps: int = 30) -> pretrain.Recipe:
    one = pretrain.Iteration(steps, batch=4, crop_seconds=1.0, lr=3e-3, warmup=5, mask_span=3, sample_frames=500)
    return pretrain.Recipe(
        architecture=TINY,
        augmentation=QUIET,
        frontend_steps=8,
        frontend_crop_seconds=1.0,
        iterations=(
            replace(one, clusters=(6, 4)),
            replace(one, clusters=(8,), layer=1, warps=(1.0, 1.1), apart=True),
        ),
    )


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_two_iterations_learn_and_load_in_transformers(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "LOG_EVERY", 5)
    from transformers import HubertModel, Wav2Vec2FeatureExtractor

    folder = pretrain.pretrain(recipe(), tones(6, 3.0), tmp_path)
    assert folder == tmp_path / "iteration2" / "model"
    for number in (1, 2):
        rows = list(read_jsonl(tmp_path / f"iteration{number}" / "log.jsonl"))
        assert rows[-1]["step"] == 30
        assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    model = HubertModel.from_pretrained(folder)
    assert Wav2Vec2FeatureExtractor.from_pretrained(folder).do_normalize
    for samples in (400, 720, 5_000):
        assert model(torch.randn(1, samples)).last_hidden_state.shape == (1, frame_count(samples), 32)
    assert not (tmp_path / "iteration1" / "checkpoint.pt").exists()


def killed_at_the_ninth_step(monkeypatch):
    """A training with a checkpoint each five steps is interrupted; returns the shapes of its batches and `_step`."""
    step, shapes = pretrain._step, []

    def killed(*args):
        shapes.append(args[2][0].shape)
        if len(shapes) == 9:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(pretrain, "CHECKPOINT_EVERY", 5)
    monkeypatch.setattr(pretrain, "_step", killed)
    return shapes, step


def test_resumed_equals_uninterrupted(tmp_path, monkeypatch):
    utterances, whole = tones(4, 2.0), recipe(12)
    straight = network.load_model(pretrain.pretrain(whole, utterances, tmp_path / "a")).state_dict()

    _, step = killed_at_the_ninth_step(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(whole, utterances, tmp_path / "b")
    assert (tmp_path / "b" / "iteration1" / "checkpoint.pt").is_file()
    monkeypatch.setattr(pretrain, "_step", step)
    resumed = network.load_model(pretrain.pretrain(whole, utterances, tmp_path / "b")).state_dict()
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_resumed_equals_uninterrupted_from_a_folder_on_crops_of_many_lengths(tmp_path, monkeypatch):
    """With a start, a fixed norm and the first targets from a layer."""
    utterances = tones(4, 2.0)
    network.export_model(network.build_model(TINY, 5), tmp_path / "before")
    one = replace(recipe(12).iterations[1], crop_shortest=0.3)
    whole = replace(recipe(), iterations=(one,), start=str(tmp_path / "before"), headroom=3.0)
    straight = network.load_model(pretrain.pretrain(whole, utterances, tmp_path / "a")).state_dict()
    assert not any(row["stage"] == "front end" for row in read_jsonl(tmp_path / "a" / "iteration1" / "log.jsonl"))
    assert not (tmp_path / "a" / "log.jsonl").exists()  # the front end of a start is not warmed up

    calls, step = killed_at_the_ninth_step(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(whole, utterances, tmp_path / "b")
    monkeypatch.setattr(pretrain, "_step", step)
    resumed = network.load_model(pretrain.pretrain(whole, utterances, tmp_path / "b")).state_dict()
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)
    assert len(set(calls)) > 5


def test_a_start_gives_the_weights(tmp_path):
    """With no learning, what comes out is what went in."""
    network.export_model(network.build_model(TINY, 5), tmp_path / "before")
    still = replace(recipe(2).iterations[1], lr=0.0)
    whole = replace(recipe(), iterations=(still,), start=str(tmp_path / "before"))
    after = network.load_model(pretrain.pretrain(whole, tones(4, 2.0), tmp_path / "a")).state_dict()
    before = network.load_model(tmp_path / "before").state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_start_that_is_no_model(tmp_path):
    (tmp_path / "recipe.yaml").write_text("start: models/none\niterations: [{steps: 1, layer: 1}]\n")
    with pytest.raises(UserError, match=r"recipe.yaml: start: .*models/none has no config.json; write hubert-micro or"):
        pretrain.read_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(UserError, match="layer: 1 of no model"):
        pretrain.pretrain(replace(recipe(), iterations=recipe().iterations[1:]), tones(2, 2.0), tmp_path)


def test_recipes_are_readable():
    """Every key is known, and a start is found."""
    folder = Path(pretrain.__file__).parent
    found = {path.name: pretrain.read_recipe(path) for path in folder.glob("*.yaml")}
    assert set(found) == {"short-input.yaml", "gpu.yaml"}
    for read, sources in found.values():
        assert Path(read.start, "model.safetensors").is_file()
        assert {"natural", "natural_share", "synthetic_hours", "books", "word_lists"} == set(sources)


@pytest.mark.parametrize(("headroom", "most"), [(2.0, 0.15), (30.0, 0.01)])
def test_a_fixed_norm_computes_the_same(headroom, most):
    """On the recording whose statistics it has; the more headroom, the nearer."""
    model = network.build_model(TINY, 0).eval()
    torch.nn.init.normal_(model.feature_extractor.conv_layers[0].layer_norm.bias)
    wave = np.random.default_rng(0).normal(0.1, 0.05, 16_000).astype(np.float32)
    fixed = network.fix_norm(model, [wave], headroom).eval()
    x = torch.from_numpy(network.normal(wave))[None]
    with torch.inference_mode():
        before = model.feature_extractor(x)
        after, spare = fixed.feature_extractor(x).split((before.shape[1], 2), dim=1)
    assert torch.linalg.norm(after - before) < most * torch.linalg.norm(before)
    assert not spare.any()
    before, after = (network.layer_features(m, wave, 2) for m in (model, fixed))
    # the norm of the projection has two more channels, which matters with the 32 of this model
    assert np.linalg.norm(after - before) < 0.2 * np.linalg.norm(before - before.mean(0))


def test_with_a_fixed_norm_a_frame_does_not_depend_on_the_length():
    """A second cut out of three has the frames that it had there; with a group norm it has not."""
    model = network.build_model(TINY, 0).eval()
    wave = tones(1, 3.0)[0].wave()
    fixed = network.fix_norm(model, [wave], 3.0).eval()
    with torch.inference_mode():
        for front, local in ((fixed.feature_extractor, True), (model.feature_extractor, False)):
            whole, part = (front(torch.from_numpy(x)[None])[0].T for x in (wave, wave[320 * 50 : 320 * 100]))
            assert torch.allclose(whole[50 : 50 + len(part)], part, atol=1e-4) is local


def test_front_end_frames_like_hubert_and_starts_as_filters():
    model = network.build_model(TINY, 0)
    for samples in (400, 719, 720, 16_000, 33_333):
        assert model.feature_extractor(torch.randn(1, samples)).shape[-1] == frame_count(samples)
    filters = network.gabor(8, 240)
    np.testing.assert_allclose(model.feature_extractor.conv_layers[0].conv.weight[:, 0].detach(), filters)
    spectrum = np.abs(np.fft.rfft(filters[::4], 16_000))
    assert (np.diff(spectrum.argmax(axis=1)) > 0).all()


def test_a_layer_is_what_transformers_gives():
    model = network.build_model(TINY, 0).eval()
    wave = np.random.default_rng(0).normal(0.1, 0.05, 8_000).astype(np.float32)
    normalised = torch.from_numpy((wave - wave.mean()) / wave.std())[None]
    with torch.inference_mode():
        wanted = model(normalised, output_hidden_states=True).hidden_states[1][0]
    found = network.layer_features(model, wave, 1)
    assert np.linalg.norm(found - wanted.numpy()) < 0.02 * np.linalg.norm(wanted)  # bf16


def test_warped_features_keep_their_time():
    """If the signal changes in the middle, so do the features, whatever speeds are averaged."""
    model = network.build_model(TINY, 0).eval()
    model.encoder.layers = model.encoder.layers[:1]
    rng = np.random.default_rng(0)
    wave = np.concatenate([np.sin(np.arange(24_000) / 4), rng.normal(0, 0.7, 24_000)]).astype(np.float32)
    features = network.warped_features(model, wave, 1, (0.8, 1.25))
    assert features.shape == (frame_count(len(wave)), 32)
    left, right = features[20:55].mean(0), features[95:130].mean(0)
    side = np.linalg.norm(features - left, axis=1) < np.linalg.norm(features - right, axis=1)
    assert abs(int(side[5:-5].sum()) + 5 - 75) <= 2


def test_warped_crops_keep_their_labels():
    """The targets are the pitches of tones: after any warp the label is that of the tone under the frame."""
    pitches = np.repeat([300.0, 1200.0, 3000.0, 700.0, 2000.0, 5000.0], 8000)
    wave = np.sin(2 * np.pi * np.cumsum(pitches) / 16_000)
    (utterance,) = data.weighted_utterances([("u", "s", (8000 * wave).astype(np.int16))], 1.0)
    centres = np.arange(frame_count(len(wave))) * 320 + 200
    targets = {"u": pitches[centres].astype(np.uint16)[None]}
    sampler = Sampler([utterance], targets, 2.0, Augmentation(warp=0.15, warp_share=1.0, noise_share=0.0), seed=3)
    for step in range(5):
        x, labels = sampler.batch(step, 1)
        spectrum = np.abs(
            np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x[0], 400)[::320] * np.hanning(400), 4000)
        )
        heard = spectrum.argmax(axis=1) * 4.0
        ratio = heard / labels[0, 0]
        steady = np.abs(ratio / np.median(ratio) - 1) < 0.05
        assert 0.85 < np.median(ratio) < 1.18
        assert steady.mean() > 0.93  # frames across two tones may be heard as either


def test_batches_depend_on_seed_and_step_alone():
    utterances = tones(3, 2.0)
    targets = {u.id: np.zeros((1, frame_count(len(u.samples))), np.uint16) for u in utterances}
    one, two = (Sampler(utterances, targets, 1.0, Augmentation(), seed=7) for _ in range(2))
    one.batch(0, 2)
    np.testing.assert_array_equal(one.batch(5, 2)[0], two.batch(5, 2)[0])
    assert not np.array_equal(one.batch(5, 2)[0], one.batch(6, 2)[0])


def test_crops_of_many_lengths():
    """Each batch has crops of one length, and all have about as many frames."""
    utterances = tones(3, 3.0)
    targets = {u.id: np.zeros((1, frame_count(len(u.samples))), np.uint16) for u in utterances}
    sampler = Sampler(utterances, targets, 2.0, Augmentation(), seed=7, shortest=0.4)
    shapes = [x.shape for x, _ in (sampler.batch(step, 4) for step in range(60))]
    seconds = np.array([samples / 16_000 for _, samples in shapes])
    assert 0.38 <= seconds.min() < 0.5
    assert 1.6 < seconds.max() <= 2.0
    assert 0.7 < np.median(seconds) < 1.15  # sqrt(0.4 * 2.0) is 0.89
    frames = [crops * frame_count(samples) for crops, samples in shapes]
    assert max(frames) < 1.4 * min(frames)
    x, labels = sampler.batch(3, 4)
    assert labels.shape == (len(x), 1, frame_count(x.shape[1]))


@pytest.mark.parametrize("shortest", [0.01, 3.0])
def test_a_shortest_crop_out_of_range(shortest):
    with pytest.raises(UserError, match="crop_shortest"):
        Sampler(tones(1, 3.0), None, 2.0, QUIET, 0, shortest)


def test_processes_draw_the_same_batches():
    utterances = tones(3, 2.0)
    targets = {u.id: np.zeros((1, frame_count(len(u.samples))), np.uint16) for u in utterances}
    sampler = Sampler(utterances, targets, 1.0, Augmentation(), seed=7, shortest=0.4)
    iteration = pretrain.Iteration(steps=5, batch=2)
    here, ahead = (list(pretrain.batches(sampler, iteration, 0, 2, torch.device("cpu"), n)) for n in (0, 1))
    assert len(here) == 3
    for one, two in zip(here, ahead, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_processes_draw_ahead_of_a_gpu_only():
    assert pretrain.workers_for(torch.device("cpu")) == 0
    assert pretrain.workers_for(torch.device("cuda")) == min(16, len(os.sched_getaffinity(0)) - 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_trains_on_a_gpu(tmp_path):
    folder = pretrain.pretrain(recipe(), tones(6, 3.0), tmp_path, "cuda")
    rows = list(read_jsonl(tmp_path / "iteration2" / "log.jsonl"))
    assert rows[-1]["loss"] < 3.0
    assert network.load_model(folder).device.type == "cpu"


def test_weights_favour_the_rare_speaker_and_add_up():
    rows = [("a", "long", np.zeros(160_000, np.int16)), ("b", "short", np.zeros(16_000, np.int16))]
    a, b = data.weighted_utterances(rows, 0.6)
    assert b.weight > a.weight
    assert a.weight * 10 + b.weight * 1 == pytest.approx(0.6)


def test_too_short_for_the_crops():
    with pytest.raises(UserError, match="shorten the crops"):
        Sampler(tones(1, 0.5), None, 1.0, QUIET, 0)


def test_targets_are_clusters_of_the_frames():
    utterances = tones(3, 2.0)
    found = pretrain.cluster_targets(utterances, mfcc, (5, 3), 200, 0)
    for u in utterances:
        assert found[u.id].shape == (2, frame_count(len(u.samples)))
        assert len(set(found[u.id][0].tolist())) > 2


def test_domains_apart_share_no_label():
    natural = tones(2, 2.0)
    spoken = [replace(u, id=f"tts-{u.id}", domain="synthetic") for u in tones(2, 2.0, seed=1)]
    found = pretrain.cluster_targets(natural + spoken, mfcc, (5, 3), 200, 0, apart=True)
    for row, k in enumerate((5, 3)):
        assert max(found[u.id][row].max() for u in natural) < k
        assert {int(v) // k for u in spoken for v in found[u.id][row]} == {1}


def test_masks_are_spans():
    masked = pretrain.draw_masks(np.random.default_rng(0), 200, 100, 0.07, 10)
    assert 0.4 < masked.mean() < 0.6
    assert masked.any(axis=1).all()


def test_sentences_of_books(tmp_path):
    import gzip

    path = tmp_path / "book.txt.gz"
    path.write_bytes(
        gzip.compress(b"Too short. This one has six good words here.\nCHAPTER IV begins with this long heading.")
    )
    assert data.read_sentences([path], 0) == ["This one has six good words here."]


def test_word_lists_are_the_longer_words_with_a_pause_after_each():
    assert data.word_list("The old Farmer sees a river.", "The farmer waits!") == "farmer. sees. river. waits."


def test_a_share_of_the_utterances_are_word_lists(tmp_path, monkeypatch):
    from speechladder.corpora import speak as speaking

    said = []

    def speak(text, voice, seed):
        said.append(text)
        return speaking.Spoken(np.zeros(16_000, np.float32), [], [])

    monkeypatch.setattr(speaking, "speak", speak)
    data.synthesise(["The old farmer sees a river."] * 40, 10 / 3600, 0, tmp_path, word_lists=0.3)
    assert len(said) == 10
    assert sum(text.startswith("farmer. ") for text in said) == 3
