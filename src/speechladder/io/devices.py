"""The device on which a process computes. Two jobs of one user never compute on the same GPU at the same time.

A process leases a GPU by an exclusive lock (flock) on the GPU's file, in a folder that the user's jobs share. The
kernel frees the lock when the process ends, however it ends. Jobs on other machines, in containers with other folders,
or of other users are not seen: there the scheduler decides, through CUDA_VISIBLE_DEVICES.

Not every job of a user sees the same folders: a scheduler may give each job its own TMPDIR, and cron jobs have no
XDG_RUNTIME_DIR. So a lease is a lock in both folders, and two jobs that share either of them see each other.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from speechladder.io.locks import try_lock
from speechladder.io.progress import say

if TYPE_CHECKING:
    import numpy as np
    import torch

SHARE = "SPEECHLADDER_SHARE_GPU"  # set to 1: jobs use the first GPU without a lease
LOCKS = "SPEECHLADDER_GPU_LOCKS"  # the folder of the lock files
_held: dict[str, ExitStack] = {}  # device -> its open lock files, which this process keeps until it ends


def gpus() -> list[str]:
    """A name for each GPU that this process may use, in the order of cuda:0, cuda:1, ...; empty without CUDA.

    A name is the card's UUID, so that jobs with different CUDA_VISIBLE_DEVICES give a card the same name.
    """
    import torch

    if not torch.cuda.is_available():
        return []
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


def acquire_gpu(names: Sequence[str] | None = None, every: float = 0.5) -> str:
    """`cuda:N`, leased to this process until it ends, or `cpu` if there is no GPU; every call returns the same.

    While other jobs have all GPUs, it waits and prints which processes have them. `names`: the GPUs, by default
    `gpus()`; `every`: seconds between two tries.
    """
    if _held:
        return next(iter(_held))
    names = gpus() if names is None else names
    if not names:
        return "cpu"
    if _shared():
        return "cuda:0"
    [(name, locks)] = _lease_together(1, names, every).items()
    device = f"cuda:{list(names).index(name)}"
    _held[device] = locks
    return device


def use_device(name: str | None = None) -> "torch.device":
    """The device `name`, by default what `acquire_gpu` chooses; a GPU becomes torch's current one, `cuda` the first."""
    import torch

    device = torch.device(name or acquire_gpu())
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)  # set_device refuses a GPU without a number
        torch.cuda.set_device(device)
    return device


def send(array: "np.ndarray", device: "torch.device") -> "torch.Tensor":
    """Copy an array to a device. For a GPU the host does not wait, because the copy is from pinned memory."""
    import numpy as np
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def acquire_gpus(count: int, names: Sequence[str], every: float = 0.5) -> list[str]:
    """The names of `count` GPUs, leased to this process until it ends; all GPUs if there are fewer, none if shared.

    All are leased together or none: two jobs that each held some GPUs while waiting for more would wait for ever.
    """
    count = min(count, len(names))
    if _shared() or not count:
        return []
    leased = _lease_together(count, names, every)
    _held.update(leased)
    return list(leased)


def _shared() -> bool:
    return os.environ.get(SHARE, "0") not in ("", "0")


def _lease_together(count: int, names: Sequence[str], every: float) -> dict[str, ExitStack]:
    """`count` of the GPUs `names`, each with its locks; waits until so many are free, and holds none meanwhile."""
    folders, told = _folders(), False
    while True:
        leased: dict[str, ExitStack] = {}
        taken = []
        for name in names:
            if len(leased) < count:
                found = _lease([folder / f"{name}.lock" for folder in folders])
                if isinstance(found, ExitStack):
                    leased[name] = found
                else:
                    taken.append(found)
        if len(leased) == count:
            return leased
        for locks in leased.values():
            locks.close()
        if not told:
            holders = ", ".join(map(_holder, taken))
            have = f"other jobs have {len(taken)} ({holders})"
            say(f"waiting for {count} of {len(names)} GPUs: {have}; {SHARE}=1 shares them")
            told = True
        time.sleep(every)


def _folders() -> list[Path]:
    """The folders of lock files: LOCKS; otherwise one in the user's runtime folder and one in the temporary folder."""
    if configured := os.environ.get(LOCKS):
        return [Path(configured)]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    writable = [runtime] if runtime and Path(runtime).is_dir() and os.access(runtime, os.W_OK | os.X_OK) else []
    return [Path(folder) / f"speechladder-gpus-{os.getuid()}" for folder in [*writable, tempfile.gettempdir()]]


def _lease(paths: list[Path]) -> ExitStack | Path:
    """Lock all of these files in their order; or lock none, and return the first that another process has."""
    with ExitStack() as locks:
        handles = []
        for path in paths:
            if (handle := try_lock(path)) is None:
                return path
            handles.append(locks.enter_context(handle))
        for handle in handles:
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
        return locks.pop_all()


def _holder(path: Path) -> str:
    try:
        return f"process {path.read_text().strip() or 'unknown'}"
    except FileNotFoundError:
        return "process unknown"
