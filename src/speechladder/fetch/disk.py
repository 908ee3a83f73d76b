"""Room on a disk."""

import errno
import shutil
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.io.progress import size_text

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MARGIN = 0.01  # share of free room to leave beyond the bytes that will be written


def free_space(folder: Path) -> tuple[Path, int]:
    """(the nearest existing folder at or above `folder`, free bytes on its disk)."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return there, shutil.disk_usage(there).free


def check_disk(folder: Path, needed: float, purpose: str) -> None:
    """Raise UserError unless the disk of `folder`, which need not exist, has room for `needed` bytes and a margin."""
    _, free = free_space(folder)
    if needed * (1 + MARGIN) > free:
        raise UserError(
            f"{folder}: needs {size_text(needed * (1 + MARGIN))} for {purpose}, has {size_text(free)}; "
            "free some room, or set downloads.folder to a larger disk"
        )
