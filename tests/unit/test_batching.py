"""Batches, reading ahead, and the nearest centroid on a device."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechladder.io.errors import UserError
from speechladder.units import decode
from speechladder.units.assign import assign
from speechladder.units.batching import buckets, windows
from speechladder.units.decode import Job, Wave, waves
from speechladder.units.nearest import Nearest


def test_batches_are_bounded_and_complete():
    lengths = [16_000, 400, 48_000, 16_001, 100_000, 15_000, 16_000]
    batches = list(buckets(lengths, 48_000))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 48_000 for b in batches)
    assert max(map(len, batches)) == 3
    assert [len(b) for b in buckets(lengths, 0)] == [1] * len(lengths)


def test_batches_by_duration_waste_less_than_file_order():
    lengths = np.random.default_rng(0).integers(20, 800, 400).tolist()
    padded = sum(len(b) * max(lengths[i] for i in b) for b in buckets(lengths, 8_000))
    in_order = sum(8 * max(lengths[at : at + 8]) for at in range(0, len(lengths), 8))
    assert padded < 1.1 * sum(lengths)
    assert in_order > 1.5 * sum(lengths)


def test_windows_reach_what_is_enough():
    assert list(windows([1, 1, 3, 1, 1], float, 2)) == [[1, 1], [3], [1, 1]]
    assert list(windows([1, 1, 1], float, 2)) == [[1, 1], [1]]
    assert list(windows([1, 2], float, 0)) == [[1], [2]]


@pytest.mark.parametrize("clusters", [1, 3, 50])
def test_nearest_is_the_codebooks(clusters):
    """Also if float32 cannot decide, and if a centroid occurs twice."""
    rng = np.random.default_rng(clusters)
    centroids = rng.normal(size=(clusters, 12)).astype(np.float32) + 1000  # far off: float32 distances are noise
    centroids[-1] = centroids[0]
    features = np.concatenate([rng.normal(size=(5000, 12)) + 1000, centroids, centroids + 1e-4]).astype(np.float32)
    got = Nearest(centroids, torch.device("cpu"))(torch.from_numpy(features))
    assert got.dtype == torch.int32
    assert (got.numpy() == assign(features, centroids)).all()
    assert Nearest(centroids, torch.device("cpu"))(torch.empty(0, 12)).shape == (0,)


def test_nearest_is_the_codebooks_where_ten_centroids_are_equal():
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(50, 12)).astype(np.float32)
    centroids[[3, *range(10, 16), 20, 30, 49]] = centroids[49]
    centroids[5], centroids[7] = 0.0, -0.0
    near = centroids[[3, 5, 8]].repeat(1000, axis=0)
    features = (near + rng.normal(0, 0.1, near.shape)).astype(np.float32)
    got = Nearest(centroids, torch.device("cpu"))(torch.from_numpy(features))
    assert (got.numpy() == assign(features, centroids)).all()
    assert set(got[:1000].tolist()) == {3} and set(got[1000:2000].tolist()) == {5}


def jobs_in(folder, count: int) -> list[Job]:
    rng = np.random.default_rng(0)
    for i in range(count):
        soundfile.write(folder / f"{i}.flac", rng.normal(0, 0.1, 1600 + i).astype(np.float32), 16_000)
    return [Job(str(i), "s", str(folder / f"{i}.flac"), 0.1) for i in range(count)]


def test_workers_keep_the_order_and_bound_what_waits(tmp_path, monkeypatch):
    jobs = jobs_in(tmp_path, 60)
    (tmp_path / "7.flac").write_bytes(b"no audio")
    monkeypatch.setattr(decode, "AHEAD_SECONDS", 1.0)
    asked = []

    def ask():
        for job in jobs:
            asked.append(job.id)
            yield job

    found = []
    for job, wave in waves(ask(), 2):
        found.append((job, wave))
        assert len(asked) - len(found) <= 10 + 4 * 8  # a second, and some groups of eight
    assert [job for job, _ in found] == jobs
    assert [len(wave.samples) for _, wave in found[:3]] == [1600, 1601, 1602]
    assert "unreadable" in found[7][1]
    here = dict(waves(jobs))
    assert all(isinstance(w, str) or (w.samples == here[j].samples).all() for j, w in found)


def test_a_window_of_a_file_is_read(tmp_path):
    samples = np.linspace(-0.5, 0.5, 32_000, dtype=np.float32)
    soundfile.write(tmp_path / "long.flac", samples, 16_000)
    job = Job("x", "s", str(tmp_path / "long.flac"), 0.25, start=1.0, windowed=True)
    got = decode.read_wave(job)
    np.testing.assert_allclose(got.samples, samples[16_000:20_000], atol=1e-4)
    assert got.mean == got.samples.mean()
    assert "too short" in decode.read_wave(Job("x", "s", str(tmp_path / "long.flac"), 0.01, windowed=True))


def test_a_dead_worker_is_a_message(tmp_path):
    """The workers are the new children of this process, because the pool of another test may still be ending."""
    jobs = jobs_in(tmp_path, 40)
    own = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    before = set(children(own))

    def kill_all_then_more():
        yield from jobs[:8]
        deadline = time.monotonic() + 60
        while not (found := set(children(own)) - before) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        yield from jobs[8:]

    with pytest.raises(UserError, match=r"units\.workers"):
        list(waves(kill_all_then_more(), 1))


def children(path: str) -> list[int]:
    """The decoding processes among the children, without the resource tracker."""
    return [int(pid) for pid in Path(path).read_text().split() if "spawn_main" in command(pid)]


def command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_decoding_imports_no_torch():
    code = "import sys; import speechladder.units.decode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_wave_has_the_statistics_of_its_own_samples():
    samples = np.array([1, 2, 4], np.float32)
    wave = Wave.of(samples)
    assert wave.mean == np.float32(7 / 3)
    assert wave.scale == pytest.approx(np.sqrt(samples.var() + 1e-7))
