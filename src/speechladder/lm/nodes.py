"""How a training is started: plain python, torchrun on one node, or srun and a torchrun on each node of a SLURM job."""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechladder.io.errors import UserError

PORTS = range(10_000, 30_000)  # below those that the system gives away itself
SHUTDOWN = 240  # seconds that torchrun leaves its processes to write a checkpoint after SIGTERM; its own default is 30


@dataclass(frozen=True)
class Allocation:
    """What a SLURM job, or this machine, gives: nodes; of each, GPUs and CPUs (None: not said); the job's number and
    how often SLURM has restarted it."""

    nodes: int = 1
    gpus: int | None = None
    cpus: int | None = None
    job: str | None = None
    restarts: str = "0"


def allocation(environ: Mapping[str, str], ask: Callable[[str], str] | None = None) -> Allocation:
    """The allocation that the variables of the environment tell of.

    A job's own are read (SLURM_JOB_NUM_NODES), not those of the step of one task that this process may be
    (SLURM_NNODES). Snakemake's plugin takes most away; then `ask` tells (a job's number -> `scontrol show job`).
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
    """A number of `scontrol show job`; NumNodes may be a range."""
    found = re.search(rf"(?:^|\s){name}=(\d+)", text)
    return found and found[1]


def command(
    trainer: Path, arguments: Sequence[str], given: Allocation, host: str, processes: int | None = None
) -> list[str]:
    """The command that trains in `processes` processes in all, a GPU each; None: one for each GPU of the allocation.

    `host`: the name by which the other nodes reach this one, where the processes meet. Raises UserError where the
    allocation does not hold so many processes.
    """
    if processes is None:
        processes = given.nodes * max(given.gpus or 1, 1)
    if processes < 1:
        raise UserError(f"--processes: {processes}; at least one process trains")
    nodes = given.nodes if processes > 1 else 1
    if processes % nodes:
        raise UserError(f"--processes: {processes} processes cannot be shared out evenly over the job's {nodes} nodes")
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
    port = PORTS.start + int(given.job or 0) % len(PORTS)  # two jobs that share a node do not meet
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--cpu-bind=none"]
    srun += ["--kill-on-bad-exit=1"] + ([f"--gpus-per-node={each}"] if given.gpus else [])
    srun += [f"--cpus-per-task={given.cpus}"] if given.cpus else []
    meet = ["--rdzv-backend=c10d", f"--rdzv-id={given.job}.{given.restarts}", f"--rdzv-endpoint={host}:{port}"]
    return [*srun, *torchrun, f"--nnodes={nodes}", *meet, *train]
