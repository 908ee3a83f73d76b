"""Features are normalised for assignment as for k-means, and only by statistics that fit."""

import numpy as np
import pytest

from speechladder.io.errors import UserError
from speechladder.units.normalise import Normaliser, SpeakerSums

ENCODER = {"encoder": "hubert-micro", "sha256": "a" * 64, "layer": 3, "dim": 5, "normalise": False}


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(200, 5)) * [1, 2, 3, 0.1, 7] + [0, 5, -5, 100, 1]).astype(np.float32)


@pytest.fixture
def speakers(features, tmp_path):
    """Statistics of two speakers; the features of the second have another mean and twice the deviation."""
    found = SpeakerSums()
    found.add("anna", features[:80])
    found.add("anna", features[80:])
    found.add("bert", 2 * features + 3)
    found.write(tmp_path / "speakers.safetensors", ENCODER)
    return tmp_path / "speakers.safetensors"


def test_none_changes_nothing(features):
    assert Normaliser.none().apply(features, "anna") is features
    assert Normaliser.none().provenance == {}
    assert Normaliser.named("none") == Normaliser.matching({}) == Normaliser.none()


def test_an_utterance_has_mean_0_and_variance_1(features):
    got = Normaliser.utterance().apply(features, "anybody")
    assert got.dtype == np.float32
    assert got.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-4)
    assert got.std(axis=0) == pytest.approx(np.ones(5), abs=1e-3)
    moved = Normaliser.utterance().apply(3 * features - 7, "anybody")
    assert moved == pytest.approx(got, abs=1e-3)  # what normalisation is for
    assert (Normaliser.utterance().apply(features[:1], "x") == 0).all()  # a single frame is its own mean
    assert Normaliser.utterance().apply(features[:0], "x").shape == (0, 5)


def test_a_speaker_is_normalised_by_all_that_he_said(features, speakers):
    normaliser = Normaliser.load(speakers)
    anna, bert = normaliser.apply(features, "anna"), normaliser.apply(2 * features + 3, "bert")
    assert anna.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-3)
    assert anna.std(axis=0) == pytest.approx(np.ones(5), abs=1e-3)
    assert bert == pytest.approx(anna, abs=1e-2)
    # a part of what she said keeps its place among the rest: unlike utterance
    part = normaliser.apply(features[:10], "anna")
    assert part == pytest.approx(anna[:10])
    with pytest.raises(UserError, match=r"speakers\.safetensors: no statistics of speaker 'carl'.*utterance"):
        normaliser.apply(features, "carl")


def test_tensors_are_taken_too(features, speakers):
    import torch

    for normaliser in (Normaliser.none(), Normaliser.utterance(), Normaliser.load(speakers)):
        got = normaliser.apply(torch.from_numpy(features), "bert")
        assert got.dtype == torch.float32
        assert got.numpy() == pytest.approx(normaliser.apply(features, "bert"), abs=1e-4)


def test_voices_come_after_the_corpus(features, speakers, tmp_path):
    voices = SpeakerSums()
    voices.add("bert", features)
    voices.add("robot", 5 * features)
    voices.write(tmp_path / "voices.safetensors", ENCODER)
    both = Normaliser.load(speakers, tmp_path / "voices.safetensors")
    assert set(both.statistics) == {"anna", "bert", "robot"}
    assert (both.apply(features, "bert") == Normaliser.load(speakers).apply(features, "bert")).all()
    assert both.digest == Normaliser.load(speakers).digest  # the codebook's: items came later
    nobody = SpeakerSums()
    nobody.write(tmp_path / "nobody.safetensors", ENCODER)
    assert set(Normaliser.load(speakers, tmp_path / "nobody.safetensors").statistics) == {"anna", "bert"}
    voices.write(tmp_path / "other.safetensors", {**ENCODER, "layer": 4})
    with pytest.raises(UserError, match=r"other\.safetensors: statistics of another encoder.*layer"):
        Normaliser.load(speakers, tmp_path / "other.safetensors")


def test_a_codebook_gets_what_it_was_trained_with(features, speakers, tmp_path):
    found = Normaliser.load(speakers)
    assert found.provenance == {"normalisation": "speaker", "speaker_statistics": found.digest}
    assert Normaliser.matching(found.provenance, [speakers]).kind == "speaker"
    assert Normaliser.matching({"normalisation": "utterance"}).kind == "utterance"
    with pytest.raises(UserError, match="--speakers"):
        Normaliser.matching(found.provenance)
    again = SpeakerSums()
    again.add("anna", features[:50])
    again.write(tmp_path / "again.safetensors", ENCODER)
    with pytest.raises(UserError, match=r"again\.safetensors: not the speakers' statistics"):
        Normaliser.matching(found.provenance, [tmp_path / "again.safetensors"])
    with pytest.raises(UserError, match="'speakr' is not one of"):
        Normaliser.named("speakr")
    with pytest.raises(UserError, match="no such file"):
        Normaliser.named("speaker", [tmp_path / "absent.safetensors"])
