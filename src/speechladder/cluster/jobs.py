"""Jobs of an earlier run that are still on the cluster: SLURM runs them on when snakemake is killed or its node dies"""

import shutil
import subprocess
import time
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.io.progress import say

WAIT = 120.0  # seconds: SLURM's own between SIGTERM and SIGKILL (KillWait) is 30, unless a site changed it


def leftovers(folder: Path) -> list[str]:
    """Numbers of this user's SLURM jobs that a snakemake submitted from `folder`; none where there is no SLURM.

    Snakemake's jobs are told by their comment (rule_NAME...) and the folder that they work in.
    """
    if not shutil.which("squeue") or not (folder / ".snakemake" / "slurm_logs").is_dir():
        return []
    command = ["squeue", "--me", "--noheader", "--format=%i|%k|%Z"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError):
        return []  # no controller answers: then no job of ours can be asked for either
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    here = folder.resolve()
    return [job for job, comment, work in rows if comment.startswith("rule_") and Path(work).resolve() == here]


def cancel_leftovers(folder: Path, wait: float = WAIT, every: float = 1.0) -> None:
    """Cancel the jobs of a run that is gone, so that none writes beside those of this one; waits until they are.

    To be called by whoever holds the folder's lock: then no run lives whose jobs these are. A training that is
    cancelled writes a checkpoint first. Raises UserError where they do not end within `wait` seconds.
    """
    jobs = leftovers(folder)
    if not jobs:
        return
    say(f"cancelling {len(jobs)} jobs that an earlier run of this folder left on the cluster: {' '.join(jobs)}")
    subprocess.run(["scancel", *jobs], capture_output=True, timeout=60, check=False)
    deadline = time.monotonic() + wait
    while jobs := leftovers(folder):
        if time.monotonic() > deadline:
            raise UserError(
                f"jobs of an earlier run do not end: {' '.join(jobs)}; see squeue, and start again after them"
            )
        time.sleep(every)
