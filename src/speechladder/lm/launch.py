"""Start the processes of one training by torchrun, as `torchrun --standalone --nproc-per-node N` does on one node; in a
SLURM job of several nodes by srun, a torchrun on each (lm.nodes).

What it adds: SIGTERM goes to the processes themselves, so that they write their checkpoint in their own time (torchrun
would kill them after 30 seconds); an interrupted training ends with 75 here too; all of them end with this process; and
their GPUs are leased (io.devices), so that no other job of the project computes on them.
Loads no torch.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from speechladder.io.devices import acquire_gpus
from speechladder.io.errors import UserError
from speechladder.io.processes import RUNNER, runner
from speechladder.lm.nodes import SHUTDOWN, Allocation, allocation
from speechladder.lm.nodes import command as over_nodes

INTERRUPTED = 75
LAUNCHED = "SPEECHLADDER_LAUNCHED"  # environment variable: the launcher waits, and an interruption is no failure


def is_worker() -> bool:
    """Whether torchrun has started this process."""
    return "RANK" in os.environ


def launch(script: Path, arguments: Sequence[str], processes: int, out: Path) -> None:
    """Run `script` with `arguments` in `processes` processes on each node, until all have ended.

    Raises UserError where one failed, with its exit status or signal; SystemExit(75) where SIGTERM interrupted them.
    """
    job = allocation(os.environ) if "SLURM_JOB_ID" in os.environ else Allocation()
    if job.nodes > 1:
        command = over_nodes(script, arguments, job, socket.gethostname(), processes * job.nodes)
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        # a scheduler signals torchrun too, which would kill a checkpoint that takes longer than 30 seconds
        command += ["--monitor-interval=0.2", f"--shutdown-timeout={SHUTDOWN}", str(script), *arguments]
    env = os.environ | {LAUNCHED: str(os.getpid()), RUNNER: runner()}
    if job.nodes == 1 and (leased := acquire_gpus(processes, _gpus())):
        env["CUDA_VISIBLE_DEVICES"] = ",".join(f"GPU-{name}" for name in leased)
    torchrun = subprocess.Popen(command, env=env, start_new_session=True)

    came: list[int] = []

    def forward(number: int, frame: object) -> None:
        came.append(number)
        # srun hands it on; where there are no workers yet, it is torchrun that ends
        for process in (_workers(torchrun.pid) if job.nodes == 1 else []) or [torchrun]:
            process.send_signal(number)

    before = signal.signal(signal.SIGTERM, forward)
    try:
        status = torchrun.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
        if torchrun.poll() is None:  # Ctrl-C
            for worker in _workers(torchrun.pid):
                worker.kill()
            torchrun.kill()
    if came and not out.is_dir():
        raise SystemExit(INTERRUPTED)
    if status:
        raise UserError(
            f"one of {processes} processes failed, and torchrun ended the others; the first that failed says why above "
            "(exitcode -9: it was killed, by a lack of memory if by nobody). The same command goes on from the last "
            "checkpoint"
        )
    if not out.is_dir():
        raise SystemExit(INTERRUPTED)


def _gpus() -> list[str]:
    """`devices.gpus()`, asked by a process of its own: looking at a GPU loads torch and takes memory of the first."""
    command = [sys.executable, "-c", "from speechladder.io.devices import gpus; print(*gpus())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _workers(pid: int) -> list[psutil.Process]:
    """torchrun's own children."""
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
