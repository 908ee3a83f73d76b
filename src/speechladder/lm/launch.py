"""Start the processes of one training: plain python, torchrun on one node, or srun and a torchrun on each SLURM node.

In addition to torchrun: SIGTERM goes to the training processes themselves, so that they write their checkpoint in
their own time (torchrun would kill them after 30 seconds); an interrupted training ends with status 75 here too; all
processes end with this one; and their GPUs are leased (io.devices), so that no other job of the project computes on
them. Loads no torch.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from speechladder.io.devices import acquire_gpus
from speechladder.io.errors import UserError
from speechladder.io.processes import RUNNER, runner
from speechladder.lm.output import MARK

INTERRUPTED = 75  # exit status after SIGTERM: a checkpoint is written, and the same command continues
LAUNCHED = "SPEECHLADDER_LAUNCHED"  # environment variable: the launcher waits, so an interruption is not a failure
PORTS = range(10_000, 30_000)  # below those that the system assigns itself
SHUTDOWN = 240  # seconds that torchrun gives its processes to write a checkpoint after SIGTERM; its default is 30


# ---------------------------------------------------------------- the command


@dataclass(frozen=True)
class Allocation:
    """The resources of a SLURM job, or of this machine. `gpus` and `cpus` are per node, None if unknown. `job` is the
    number of the job, `restarts` how often SLURM has restarted it."""

    nodes: int = 1
    gpus: int | None = None
    cpus: int | None = None
    job: str | None = None
    restarts: str = "0"


def read_allocation(environ: Mapping[str, str], ask: Callable[[str], str] | None = None) -> Allocation:
    """The allocation that the environment variables describe.

    The variables of the job are read (SLURM_JOB_NUM_NODES), not those of the one-task step that this process may be
    (SLURM_NNODES). Snakemake's plugin removes most of them; then `ask` answers (number of a job -> output of
    `scontrol show job`).
    """
    gpus = None
    if environ.get("SLURM_GPUS_ON_NODE"):
        gpus = int(environ["SLURM_GPUS_ON_NODE"])
    elif "CUDA_VISIBLE_DEVICES" in environ:
        gpus = sum(1 for name in environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip())
    job = environ.get("SLURM_JOB_ID")
    if job is None:
        return Allocation(gpus=gpus)
    given = [environ.get(name) for name in ("SLURM_JOB_NUM_NODES", "SLURM_CPUS_PER_TASK", "SLURM_RESTART_COUNT")]
    if not given[0]:
        text = (ask or _scontrol)(job)
        given = [_field(text, name) for name in ("NumNodes", "CPUs/Task", "Restarts")]
    nodes, cpus, restarts = given
    return Allocation(int(nodes or 1), gpus, int(cpus) if cpus else None, job, restarts or "0")


def _scontrol(job: str) -> str:
    try:
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"SLURM_JOB_ID is {job}, but `scontrol show job {job}` fails: {error}") from None
    return done.stdout


def _field(text: str, name: str) -> str | None:
    """A number in the output of `scontrol show job`; the first of a range, which NumNodes may be."""
    found = re.search(rf"(?:^|\s){name}=(\d+)", text)
    return found and found[1]


def launch_command(
    trainer: Path, arguments: Sequence[str], given: Allocation, host: str, processes: int | None = None
) -> list[str]:
    """The command that trains in `processes` processes in all, one GPU each; None: one for each allocated GPU.

    `host` is the name by which the other nodes reach this one, where the processes meet. Raise UserError if the
    allocation does not hold so many processes.
    """
    if processes is None:
        processes = given.nodes * max(given.gpus or 1, 1)
    if processes < 1:
        raise UserError(f"--processes: {processes}; at least one process trains")
    nodes = given.nodes if processes > 1 else 1
    if processes % nodes:
        raise UserError(f"--processes: {processes} processes cannot be divided evenly among the job's {nodes} nodes")
    each = processes // nodes
    if given.gpus and each > given.gpus:
        raise UserError(
            f"--processes: {each} processes on a node that gives the job {given.gpus} GPUs; ask for more "
            "(SPEECHLADDER_LM_GPUS of workflow/profiles/slurm) or lower it"
        )
    train = [str(trainer), *arguments]
    if processes == 1:
        return [sys.executable, *train]
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={each}"]
    torchrun += [f"--shutdown-timeout={SHUTDOWN}"]
    if nodes == 1:
        return [*torchrun, "--standalone", *train]
    port = PORTS.start + int(given.job or 0) % len(PORTS)  # two jobs that share a node get different ports
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
    srun += ["--kill-on-bad-exit=1"] + ([f"--gpus-per-node={each}"] if given.gpus else [])
    srun += [f"--cpus-per-task={given.cpus}"] if given.cpus else []
    meet = ["--rdzv-backend=c10d", f"--rdzv-id={given.job}.{given.restarts}", f"--rdzv-endpoint={host}:{port}"]
    return [*srun, *torchrun, f"--nnodes={nodes}", *meet, *train]


# ---------------------------------------------------------------- the processes


def is_worker() -> bool:
    """Whether torchrun has started this process."""
    return "RANK" in os.environ


def launch_processes(script: Path, arguments: Sequence[str], processes: int, out: Path) -> None:
    """Run `script` with `arguments` in `processes` processes on each node, until all have ended.

    Raise UserError with the exit status or signal if one failed, and SystemExit(75) if SIGTERM interrupted them.
    """
    job = read_allocation(os.environ) if "SLURM_JOB_ID" in os.environ else Allocation()
    if job.nodes > 1:
        command = launch_command(script, arguments, job, socket.gethostname(), processes * job.nodes)
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        # a scheduler signals torchrun too, which would kill a checkpoint that takes longer than 30 seconds
        command += ["--monitor-interval=0.2", f"--shutdown-timeout={SHUTDOWN}", str(script), *arguments]
    env = os.environ | {LAUNCHED: str(os.getpid()), RUNNER: runner()}
    if job.nodes == 1 and (leased := acquire_gpus(processes, _gpus())):
        env["CUDA_VISIBLE_DEVICES"] = ",".join(f"GPU-{name}" for name in leased)
    torchrun = subprocess.Popen(command, env=env, start_new_session=True)

    came: list[int] = []
    mark = out / MARK
    earlier = mark.stat().st_mtime_ns if mark.is_file() else None  # of a model that this training replaces

    def forward(number: int, frame: object) -> None:
        came.append(number)
        # srun forwards the signal; if there are no workers yet, torchrun ends
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
    finished = mark.is_file() and mark.stat().st_mtime_ns != earlier
    if came and not finished:
        raise SystemExit(INTERRUPTED)
    if status:
        raise UserError(
            f"one of {processes} processes failed, and torchrun ended the others; the first process that failed says "
            "why above (exitcode -9: something killed it, most likely a lack of memory). The same command continues "
            "from the last checkpoint"
        )
    if not finished:
        raise SystemExit(INTERRUPTED)


@contextmanager
def catch_sigterm() -> Iterator[list[int]]:
    """Yield a list that is empty until SIGTERM has arrived."""
    came: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    except ValueError:  # not in the main thread, which alone receives signals
        yield came
        return
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _gpus() -> list[str]:
    """`devices.gpus()` in a process of its own, because looking at a GPU loads torch and takes memory of the first."""
    command = [sys.executable, "-c", "from speechladder.io.devices import gpus; print(*gpus())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _workers(pid: int) -> list[psutil.Process]:
    """The child processes of torchrun."""
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
