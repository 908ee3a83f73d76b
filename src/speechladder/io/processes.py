"""Jobs end with the snakemake that started them, so that the same command can be repeated at once."""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

RUNNER = "SPEECHLADDER_RUNNER"  # environment variable: the snakemake that started a job, in the form of `runner`


def _machine() -> str:
    """The scope of a process id: this boot of this machine, and the process namespace (containers have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def runner(pid: int | None = None) -> str:
    """The value of RUNNER: a process, by default this one, and its machine, as other nodes do not see the process."""
    return f"{_machine()}:{os.getpid() if pid is None else pid}"


def alive(pid: int) -> bool:
    """Whether a process of this machine runs; it may belong to another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def exit_when(ended: Callable[[], bool], every: float = 0.3) -> None:
    """End this process soon after `ended()` is true, which a thread asks every `every` seconds."""

    def watch() -> None:
        while not ended():
            time.sleep(every)
        os._exit(137)

    threading.Thread(target=watch, daemon=True, name="watch").start()


def die_with_runner() -> None:
    """End this process soon after the snakemake that started it has ended.

    After kill -9 of snakemake, its jobs would continue as orphans and write the same files as those of the next run.
    This does nothing outside Snakemake, or if snakemake runs on another machine: there the cluster ends a job's
    processes.
    """
    machine, _, number = os.environ.get(RUNNER, "").rpartition(":")
    pid = int(number or "0")
    if pid and pid != os.getpid() and machine == _machine():
        exit_when(lambda: not alive(pid))
