"""Whoever is killed takes its children along, and its lock: so that the same command can be given again at once."""

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError

RUNNER = "SPEECHLADDER_RUNNER"  # environment variable: the process id of the snakemake on this machine
_held: list[Any] = []  # open lock files; the kernel frees a lock with its last descriptor


def _alive(pid: int) -> bool:
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
    outside of Snakemake. `every`: seconds between looks.
    """
    pid = int(os.environ.get(RUNNER, "0"))
    if not pid or pid == os.getpid():
        return

    def watch() -> None:
        while _alive(pid):
            time.sleep(every)
        os._exit(137)

    threading.Thread(target=watch, daemon=True, name="runner watch").start()


def hold_lock(path: str | Path) -> None:
    """Keep other runs out of a folder until this process ends, however it ends.

    Raises UserError with the other run's process id when there is one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        other = handle.read().strip() or "unknown"
        handle.close()
        raise UserError(
            f"another run (process {other}) is at work in {path.parent.parent.resolve()}; "
            "wait for it, end it, or work in a folder of its own with --directory"
        ) from None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    _held.append(handle)
