"""Child processes end with the process that started them, so that the same command can be given again at once."""

import os
import socket
import threading
import time
from pathlib import Path

RUNNER = "SPEECHLADDER_RUNNER"  # environment variable: the snakemake that started a job, as `runner` writes it


def _machine() -> str:
    """What a process id belongs to: this boot of this machine and its namespace of processes (containers)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def runner(pid: int | None = None) -> str:
    """The value of RUNNER: a process (this one) and its machine, since another node of a job does not see it."""
    return f"{_machine()}:{os.getpid() if pid is None else pid}"


def alive(pid: int) -> bool:
    """Whether a process of this machine runs, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def die_with_runner(every: float = 0.3) -> None:
    """End this process soon after the snakemake that started it is gone.

    After kill -9 of snakemake its jobs would go on as orphans, and write beside those of the next run. Does nothing
    outside of Snakemake, and where the snakemake runs on another machine: there the cluster ends what belongs to a
    job. `every`: seconds between looks.
    """
    machine, _, number = os.environ.get(RUNNER, "").rpartition(":")
    pid = int(number or "0")
    if not pid or pid == os.getpid() or machine != _machine():
        return

    def watch() -> None:
        while alive(pid):
            time.sleep(every)
        os._exit(137)

    threading.Thread(target=watch, daemon=True, name="runner watch").start()
