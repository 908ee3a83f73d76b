"""A real SLURM, on this one machine: the same table as without, whoever is killed in the middle."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.cluster.one_machine import Cluster
from tests.e2e.conftest import ROOT, kill_all, run

TABLES = ("table.csv", "factors.csv", "baselines.csv", "layers.csv", "learning.csv", "continuation.csv", "rejected.csv")
# a training that lasts some ten seconds and more
LONG = "lm={max_steps: 1500, max_passes: 1e6, valid_every: 500, patience: 100, checkpoint_every: 100000}"
MODEL = "results/lm/text-bpe/seed0"
TARGET = f"{MODEL}/train.json"


class Run:
    """A snakemake with the profile, whose output is kept in a file."""

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, folder: Path, *words: str, home: Path | None = None) -> None:
        self.folder, self.log = folder, folder.parent / f"{folder.name}.log"
        environ = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"}
        environ |= {"SPEECHLADDER_PARTITION": "cpu", "SPEECHLADDER_GPU_PARTITION": "gpu"}
        environ |= {"SPEECHLADDER_SCRATCH": str(folder.parent)} | ({"HOME": str(home)} if home else {})
        command = [str(Path(sys.executable).parent / "snakemake"), "--snakefile", str(ROOT / "Snakefile")]
        command += ["--profile", str(ROOT / "workflow/profiles/slurm")]
        command += ["--slurm-init-seconds-before-status-checks", "2"]  # 20 spare a large cluster's controller
        command += ["--configfile", str(ROOT / "presets/smoke.yaml"), "--directory", str(folder), *words]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env=environ, start_new_session=True
            )
        self.started.append(self.process)

    def until(self, ready: Callable[[], object], seconds: float = 180) -> object:
        """What `ready` returns, as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            assert self.process.poll() is None, "snakemake ended: " + self.log.read_text()[-5000:]
            assert time.monotonic() < deadline, self.log.read_text()[-5000:]
            time.sleep(0.05)
        return found

    def end(self, seconds: float = 1500) -> str:
        """Wait for success; what was said."""
        assert self.process.wait(seconds) == 0, self.log.read_text()[-8000:]
        return self.log.read_text()


@pytest.fixture(autouse=True, scope="module")
def nothing_left() -> Iterator[None]:
    """No snakemake outlives these tests."""
    yield
    for process in Run.started:
        if process.poll() is None:
            kill_all(process)


def _job(cluster: Cluster, rule: str) -> str | None:
    """The number of a running job of a rule."""
    return next((job for job, comment in cluster.jobs().items() if comment.startswith(f"rule_{rule}")), None)


@pytest.fixture(scope="module")
def submitted(cluster, tmp_path_factory) -> tuple[Path, str, str, Path]:
    """The smoke preset through SLURM, two of its jobs cancelled in the middle: folder, output, a training job, home."""
    folder = tmp_path_factory.mktemp("slurm") / "run"
    home = folder.parent / "home"
    for path in (folder, home):
        path.mkdir()
    going = Run(folder, "results/table.csv", home=home)

    def speaking() -> str | None:
        return (list(folder.glob("results/corpus/audio/.tmp-*")) or None) and _job(cluster, "build_corpus")

    def training() -> str | None:
        return (list(folder.glob("results/lm/*/seed0.checkpoints")) or None) and _job(cluster, "train_lm")

    cluster.ask("scancel", str(going.until(speaking)))
    job = str(going.until(training, 900))
    about = cluster.ask("scontrol", "show", "job", job)
    cluster.ask("scancel", job)
    return folder, going.end(), about, home


def test_the_table_is_the_local_run_s(submitted, smoke):
    folder = submitted[0]
    for name in TABLES:
        assert (folder / "results" / name).read_bytes() == (smoke / "results" / name).read_bytes(), name


def test_cancelled_jobs_are_tried_again_with_more(submitted):
    _, out, _, _ = submitted
    assert out.count("Trying to restart job") >= 2
    assert "mem_mb=8000" in out  # the second attempt of build_corpus, whose first has 4000


def test_a_job_of_a_gpu_asks_for_one_and_starts_once(submitted):
    folder, _, about, _ = submitted
    assert "Partition=gpu" in about
    assert "gres:gpu:1" in about
    assert "Comment=rule_train_lm" in about
    log = (folder / "results/logs/train_lm/speech-hubert.seed0.log").read_text()
    assert log.count("parameters") == 1


def test_nothing_half_written_is_left_and_home_holds_snakemakes_own_cache_alone(submitted):
    folder, _, _, home = submitted
    left = [p for p in (folder / "results").rglob("*") if ".tmp-" in p.name or p.name.endswith(".checkpoints")]
    assert left == []
    # Snakemake chooses that place before it reads a configuration; XDG_CACHE_HOME moves it (docs/clusters.md)
    own = home / ".cache" / "snakemake"
    assert [path for path in home.rglob("*") if path != own.parent and not path.is_relative_to(own)] == []


@pytest.fixture(scope="module")
def uninterrupted(smoke, tmp_path_factory) -> Path:
    """A longer training, on this machine and in one go."""
    folder = tmp_path_factory.mktemp("local") / "run"
    shutil.copytree(smoke, folder, copy_function=shutil.copy2)
    run(folder, "--config", LONG, "--", TARGET)
    return folder


def test_a_training_survives_scancel_and_the_death_of_snakemake(cluster, smoke, uninterrupted, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(smoke, folder, copy_function=shutil.copy2)
    words = ("--config", LONG, "--", TARGET)
    (folder / "results/logs/train_lm/text-bpe.seed0.log").unlink()  # of the model that is there
    log = folder / "results/logs/train_lm/text-bpe.seed0.log"
    going = Run(folder, *words)

    def training(before: str | None = None) -> str | None:
        job = _job(cluster, "train_lm")
        return job if job and job != before and log.exists() and "parameters" in log.read_text() else None

    first = str(going.until(training))
    time.sleep(2)
    cluster.ask("scancel", first)  # SIGTERM: a checkpoint at whatever step it is
    going.until(lambda: "Trying to restart job" in going.log.read_text())
    # checkpoint_every is never reached: SIGTERM wrote it
    assert list(folder.glob(f"{MODEL}.checkpoints/step*")), going.log.read_text()[-3000:]
    second = str(going.until(lambda: training(first) and "resuming from step" in log.read_text() and training(first)))
    os.killpg(going.process.pid, signal.SIGKILL)  # as when the node dies on which snakemake runs
    going.process.wait()
    assert _job(cluster, "train_lm") == second  # SLURM does not know, and runs it on
    assert "ending 1 jobs" in Run(folder, *words).end()
    for name in ("model.safetensors", "train.json"):
        assert (folder / MODEL / name).read_bytes() == (uninterrupted / MODEL / name).read_bytes()


RANKS = """
import sys
from pathlib import Path
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(total)
Path(f"{sys.argv[1]}.{dist.get_rank()}").write_text(f"{dist.get_world_size()} {total.item()}")
dist.destroy_process_group()
"""


@pytest.mark.parametrize(("nodes", "processes"), [(1, 2), (2, 2)])
def test_several_processes_meet_over_the_nodes_of_a_job(cluster, tmp_path, nodes, processes):
    (tmp_path / "ranks.py").write_text(RANKS)
    launch = f"{sys.executable} {ROOT}/scripts/launch_lm.py --trainer {tmp_path}/ranks.py -- {tmp_path}/rank"
    (tmp_path / "Snakefile").write_text(
        f'rule train_lm:\n    output: "done"\n    shell: "{launch} && touch {{output}}"\n'
    )
    environ = os.environ | {"SPEECHLADDER_LM_NODES": str(nodes), "SPEECHLADDER_LM_GPUS": str(processes)}
    environ |= {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), os.environ.get("PYTHONPATH", "")))}
    command = [str(Path(sys.executable).parent / "snakemake"), "--profile", str(ROOT / "workflow/profiles/slurm")]
    command += ["--slurm-init-seconds-before-status-checks", "2", "--retries", "0", "--directory", str(tmp_path)]
    command += ["--snakefile", str(tmp_path / "Snakefile"), "done"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=900)
    logs = "".join(path.read_text() for path in tmp_path.glob(".snakemake/slurm_logs/**/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    total = sum(range(1, processes + 1))
    found = sorted(path.read_text() for path in tmp_path.glob("rank.*"))
    assert found == [f"{processes} {total:.1f}"] * processes
