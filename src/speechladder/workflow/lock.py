"""The lock of a results folder: one run at a time, which ends with the process that holds it."""

import atexit
import fcntl
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.processes import alive
from speechladder.io.progress import say

BEAT = 20.0  # seconds between two touches of a lock file
DEAD = 6 * BEAT  # a run on another machine that has not touched its lock for so long is gone
_held: dict[Path, Any] = {}  # open lock files; the kernel frees a lock with its last descriptor


def hold_lock(path: str | Path, beat: float = BEAT) -> None:
    """Keep other runs out of a folder until this process ends, in whatever way it ends.

    On one machine, and on file systems that share locks, the kernel's lock (flock) does this. Other file systems (NFS
    mounted with local locks, Lustre without them) need more: the file also names the run and is touched every `beat`
    seconds, and a recently touched lock of another machine counts. After the death of a node this means a wait of two
    minutes, or `--unlock`. Raises UserError that names the other run if there is one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+")
    shared = True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = _holder(path)
        handle.close()
        raise _taken(path, other) from None
    except OSError as error:
        shared = False
        say(f"{path}: this file system has no locks ({error.strerror}); only this file keeps runs apart")
    pid, host = _holder(path)
    if pid:
        here = host == socket.gethostname()
        # The kernel has freed the lock of a dead run on this machine. If it keeps no locks, ask for the process.
        lives = (not shared and pid != os.getpid() and alive(pid)) if here else _age(path) < 6 * beat
        if lives:
            handle.close()
            raise _taken(path, (pid, host))
    handle.truncate(0)
    handle.write(f"{os.getpid()} {socket.gethostname()}")
    handle.flush()
    _held[path] = handle
    atexit.register(_release, path, os.getpid())

    def live() -> None:
        while path in _held:
            try:
                os.utime(path)
            except OSError:
                return  # removed by --unlock
            time.sleep(beat)

    threading.Thread(target=live, daemon=True, name="lock").start()


def unlock(path: str | Path) -> None:
    """Remove the lock of a run that is gone with its machine, for `snakemake --unlock`.

    Raises UserError if the run is alive on this machine, which the kernel knows for certain.
    """
    path = Path(path)
    if not path.exists():
        return
    pid, host = _holder(path)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if host == socket.gethostname() and alive(pid):
                raise _taken(path, (pid, host)) from None
        except OSError:
            pass  # a file system without locks
        path.unlink(missing_ok=True)  # the lock that a dead node left with the server goes with its file


def _holder(path: Path) -> tuple[int, str]:
    """Process and machine of the run that holds, or held, the lock; (0, "") if none is named."""
    pid, _, host = path.read_text().strip().partition(" ")
    return (int(pid), host or socket.gethostname()) if pid.isdigit() else (0, "")


def _age(path: Path) -> float:
    """Seconds since the lock was last touched, by the clock of its file system."""
    probe = path.with_name(f".{path.name}.{os.getpid()}.now")
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink()
    return now - path.stat().st_mtime


def _taken(path: Path, other: tuple[int, str]) -> UserError:
    pid, host = other
    who = f"process {pid} on {host}" if pid else "unknown"
    wait = "wait for it, end it, or work in a folder of its own with --directory"
    if host and host != socket.gethostname():
        wait += f"; if {host} died, wait {DEAD:.0f} s or give the same command with --unlock"
    return UserError(f"another run ({who}) works in {path.parent.parent.resolve()}; {wait}")


def _release(path: Path, pid: int) -> None:
    """Empty the file at the end of the run, so that the next run need not wait, on whatever machine."""
    handle = _held.pop(path, None)
    if handle and pid == os.getpid():  # not in a forked child
        handle.truncate(0)
        handle.close()
