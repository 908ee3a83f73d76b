"""A GPU is leased to one job, and the lease ends with its process. The GPUs are invented; flock is real."""

import fcntl
import os
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from speechladder.io import devices


def release_gpus() -> None:
    """End the leases of this process."""
    for held in devices._held.values():
        held.close()
    devices._held.clear()


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
    monkeypatch.setenv(devices.LOCKS, str(tmp_path))
    monkeypatch.delenv(devices.SHARE, raising=False)
    yield tmp_path
    release_gpus()


HOLD = "import sys, time\nfrom speechladder.io.devices import acquire_gpu\n"
HOLD += "print(acquire_gpu(sys.argv[1:]), flush=True); time.sleep(60)"


def other(*names: str) -> tuple[subprocess.Popen, str]:
    """Another job that has leased one of these GPUs, and the GPU."""
    job = subprocess.Popen([sys.executable, "-c", HOLD, *names], stdout=subprocess.PIPE, text=True)
    return job, job.stdout.readline().strip()


def test_two_jobs_never_share_and_a_third_waits_until_one_is_killed(capsys):
    first, has = other("a", "b")
    try:
        assert has == "cuda:0"
        second, also = other("a", "b")
        assert also == "cuda:1"
        got = []
        third = threading.Thread(target=lambda: got.append(devices.acquire_gpu(["a", "b"], every=0.02)))
        third.start()
        time.sleep(0.3)
        assert not got
        second.kill()
        second.wait()
        third.join(5)
        assert got == ["cuda:1"]
        assert f"process {first.pid}" in capsys.readouterr().err
    finally:
        first.kill()


def test_the_same_card_under_another_number_is_the_same_card():
    """CUDA_VISIBLE_DEVICES=1 makes b the first."""
    job, has = other("b")
    try:
        assert has == "cuda:0"
        assert devices.acquire_gpu(["a", "b"]) == "cuda:0"
        release_gpus()
        assert devices.acquire_gpu(["b2", "b"]) == "cuda:0"
    finally:
        job.kill()


def test_one_process_has_one_gpu():
    assert devices.acquire_gpu(["a", "b"]) == devices.acquire_gpu(["a", "b"]) == "cuda:0"


def test_sharing_is_asked_for(monkeypatch):
    monkeypatch.setenv(devices.SHARE, "1")
    job, has = other("a")
    try:
        assert has == devices.acquire_gpu(["a"]) == "cuda:0"
    finally:
        job.kill()


def test_without_a_gpu_it_is_the_cpu(locks):
    assert devices.acquire_gpu([]) == "cpu"
    assert not list(locks.iterdir())


def test_several_are_leased_together_or_none(capsys):
    """A waiting job holds no GPU, so that two such jobs cannot wait for each other."""
    job, has = other("b")
    try:
        assert has == "cuda:0"
        assert devices.acquire_gpus(2, ["a", "b", "c"]) == ["a", "c"]
        release_gpus()
        got = []
        waiting = threading.Thread(target=lambda: got.append(devices.acquire_gpus(2, ["a", "b"], every=0.02)))
        waiting.start()
        time.sleep(0.2)
        second, also = other("a")  # which the waiting job does not hold
        assert also == "cuda:0" and not got
        second.kill()
        job.kill()
        waiting.join(5)
        assert got == [["a", "b"]]
        assert "waiting for 2 of 2 GPUs" in capsys.readouterr().err
    finally:
        job.kill()


def test_a_job_of_several_takes_what_there_is(monkeypatch):
    assert devices.acquire_gpus(4, []) == []
    assert devices.acquire_gpus(4, ["a", "b"]) == ["a", "b"]
    release_gpus()
    monkeypatch.setenv(devices.SHARE, "1")
    assert devices.acquire_gpus(2, ["a", "b"]) == []


def places(monkeypatch, runtime, temporary):
    """The lock files of this process, in its runtime folder and its temporary folder."""
    monkeypatch.delenv(devices.LOCKS, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return [folder / f"speechladder-gpus-{os.getuid()}" / "a.lock" for folder in (runtime, temporary)]


def test_locks_lie_in_the_runtime_folder_and_in_the_temporary_one(tmp_path, monkeypatch):
    for name in ("run", "tmp"):
        (tmp_path / name).mkdir()
    runtime, temporary = places(monkeypatch, tmp_path / "run", tmp_path / "tmp")
    assert devices.acquire_gpu(["a"]) == "cuda:0"
    assert runtime.read_text() == temporary.read_text() == str(os.getpid())
    release_gpus()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "of another machine"))  # a scheduler may pass such a value on
    assert devices.acquire_gpu(["a"]) == "cuda:0"
    assert not (tmp_path / "of another machine").exists()


@pytest.mark.parametrize("shared", ["run", "tmp"])
def test_jobs_that_share_either_folder_know_of_each_other(shared, tmp_path, monkeypatch, capsys):
    for name in ("run", "tmp", "run2", "tmp2"):
        (tmp_path / name).mkdir()
    places(monkeypatch, tmp_path / "run", tmp_path / "tmp")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    first, has = other("a")
    try:
        assert has == "cuda:0"
        own = {"run": "run2", "tmp": "tmp2"} | {shared: shared}
        places(monkeypatch, tmp_path / own["run"], tmp_path / own["tmp"])
        assert devices.acquire_gpu(["a", "b"]) == "cuda:1"  # not a, and nothing waits
        release_gpus()
        waiting = threading.Thread(target=lambda: devices.acquire_gpu(["a"], every=0.02))
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        assert f"process {first.pid}" in capsys.readouterr().err
        first.kill()
        first.wait()
        waiting.join(5)
        assert not waiting.is_alive()
    finally:
        first.kill()


def test_a_lock_file_that_a_cleaner_deletes_as_it_is_taken_is_no_lease(locks, monkeypatch):
    """Another job would make a file of the same name, lock it, and compute on the same GPU."""
    real, deleted = fcntl.flock, []

    def flock(handle, how):
        if not deleted:
            deleted.append(1)
            (locks / "a.lock").unlink()
        return real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert devices.acquire_gpu(["a", "b"]) == "cuda:0"
    assert (locks / "a.lock").read_text() == str(os.getpid())
    job, has = other("a", "b")
    try:
        assert has == "cuda:1"
    finally:
        job.kill()
