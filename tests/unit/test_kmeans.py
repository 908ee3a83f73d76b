"""k-means by each backend: the same for the same seed, in memory or mapped; empty clusters are filled if possible."""

import numpy as np
import pytest

from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.tensors import map_tensor, write_tensors
from speechladder.settings import Units
from speechladder.units.assign import assign
from speechladder.units.codebook import train_codebook
from speechladder.units.kmeans import faiss_backend, torch_backend
from speechladder.units.kmeans.fit import fit
from speechladder.units.kmeans.plan import Plan
from speechladder.units.kmeans.start import first_centroids, plus_plus, seed_of, take_rows

BACKENDS = ("faiss", "torch")


@pytest.fixture(scope="module")
def blobs():
    """Six well separated blobs of 300 frames in 8 dimensions, far from the origin and shuffled; and their centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 8)) * 10 + 30
    frames = np.repeat(centres, 300, axis=0) + rng.normal(size=(1800, 8))
    return rng.permutation(frames).astype(np.float32), centres


def inertia(features, centroids):
    return float(((features - centroids[assign(features, centroids)]).astype(np.float64) ** 2).sum())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_the_objective_falls_and_is_that_of_the_centroids(blobs, backend, init):
    features, _ = blobs
    got = fit(features, Plan(10, 12, 0, backend=backend, init=init))
    assert len(got.objective) == 12 and sorted(got.objective, reverse=True) == got.objective
    assert inertia(features, got.centroids) == pytest.approx(got.objective[-1], rel=0.02)
    assert got.empty == 0 and got.centroids.dtype == np.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_k_means_plus_plus_finds_blobs_that_a_random_start_may_miss(blobs, backend):
    features, centres = blobs
    got = fit(features, Plan(6, 5, 1, backend=backend, init="k-means++"))
    distance = np.linalg.norm(got.centroids[:, None] - centres[None], axis=2)
    assert sorted(distance.argmin(axis=0)) == list(range(6)) and distance.min(axis=0).max() < 0.5


def test_the_first_centroids_are_frames_and_none_is_there_twice(blobs):
    features, _ = blobs
    rows = {row.tobytes() for row in features}
    for init in ("random", "k-means++"):
        found = first_centroids(features, Plan(40, 1, 3, init=init))
        assert {row.tobytes() for row in found} <= rows
        assert len(np.unique(found, axis=0)) == 40
    twice = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)  # three distinct frames for five clusters
    assert len(plus_plus(twice, 5, np.random.default_rng(0))) == 5
    assert len(np.unique(plus_plus(twice, 3, np.random.default_rng(0)), axis=0)) == 3


@pytest.mark.parametrize("plan", [Plan(9, 6, 4, backend=b, restarts=2) for b in BACKENDS])
def test_same_seed_same_bits_and_the_best_start_is_kept(blobs, plan):
    features, _ = blobs
    one, two = fit(features, plan), fit(features, plan)
    assert one.centroids.tobytes() == two.centroids.tobytes() and one.starts == two.starts
    assert len(one.starts) == 2 and one.starts[0] != one.starts[1]
    assert one.objective == list(one.starts[one.kept]) == list(min(one.starts, key=lambda start: start[-1]))
    alone = [fit(features, Plan(9, 6, seed_of(4, start), backend=plan.backend)) for start in (0, 1)]
    assert [tuple(found.objective) for found in alone] == list(one.starts)
    assert seed_of(4, 0) == 4  # a single start is what it was before there were several


def test_torch_is_lloyd(blobs):
    """Compare with the two lines of the textbook."""
    features, _ = blobs
    plan = Plan(7, 4, 2, backend="torch", init="k-means++")
    got, centroids = fit(features, plan), first_centroids(features, plan).astype(np.float64)
    for value in got.objective:
        distance = ((features[:, None] - centroids[None]) ** 2).sum(axis=2)
        assert value == pytest.approx(distance.min(axis=1).sum(), rel=1e-5)
        index = distance.argmin(axis=1)
        centroids = np.stack([features[index == k].mean(axis=0, dtype=np.float64) for k in range(7)])
    assert got.centroids == pytest.approx(centroids, abs=1e-3)


def test_bf16_ranks_as_float32_does():
    import torch

    rng = np.random.default_rng(1)
    centroids = rng.normal(size=(64, 96)).astype(np.float32) + 5
    features = centroids[rng.integers(0, 64, 4000)] + rng.normal(size=(4000, 96)).astype(np.float32)
    x, c = torch.from_numpy(features), torch.from_numpy(centroids)
    exact, rough = (torch_backend._nearest(x - x.mean(0), c - x.mean(0), p) for p in ("fp32", "bf16"))
    assert (exact[1] == rough[1]).float().mean() > 0.999
    assert torch.allclose(exact[0], rough[0], atol=0.5)  # of numbers around 100
    fp32, bf16 = (fit(features, Plan(32, 8, 0, backend="torch", precision=p)) for p in ("fp32", "bf16"))
    assert bf16.objective[-1] == pytest.approx(fp32.objective[-1], rel=1e-3)


def test_an_empty_cluster_gets_half_of_the_one_with_most_to_gain():
    """Two distant outliers take a centroid each, and a third centroid between them has no frame."""
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(500, 3)), [[900, 0, 0], [0, 900, 0]]]).astype(np.float32)
    first = np.array([[0, 0, 0], [900, 0, 0], [0, 900, 0], [450, 450, 0]], np.float32)
    got = torch_backend.run(features, Plan(4, 8, 0, backend="torch"), first)
    assert got.reseeded == 1 and got.empty == 0
    assert np.bincount(assign(features, got.centroids), minlength=4).min() >= 1
    assert got.objective[-1] < 0.9 * got.objective[0]
    points = np.repeat(np.eye(2, 3, dtype=np.float32), 9, axis=0)
    assert fit(points, Plan(3, 3, 0, backend="torch")).empty == 1  # two distinct frames are two clusters


@pytest.fixture
def sample(blobs, tmp_path):
    about = {"encoder": "e", "sha256": "a", "layer": 1, "dim": 8, "normalise": False, "seed": 5, "policy": "all"}
    write_tensors(tmp_path / "sample.safetensors", {"features": blobs[0]}, about)
    return tmp_path / "sample.safetensors"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mapped_sample_gives_the_same_as_one_in_memory(blobs, sample, backend, monkeypatch):
    mapped, _ = map_tensor(sample, "features")
    assert isinstance(mapped, np.memmap)
    assert (take_rows(mapped, np.array([7, 3, 99])) == blobs[0][[7, 3, 99]]).all()
    plan = Plan(8, 4, 0, backend=backend)
    monkeypatch.setitem(torch_backend._ELEMENTS, "cpu", 256 * 8)  # several chunks
    assert fit(mapped, plan).centroids.tobytes() == fit(blobs[0], plan).centroids.tobytes()


def test_chunks_change_little(blobs, monkeypatch):
    whole = fit(blobs[0], Plan(8, 4, 0, backend="torch"))
    monkeypatch.setitem(torch_backend._ELEMENTS, "cpu", 256 * 8)
    parts = fit(blobs[0], Plan(8, 4, 0, backend="torch"))
    assert parts.objective == pytest.approx(whole.objective, rel=1e-5)


def test_fewer_points_per_centroid_where_asked_for(blobs):
    some, every = (fit(blobs[0], Plan(6, 3, 0, n, backend="torch")) for n in (50, 10**6))
    assert some.objective[-1] < 0.5 * every.objective[-1]  # a sum over a sixth of the frames


@pytest.mark.parametrize("backend", BACKENDS)
def test_iterations_are_told_per_frame_that_is_trained_on(blobs, backend):
    told = []
    got = fit(blobs[0], Plan(6, 3, 0, 50, backend=backend, restarts=2), lambda *line: told.append(line))
    wanted = [(s, i, value / 300) for s, start in enumerate(got.starts) for i, value in enumerate(start, 1)]
    assert told == wanted  # 6 clusters of 50 frames, of 1800
    told.clear()
    fit(blobs[0], Plan(6, 1, 0, backend=backend), lambda *line: told.append(line))
    assert told[0][2] == pytest.approx(fit(blobs[0], Plan(6, 1, 0, backend=backend)).objective[0] / 1800)


def test_torch_tells_an_iteration_when_it_is_over(blobs, monkeypatch):
    passes, told = [], []
    real = torch_backend._pass
    monkeypatch.setattr(torch_backend, "_pass", lambda *given: passes.append(1) or real(*given))
    fit(blobs[0], Plan(6, 3, 0, backend="torch"), lambda *_: told.append(len(passes)))
    assert told == [1, 2, 3]


def test_enough_is_enough(blobs):
    every = fit(blobs[0], Plan(6, 9, 0, backend="torch")).objective
    assert fit(blobs[0], Plan(6, 9, 0, backend="torch", enough=every[2])).objective == every[:3]


def test_a_codebook_notes_what_is_not_the_default(sample, tmp_path):
    log = tmp_path / "kmeans.jsonl"
    out = tmp_path / "c.safetensors"
    few = Units(clusters=6, iterations=3)
    unusual = few.model_copy(update={"kmeans": "torch", "kmeans_restarts": 2, "kmeans_init": "k-means++"})
    said = train_codebook(sample, out, unusual, 1, log).provenance
    assert said["torch"] and said["device"] == "cpu" and "faiss" not in said
    assert (said["init"], said["restarts"]) == ("k-means++", 2)
    rows = list(read_jsonl(log))
    assert [(r["start"], r["iteration"]) for r in rows] == [(s, i) for s in (0, 1) for i in (1, 2, 3)]
    assert [r["objective"] for r in rows if r["start"] == said["kept"]] == said["objective"]
    assert said["objectives"] == [r["objective"] for r in rows if r["iteration"] == 3]
    plain = train_codebook(sample, out, few, 1).provenance
    assert plain["faiss"] and not {"init", "restarts", "precision", "objectives", "normalisation"} & set(plain)


def test_faiss_gpu_is_never_faiss_on_the_cpu(blobs, monkeypatch):
    monkeypatch.setattr(faiss_backend, "_gpus", lambda: 0)
    assert faiss_backend.choose_backend("auto") == faiss_backend.choose_backend("faiss") == "faiss"
    assert faiss_backend.choose_backend("torch") == "torch"
    with pytest.raises(UserError, match=r"units\.kmeans: faiss-gpu needs a GPU.*kmeans: torch"):
        fit(blobs[0], Plan(4, 2, 0, backend="faiss-gpu"))
    monkeypatch.setattr(faiss_backend, "_gpus", lambda: 1)
    assert faiss_backend.choose_backend("auto") == faiss_backend.choose_backend("faiss-gpu") == "faiss-gpu"


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(blobs):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    cpu, one, two = (fit(blobs[0], Plan(8, 6, 0, backend="torch", device=d)) for d in ("cpu", "cuda", "cuda"))
    assert one.centroids.tobytes() == two.centroids.tobytes()
    assert one.objective == pytest.approx(cpu.objective, rel=1e-4)


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_faiss_trains_as_its_own_kmeans_does(blobs, init):
    """Ours differs only in that it does not take every GPU."""
    import faiss

    features, _ = blobs
    plan = Plan(10, 8, 5, max_points_per_centroid=100, backend="faiss", init=init)
    first = None if init == "random" else first_centroids(features, plan)
    theirs = faiss.Kmeans(8, 10, niter=8, seed=5, min_points_per_centroid=1, max_points_per_centroid=100)
    theirs.train(features, init_centroids=first)
    got, objective = faiss_backend.train_index(features, plan, first, faiss.IndexFlatL2(8))
    assert got.tobytes() == theirs.centroids.tobytes()
    assert objective == [float(value) for value in theirs.obj]
