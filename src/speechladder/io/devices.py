"""Which device a process computes on, and that no other job of the project computes on the same GPU at the same time.

A GPU is leased by an exclusive lock (flock) on a file of its own in a folder that the user's jobs share: one process,
one GPU. The kernel frees the lock when the process ends, however it ends. Jobs on other machines, in containers with
other folders, or of other users are not known of: there the scheduler decides, through CUDA_VISIBLE_DEVICES.

Not every job of a user sees the same folders: a scheduler may give each its own TMPDIR, and jobs of cron have no
XDG_RUNTIME_DIR. So a lease is a lock in both, and two jobs that share either know of each other.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from speechladder.io.progress import say

SHARE = "SPEECHLADDER_SHARE_GPU"  # set to 1: jobs take the first GPU without asking who else does
LOCKS = "SPEECHLADDER_GPU_LOCKS"  # the folder of the locks
_held: dict[str, ExitStack] = {}  # device -> its open lock files, for as long as this process lives


def gpus() -> list[str]:
    """A name for each GPU that this process may use, in the order of cuda:0, cuda:1, ...; empty without CUDA.

    Names are the cards' own (UUID), so that jobs with another CUDA_VISIBLE_DEVICES mean the same card by them.
    """
    import torch

    if not torch.cuda.is_available():
        return []
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


def claim(names: Sequence[str] | None = None, every: float = 0.5) -> str:
    """`cuda:N`, leased to this process until it ends, or `cpu` where there is no GPU; the same at every call.

    Waits while every GPU is another job's, and says whose. `names`: the GPUs, by default `gpus()`; `every`: seconds
    between looks.
    """
    if _held:
        return next(iter(_held))
    names = gpus() if names is None else names
    if not names:
        return "cpu"
    if os.environ.get(SHARE, "0") not in ("", "0"):
        return "cuda:0"
    folders = _folders()
    told = False
    while True:
        taken = []
        for index, name in enumerate(names):
            found = _lease([folder / f"{name}.lock" for folder in folders])
            if isinstance(found, ExitStack):
                _held[f"cuda:{index}"] = found
                return f"cuda:{index}"
            taken.append(found)
        if not told:
            holders = ", ".join(map(_holder, taken))
            say(f"waiting for a GPU: {len(names)} taken by other jobs ({holders}); {SHARE}=1 shares them")
            told = True
        time.sleep(every)


def claim_several(count: int, names: Sequence[str], every: float = 0.5) -> list[str]:
    """The names of `count` GPUs, leased together until this process ends: all there are, or none where shared.

    All or none: a job that held some while it waits for the others could wait for one that does the same.
    """
    count = min(count, len(names))
    if os.environ.get(SHARE, "0") not in ("", "0") or not count:
        return []
    folders, told = _folders(), False
    while True:
        got: dict[str, ExitStack] = {}
        for name in names:
            if len(got) < count and isinstance(found := _lease([f / f"{name}.lock" for f in folders]), ExitStack):
                got[name] = found
        if len(got) == count:
            _held.update(got)
            return list(got)
        for lock in got.values():
            lock.close()
        if not told:
            say(f"waiting for {count} of {len(names)} GPUs, which other jobs have; {SHARE}=1 shares them")
            told = True
        time.sleep(every)


def release() -> None:
    """Give the lease back before the process ends."""
    for locks in _held.values():
        locks.close()
    _held.clear()


def _folders() -> list[Path]:
    """The user's runtime folder, where there is one that can be written, and the temporary one; or what LOCKS says."""
    if given := os.environ.get(LOCKS):
        return [Path(given)]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    there = [runtime] if runtime and Path(runtime).is_dir() and os.access(runtime, os.W_OK | os.X_OK) else []
    return [Path(folder) / f"speechladder-gpus-{os.getuid()}" for folder in [*there, tempfile.gettempdir()]]


def _lease(paths: list[Path]) -> ExitStack | Path:
    """All of these locked, in their order; or the first that another process has, and none locked."""
    with ExitStack() as locks:
        handles = []
        for path in paths:
            if (handle := _lock(path)) is None:
                return path
            handles.append(locks.enter_context(handle))
        for handle in handles:
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
        return locks.pop_all()


def _lock(path: Path) -> Any:
    """The open and locked file, or None while another process has it."""
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handle = path.open("a+")
        except FileNotFoundError:  # the folder was there a moment ago
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return None
        if _is(handle, path):
            return handle
        handle.close()  # a cleaner of old files was faster: the next job would lock another file of this name


def _is(handle: Any, path: Path) -> bool:
    """Whether the open file still is the one of this name."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    try:
        return f"process {path.read_text().strip() or 'unknown'}"
    except FileNotFoundError:
        return "process unknown"
