"""Which device a process computes on, and that no other job of the project computes on the same GPU at the same time.

A GPU is leased by an exclusive lock (flock) on a file of its own in a folder that the user's jobs share: one process,
one GPU. The kernel frees the lock when the process ends, however it ends. Jobs on other machines, in containers with
another /tmp, or of other users are not known of: there the scheduler decides, through CUDA_VISIBLE_DEVICES.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechladder.io.progress import say

SHARE = "SPEECHLADDER_SHARE_GPU"  # set to 1: jobs take the first GPU without asking who else does
LOCKS = "SPEECHLADDER_GPU_LOCKS"  # the folder of the locks
_held: dict[str, Any] = {}  # device -> its open lock file, for as long as this process lives


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
    folder = _folder()
    told = False
    while True:
        for index, name in enumerate(names):
            if lock := _lock(folder / f"{name}.lock"):
                _held[f"cuda:{index}"] = lock
                return f"cuda:{index}"
        if not told:
            holders = ", ".join(_holder(folder / f"{name}.lock") for name in names)
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
    folder, told = _folder(), False
    while True:
        got = {}
        for name in names:
            if len(got) < count and (lock := _lock(folder / f"{name}.lock")):
                got[name] = lock
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
    for lock in _held.values():
        lock.close()
    _held.clear()


def _folder() -> Path:
    default = Path(tempfile.gettempdir()) / f"speechladder-gpus-{os.getuid()}"
    folder = Path(os.environ.get(LOCKS) or default)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _lock(path: Path) -> Any:
    """The open and locked file, or None while another process has it."""
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        return None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def _holder(path: Path) -> str:
    return f"process {path.read_text().strip() or 'unknown'}"
