"""How a training is started on what a SLURM job gives, and what becomes of an earlier run's jobs."""

import sys
from pathlib import Path

import pytest

from speechladder.io.errors import UserError
from speechladder.lm.launch import Allocation, launch_command, read_allocation
from speechladder.workflow.leftovers import cancel_leftovers, leftovers

TRAINER = Path("scripts/train_lm.py")
ARGUMENTS = ["--tokens", "t", "--out", "o"]


def _command(environ: dict[str, str], processes: int | None = None) -> str:
    words = launch_command(TRAINER, ARGUMENTS, read_allocation(environ), "node7", processes)
    return " ".join(words).replace(sys.executable, "python")


RUN = "scripts/train_lm.py --tokens t --out o"
TORCHRUN = "python -m torch.distributed.run --nproc-per-node={} --shutdown-timeout=240"


@pytest.mark.parametrize(
    ("environ", "processes", "expected"),
    [
        pytest.param({}, None, f"python {RUN}", id="a laptop"),
        pytest.param({"CUDA_VISIBLE_DEVICES": ""}, None, f"python {RUN}", id="no GPU allowed"),
        pytest.param(
            {"CUDA_VISIBLE_DEVICES": "0,1"}, None, f"{TORCHRUN.format(2)} --standalone {RUN}", id="a workstation"
        ),
        pytest.param({"CUDA_VISIBLE_DEVICES": "0,1"}, 1, f"python {RUN}", id="a workstation, one process"),
        pytest.param(
            {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "1", "SLURM_GPUS_ON_NODE": "1"},
            None,
            f"python {RUN}",
            id="1 node, 1 GPU",
        ),
        pytest.param(
            {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "1", "SLURM_GPUS_ON_NODE": "4"},
            None,
            f"{TORCHRUN.format(4)} --standalone {RUN}",
            id="1 node, 4 GPUs",
        ),
        pytest.param(
            # a step of one task in a job of two nodes: SLURM_NNODES is that of the step
            {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "2", "SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "8"}
            | {"SLURM_CPUS_PER_TASK": "32", "SLURM_RESTART_COUNT": "1"},
            None,
            "srun --overlap --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1"
            f" --gpus-per-node=8 --cpus-per-task=32 {TORCHRUN.format(8)} --nnodes=2 --rdzv-backend=c10d --rdzv-id=41.1"
            f" --rdzv-endpoint=node7:10041 {RUN}",
            id="2 nodes, 8 GPUs each",
        ),
        pytest.param(
            {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "2"},
            4,
            "srun --overlap --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1"
            f" {TORCHRUN.format(2)} --nnodes=2 --rdzv-backend=c10d --rdzv-id=41.0 --rdzv-endpoint=node7:10041 {RUN}",
            id="2 nodes without GPUs",
        ),
    ],
)
def test_the_command_fits_the_allocation(environ, processes, expected):
    assert _command(environ, processes) == expected


def test_a_job_whose_variables_the_plugin_took_away_is_asked_for():
    text = "JobId=41 JobName=x Requeue=1 Restarts=2 NumNodes=2-2 NumCPUs=32 NumTasks=2 CPUs/Task=16 ReqB:S:C:T=0:0:*:*"
    given = read_allocation({"SLURM_JOB_ID": "41", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, ask={"41": text}.get)
    assert given == Allocation(nodes=2, gpus=4, cpus=16, job="41", restarts="2")


@pytest.mark.parametrize(
    ("environ", "processes", "message"),
    [
        ({}, 0, "at least one"),
        ({"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "2"}, 3, "cannot be divided evenly among the job's 2 nodes"),
        ({"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_GPUS_ON_NODE": "2"}, 4, "SPEECHLADDER_LM_GPUS"),
    ],
)
def test_more_than_the_job_has_is_refused(environ, processes, message):
    with pytest.raises(UserError, match=message):
        _command(environ, processes)


FAKE = """#!/bin/sh
case "$(basename "$0")" in
    squeue) cat {queue} ;;
    scancel) echo "$@" >> {cancelled}; {effect} ;;
esac
"""


@pytest.fixture
def queue(tmp_path, monkeypatch) -> Path:
    """A squeue that prints a file, and a scancel that notes its words and empties the file."""
    lines, folder = tmp_path / "queue", tmp_path / "bin"
    folder.mkdir()
    text = FAKE.format(queue=lines, cancelled=tmp_path / "cancelled", effect=f": > {lines}")
    for name in ("squeue", "scancel"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    (tmp_path / "run" / ".snakemake" / "slurm_logs").mkdir(parents=True)
    lines.write_text("")
    return lines


def test_jobs_of_this_folder_s_dead_run_are_cancelled(tmp_path, queue):
    run = tmp_path / "run"
    queue.write_text(
        f"7|rule_align_wildcards_0|{run}\n8|rule_align_wildcards_0|{tmp_path}\n9|(null)|{run}\n12_3|rule_train_lm|{run}\n"
    )
    assert leftovers(run) == ["7", "12_3"]
    words = "--state=PENDING 7 12_3\n"
    cancel_leftovers(run)
    assert (tmp_path / "cancelled").read_text().startswith(words)
    before = (tmp_path / "cancelled").read_text()
    cancel_leftovers(run)  # nothing is left
    assert (tmp_path / "cancelled").read_text() == before


def test_what_does_not_listen_to_sigterm_is_cancelled(tmp_path, queue):
    run = tmp_path / "run"
    queue.write_text(f"7|rule_align|{run}\n")
    stubborn = f'#!/bin/sh\ncase "$1" in --*) ;; *) : > {queue} ;; esac\necho "$@" >> {tmp_path}/cancelled\n'
    (tmp_path / "bin" / "scancel").write_text(stubborn)
    cancel_leftovers(run, gentle=0.05, hard=5, every=0.02)
    assert (tmp_path / "cancelled").read_text() == "--state=PENDING 7\n--signal=TERM 7\n7\n"


def test_a_folder_that_never_saw_slurm_asks_nobody(tmp_path, queue):
    queue.write_text(f"7|rule_align|{tmp_path}\n")
    assert leftovers(tmp_path) == []


def test_jobs_that_do_not_end_stop_the_run(tmp_path, queue):
    run = tmp_path / "run"
    queue.write_text(f"7|rule_align|{run}\n")
    (tmp_path / "bin" / "scancel").write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="jobs of an earlier run do not end: 7"):
        cancel_leftovers(run, gentle=0.05, hard=0.05, every=0.02)


def test_a_training_of_a_job_over_nodes_is_started_on_each(monkeypatch, tmp_path):
    """In a SLURM job of two nodes, the rule starts srun and a torchrun on each by train_lm.py with lm.processes."""
    from speechladder.lm import launch

    started = []

    class Srun:
        def __init__(self, command, **_):
            started.append(command)

        def wait(self):
            (tmp_path / "train.json").write_text("{}")  # the training has ended
            return 0

        def poll(self):
            return 0

    monkeypatch.setattr(launch.subprocess, "Popen", Srun)
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4"}.items():
        monkeypatch.setenv(name, value)
    launch.launch_processes(Path("train_lm.py"), ["--seed", "0"], 4, tmp_path)
    (command,) = started
    assert command[0] == "srun" and "--nodes=2" in command
    assert "--nproc-per-node=4" in command and "--nnodes=2" in command
    assert command[-3:] == ["train_lm.py", "--seed", "0"]
