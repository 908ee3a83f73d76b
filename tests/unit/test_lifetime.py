"""A killed run leaves neither orphans nor a lock."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from speechladder.io.errors import UserError
from speechladder.io.processes import RUNNER, runner
from speechladder.workflow.lock import hold_lock, unlock

SLEEPER = "from speechladder.command import script\nimport time\nscript(lambda: time.sleep(60))()"


def test_a_script_dies_with_its_runner():
    parent = subprocess.Popen(["sleep", "60"])
    value = runner(parent.pid)
    job = subprocess.Popen([sys.executable, "-c", SLEEPER], env=os.environ | {RUNNER: value})
    time.sleep(1.0)
    assert job.poll() is None
    parent.kill()
    parent.wait()
    assert job.wait(timeout=10) == 137


def test_a_script_without_a_runner_lives_on():
    env = {k: v for k, v in os.environ.items() if k != RUNNER}
    job = subprocess.Popen([sys.executable, "-c", SLEEPER], env=env)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(timeout=1.5)
    job.kill()
    job.wait()


def test_a_lock_is_gone_with_its_holder(tmp_path):
    lock = tmp_path / ".snakemake" / "lock"
    code = (
        f"from speechladder.workflow.lock import hold_lock as h; h({str(lock)!r}); print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid}"):
        hold_lock(lock)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    hold_lock(lock)


def test_a_runner_on_another_machine_is_not_looked_for_here():
    # a process of a training on the second node of a job: the snakemake's number means another process there, or none
    gone = subprocess.Popen(["true"])
    gone.wait()
    job = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], env=os.environ | {RUNNER: f"another-boot.4026531836:{gone.pid}"}
    )
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(timeout=1.5)
    job.kill()
    job.wait()


def test_a_fresh_lock_of_another_machine_is_believed_and_an_old_one_is_not(tmp_path):
    # where flock knows of this machine alone (NFS with local locks), or the other node died with the lock in its hands
    lock = tmp_path / ".snakemake" / "lock"
    lock.parent.mkdir()
    lock.write_text("4711 node17")
    with pytest.raises(UserError, match=r"process 4711 on node17\).*--unlock"):
        hold_lock(lock)
    os.utime(lock, (time.time() - 1000,) * 2)
    hold_lock(lock)
    assert lock.read_text() == f"{os.getpid()} {socket.gethostname()}"


def test_a_lock_is_kept_alive_and_freed_at_the_end(tmp_path):
    lock = tmp_path / ".snakemake" / "lock"
    code = (
        "import os, sys, time\nfrom speechladder.workflow.lock import hold_lock\n"
        f"hold_lock({str(lock)!r}, beat=0.05)\nos.utime({str(lock)!r}, (1, 1))\ntime.sleep(0.5)\n"
        f"assert os.stat({str(lock)!r}).st_mtime > 1e9\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert lock.read_text() == ""


def test_a_file_system_without_locks_still_keeps_runs_apart(tmp_path, monkeypatch):
    lock = tmp_path / ".snakemake" / "lock"
    lock.parent.mkdir()

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("speechladder.workflow.lock.fcntl.flock", no_locks)
    other = subprocess.Popen(["sleep", "60"])
    lock.write_text(f"{other.pid} {socket.gethostname()}")
    with pytest.raises(UserError, match=f"process {other.pid}"):
        hold_lock(lock)
    other.kill()
    other.wait()
    hold_lock(lock)


def test_unlock_takes_the_lock_of_a_dead_machine_and_not_of_a_living_run(tmp_path):
    lock = tmp_path / ".snakemake" / "lock"
    unlock(lock)  # there is none
    lock.parent.mkdir()
    lock.write_text("4711 node17")
    unlock(lock)
    assert not lock.exists()
    code = (
        f"from speechladder.workflow.lock import hold_lock as h; h({str(lock)!r}); print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid}"):
        unlock(lock)
    holder.kill()
    holder.communicate()
