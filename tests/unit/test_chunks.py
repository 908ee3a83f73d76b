"""Long recordings in pieces: every frame is kept once, and all but attention is exact."""

import numpy as np
import pytest
import torch

from speechladder.units.assign import assign
from speechladder.units.encoders.chunks import MARGIN, pieces
from speechladder.units.encoders.fast import Front
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.kmeans.fit import kmeans
from tests import tiny_hubert


@pytest.mark.parametrize("frames", [1, 499, 500, 501, 699, 700, 1000, 4321])
def test_every_frame_is_kept_once_with_its_margins(frames):
    cut = pieces(3, frames, 500)
    kept = [frame for piece in cut for frame in range(piece.keep, piece.stop)]
    assert kept == list(range(frames))
    for piece in cut:
        assert piece.utterance == 3
        assert piece.frames == min(frames, 500)
        assert piece.keep - piece.first >= (MARGIN if piece.first else 0)
        assert piece.last - piece.stop >= (MARGIN if piece.last < frames else 0)
    assert cut[0].whole is (frames <= 500)


def test_a_piece_needs_room_between_its_margins():
    assert len(pieces(0, 10**6, None)) == 1
    with pytest.raises(ValueError, match="no longer than two margins"):
        pieces(0, 1000, 2 * MARGIN)


@pytest.fixture(scope="module")
def speech():
    """20 s in which loudness, pitch and offset change all the time."""
    time = np.arange(320_000) / 16_000
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * (200 + 40 * time) * time) * np.exp(-(time % 3)) + 0.1 * rng.normal(size=len(time))
    return (0.05 * time + 0.2 * wave).astype(np.float32)


@pytest.mark.parametrize("kind", tiny_hubert.KINDS)
@pytest.mark.parametrize("fast", [False, True])
def test_without_attention_pieces_are_exact(tmp_path, speech, kind, fast):
    """The margin covers normalisation, group norm, convolutions and the positional convolution."""
    tiny_hubert.save(tmp_path, kind)

    def load(chunk_seconds):
        encoder = TransformersEncoder.load(str(tmp_path), 3, device="cpu", chunk_seconds=chunk_seconds, fast=fast)
        for layer in encoder.model.encoder.layers:
            layer.attention.forward = lambda hidden_states, **_: (torch.zeros_like(hidden_states), None)
        return encoder

    whole, cut = (load(seconds).encode([speech, speech[:16_000]]) for seconds in (None, 10.0))
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # float32, in other blocks
    assert len(whole[0]) == 999


@pytest.mark.parametrize("fast", [False, True])
def test_the_statistics_of_a_recording_are_computed_once(tmp_path, speech, monkeypatch, fast):
    """Otherwise the work on a recording in pieces would grow with the square of its length."""
    folded = []
    fold = Front.fold
    monkeypatch.setattr(Front, "fold", lambda front, wave: folded.append(len(wave)) or fold(front, wave))
    tiny_hubert.save(tmp_path, "base")
    encoder = TransformersEncoder.load(str(tmp_path), 1, device="cpu", chunk_seconds=10.0, fast=fast)
    once = encoder.encode([speech, speech[:300_000]])
    assert sorted(folded) == [300_000, 320_000]
    again = encoder.encode([0.5 * speech[::-1], speech])  # kept within a call alone
    assert len(folded) == 4
    np.testing.assert_array_equal(again[1], once[0])


def test_without_a_margin_they_would_not_be(tmp_path, speech, monkeypatch):
    """The margin is needed because the positional convolution sees the zeros beyond a piece."""
    from speechladder.units.encoders import transformers as module

    monkeypatch.setattr(module, "MARGIN", 0)
    tiny_hubert.save(tmp_path, "base")
    encoder = TransformersEncoder.load(str(tmp_path), 1, device="cpu", chunk_seconds=10.0)
    encoder.model.config.num_conv_pos_embeddings = 0
    encoder.model.encoder.layers[0].attention.forward = lambda hidden_states, **_: (torch.zeros_like(hidden_states), 0)
    cut = encoder.encode([speech])[0]
    object.__setattr__(encoder, "chunk_seconds", None)
    far = np.abs(cut - encoder.encode([speech])[0]).max(axis=1)
    assert far[500] > 1e-3
    assert far[:490].max() < 1e-4


@pytest.mark.shared
def test_units_of_pieces_are_nearly_those_of_the_whole(shared_data):
    """hubert-micro on 80 s of one reader in pieces of 30 s; attention, which sees less, changes a few units."""
    from speechladder.io.audio import read_audio

    files = sorted((shared_data / "librispeech/LibriSpeech/train-clean-100/19/198").glob("*.flac"))
    samples = np.concatenate([read_audio(file) for file in files[:8]])[: 80 * 16_000]
    whole = TransformersEncoder.load("hubert-micro", 3, device="cpu").encode([samples])[0]
    cut = TransformersEncoder.load("hubert-micro", 3, device="cpu", chunk_seconds=30.0).encode([samples])[0]
    centroids = kmeans(whole, 100, 5, 10**6, 0).centroids
    assert (assign(whole, centroids) == assign(cut, centroids)).mean() > 0.95
