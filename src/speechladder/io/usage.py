"""What a job has used of CPU and memory, as the last line of its log.

Snakemake's benchmark files sample a job's processes: twice a second for 15 seconds, and then every 30 seconds. What a
process computes after the last sample, and what a child computes that starts and ends between two of them, is missing
there. The kernel counts both.
"""

import re
import resource
import sys
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(r"^used ([\d.]+) CPU seconds, peak memory (\d+) MB\r?$", flags=re.M)
_TAIL = 1 << 16  # bytes of a log in which the line is searched


class Usage(NamedTuple):
    """CPU seconds (user and system) of a process and its children, and the peak of the largest of them in MB."""

    cpu_seconds: float
    peak_mb: float

    def __str__(self) -> str:
        return f"used {self.cpu_seconds:.2f} CPU seconds, peak memory {self.peak_mb:.0f} MB"


def measure() -> Usage:
    """Return what this process and its children have used so far. Waits for the workers of pools that are shut down.

    The kernel counts a child when it has ended and its parent has waited for it. Processes that srun starts belong to
    the cluster's daemon and are not counted; each of them prints what it used itself.
    """
    if pools := sys.modules.get("multiprocessing"):
        for child in pools.active_children():
            if not child.daemon:  # as at the end of the interpreter
                child.join()
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = max(each.ru_maxrss for each in found) / 1024  # KiB on Linux
    return Usage(sum(each.ru_utime + each.ru_stime for each in found), peak)


def read(log: Path) -> Usage | None:
    """Return what the last such line of a log says; None without a log or a line (an older log, or the job failed)."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - _TAIL))
            lines = _LINE.findall(handle.read().decode(errors="replace"))
    except OSError:
        return None
    return Usage(float(lines[-1][0]), float(lines[-1][1])) if lines else None
