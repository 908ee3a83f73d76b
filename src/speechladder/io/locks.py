"""Locks on files (flock). The kernel frees a lock when its process ends, however it ends."""

import fcntl
import os
from pathlib import Path
from typing import Any

from speechladder.io.progress import say


def has_name(handle: Any, path: Path) -> bool:
    """Whether an open file is still the one at `path`: it may have been renamed or removed since it was opened."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def try_lock(path: Path) -> Any:
    """Open and lock the file at `path`, and make it if there is none; None if another process has the lock."""
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = path.open("a+")
        except FileNotFoundError:  # the folder was removed after mkdir
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return None
        if has_name(handle, path):
            return handle
        handle.close()  # a cleaner of old files removed it: the next process would lock another file of this name


def wait_for_lock(handle: Any, waiting: str) -> None:
    """Lock an open file until it is closed. If another process has the lock, print `waiting` and wait."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(waiting)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:  # file systems of some clusters have no locks
        say(f"{handle.name}: cannot be locked here ({error.strerror}); let one run at a time write there")
