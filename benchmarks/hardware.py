"""What a benchmark ran on: the part of its result that a reader needs first."""

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

from speechladder.lm.output import commit


def processor() -> str:
    """The model name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def about(threads: int, gpu: str | None = None) -> dict[str, Any]:
    """Date, commit, processor, threads, GPU, and how busy the machine was with other work."""
    return {
        "date": date.today().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": gpu,
        "load_average": round(os.getloadavg()[0], 1),
    }
