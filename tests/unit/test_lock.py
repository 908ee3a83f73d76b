"""A results folder has one run at a time, and the lock of a killed run is free."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from speechladder.io.errors import UserError
from speechladder.workflow.lock import hold_lock, unlock


def start_holder(lock):
    """A process that holds the lock until it is killed."""
    code = (
        f"from speechladder.workflow.lock import hold_lock as h; h({str(lock)!r}); print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_lock_is_gone_with_its_holder(tmp_path):
    lock = tmp_path / ".snakemake" / "lock"
    holder = start_holder(lock)
    with pytest.raises(UserError, match=f"process {holder.pid}"):
        hold_lock(lock)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    hold_lock(lock)


def test_a_fresh_lock_of_another_machine_is_believed_and_an_old_one_is_not(tmp_path):
    # for file systems whose locks are local to a machine (NFS), or if the other node died while it held the lock
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
    unlock(lock)  # no lock yet
    lock.parent.mkdir()
    lock.write_text("4711 node17")
    unlock(lock)
    assert not lock.exists()
    holder = start_holder(lock)
    with pytest.raises(UserError, match=f"process {holder.pid}"):
        unlock(lock)
    holder.kill()
    holder.communicate()
