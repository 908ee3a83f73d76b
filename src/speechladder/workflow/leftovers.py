"""Jobs of an earlier run on the cluster: SLURM keeps them running if snakemake is killed or its node dies."""

import shutil
import subprocess
import time
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.io.progress import say

GENTLE = 300.0  # seconds for a training to write its checkpoint after SIGTERM
HARD = 120.0  # seconds after scancel, which itself leaves 30 (KillWait) unless a site changed it


def leftovers(folder: Path) -> list[str]:
    """Numbers of this user's SLURM jobs that a snakemake submitted from `folder`; an empty list without SLURM.

    Snakemake's jobs are recognised by their comment (rule_NAME...) and the folder that they work in.
    """
    if not shutil.which("squeue") or not (folder / ".snakemake" / "slurm_logs").is_dir():
        return []
    command = ["squeue", "--me", "--noheader", "--format=%i|%k|%Z"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError):
        return []  # no controller answers, so no job can be found
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    here = folder.resolve()
    return [job for job, comment, work in rows if comment.startswith("rule_") and Path(work).resolve() == here]


def cancel_leftovers(folder: Path, gentle: float = GENTLE, hard: float = HARD, every: float = 1.0) -> None:
    """End the jobs of a run that is gone, and wait until they have ended, so that they do not write beside this run's.

    The caller must hold the folder's lock: then no live run owns these jobs. Their processes get SIGTERM and `gentle`
    seconds, in which a training writes its checkpoint; then they are cancelled. Raises UserError if they do not end
    within another `hard` seconds. `every`: seconds between looks.
    """
    jobs = leftovers(folder)
    if not jobs:
        return
    say(f"ending {len(jobs)} jobs that an earlier run of this folder left on the cluster: {' '.join(jobs)}")
    _scancel("--state=PENDING", *jobs)
    _scancel("--signal=TERM", *jobs)
    if _gone(folder, gentle, every):
        return
    _scancel(*leftovers(folder))
    if not _gone(folder, hard, every):
        left = " ".join(leftovers(folder))
        raise UserError(f"jobs of an earlier run do not end: {left}; see squeue, and start again when they are gone")


def _scancel(*words: str) -> None:
    subprocess.run(["scancel", *words], capture_output=True, timeout=60, check=False)


def _gone(folder: Path, seconds: float, every: float) -> bool:
    deadline = time.monotonic() + seconds
    while leftovers(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
