"""k-means uses every frame, ties go to the lowest index, and a codebook knows its encoder."""

import numpy as np
import pytest

from speechladder.io.errors import UserError
from speechladder.io.tensors import write_tensors
from speechladder.settings import Units
from speechladder.units.assign import assign
from speechladder.units.codebook import load_codebook, train_codebook
from speechladder.units.kmeans.fit import kmeans

FEW = Units(clusters=8, iterations=4)
ENCODER = {"encoder": "hubert-micro", "sha256": "a" * 64, "layer": 3, "dim": 4, "normalise": False}


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)


def inertia(features, centroids):
    return ((features - centroids[assign(features, centroids)]) ** 2).sum()


def test_no_frame_is_left_out(features):
    """3000 frames for 4 clusters are 750 each; by default faiss would silently take 256 each."""
    trained = kmeans(features, clusters=4, iterations=8, max_points_per_centroid=10**6, seed=0)
    sampled = kmeans(features, clusters=4, iterations=8, max_points_per_centroid=256, seed=0)
    assert len(trained.objective) == 8
    # the objective is of the centroids before the last update, so it lies just above that of the last ones
    assert inertia(features, trained.centroids) == pytest.approx(trained.objective[-1], rel=0.01)
    assert sampled.objective[-1] < 0.5 * trained.objective[-1]  # a sum over a third of the frames
    assert sorted(trained.objective, reverse=True) == trained.objective


def test_same_seed_same_bits(features):
    a, b = (kmeans(features, 10, 5, 10**6, seed=3).centroids for _ in range(2))
    assert a.tobytes() == b.tobytes()
    assert a.tobytes() != kmeans(features, 10, 5, 10**6, seed=4).centroids.tobytes()


def test_empty_clusters_are_counted():
    features = np.repeat(np.eye(3, 4, dtype=np.float32), 50, axis=0)  # three distinct points
    assert kmeans(features, 5, 5, 10**6, seed=0).empty >= 1


@pytest.mark.parametrize(
    ("features", "message"),
    [(np.zeros((5, 4)), r"units\.clusters.*units\.sample_frames"), (np.full((50, 4), np.nan), "not finite")],
)
def test_hopeless_samples_are_refused(features, message):
    with pytest.raises(UserError, match=message):
        kmeans(features.astype(np.float32), 10, 2, 10**6, seed=0)


def test_nearest_by_brute_force(features):
    centroids = features[:300]
    wanted = [int(np.argmin(((x - centroids.astype(np.float64)) ** 2).sum(axis=1))) for x in features]
    units = assign(features, centroids)
    assert units.dtype == np.uint16
    assert units.tolist() == wanted


def test_ties_go_to_the_lowest_index():
    rng = np.random.default_rng(1)
    centroids = rng.normal(size=(64, 48)).astype(np.float32)
    twins = np.concatenate([centroids, centroids, centroids[::-1]])
    x = rng.normal(size=(5000, 48)).astype(np.float32)
    assert (assign(x, twins) == assign(x, centroids)).all()
    assert assign(np.zeros((1, 2), np.float32), np.float32([[1, 0], [0, 1], [-1, 0]]))[0] == 0
    assert assign(np.zeros((1, 2), np.float32), np.float32([[3, 0], [0, 1], [-1, 0]]))[0] == 1


def test_a_frame_alone_gets_the_same_unit(features):
    centroids = features[:200] + 0.01
    together = assign(features, centroids)
    assert [int(assign(x[None], centroids)[0]) for x in features[:500]] == together[:500].tolist()
    assert (
        np.concatenate([assign(features[:7], centroids), assign(features[7:], centroids)]).tolist() == together.tolist()
    )


@pytest.fixture
def trained(features, tmp_path):
    write_tensors(tmp_path / "sample.safetensors", {"features": features}, {**ENCODER, "seed": 5, "policy": "all"})
    train_codebook(tmp_path / "sample.safetensors", tmp_path / "centroids.safetensors", FEW, seed=7)
    return tmp_path / "centroids.safetensors"


def test_provenance_comes_back(trained, features):
    book = load_codebook(trained, ENCODER)
    assert book.centroids.shape == (8, 4)
    assert book.provenance["seed"] == 7
    assert book.provenance["sample"]["seed"] == 5
    assert book.provenance["frames_used"] == len(features)
    assert len(book.provenance["objective"]) == 4
    assert book.provenance["empty_clusters"] == 0
    assert book.provenance["faiss"]


def test_equal_content_equal_bytes(trained, tmp_path):
    train_codebook(tmp_path / "sample.safetensors", tmp_path / "again.safetensors", FEW, seed=7)
    assert (tmp_path / "again.safetensors").read_bytes() == trained.read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sha256": "b" * 64, "encoder": "/models/other"}, "/models/other"),
        ({"layer": 9}, "layer 9"),
        ({"dim": 5}, "dim 5"),
        ({"normalise": True}, "normalise True"),
    ],
)
def test_codebook_of_another_encoder_is_refused(trained, change, named):
    with pytest.raises(UserError, match="hubert-micro layer 3") as error:
        load_codebook(trained, {**ENCODER, **change})
    assert named in str(error.value)
    assert str(trained) in str(error.value)


def test_the_same_weights_under_another_name_are_taken(trained):
    assert load_codebook(trained, {**ENCODER, "encoder": "/moved/hubert"})


def test_broken_files_are_named(trained, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_codebook(tmp_path / "absent.safetensors")
    trained.write_bytes(trained.read_bytes()[:100])
    with pytest.raises(UserError, match=r"centroids\.safetensors"):
        load_codebook(trained)
