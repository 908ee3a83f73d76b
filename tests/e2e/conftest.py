"""Runs of the whole workflow, as a user starts it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]


def command(folder: Path, *words: str, preset: str = "smoke", cores: int = 2) -> list[str]:
    """The snakemake command of the preset in a folder of its own."""
    snakemake = str(Path(sys.executable).parent / "snakemake")
    return [
        *(snakemake, "--snakefile", str(ROOT / "Snakefile"), "--cores", str(cores)),
        *("--configfile", str(ROOT / "presets" / f"{preset}.yaml"), "--directory", str(folder), *words),
    ]


def run(folder: Path, *words: str, preset: str = "smoke", cores: int = 2, check: bool = True) -> str:
    """Run to the end; returns stdout and stderr together, which the assertion shows when it failed."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command(folder, *words, preset=preset, cores=cores), capture_output=True, text=True, cwd=ROOT, timeout=540
    )
    out = done.stdout + done.stderr
    if check:
        assert done.returncode == 0, out[-6000:]
    else:
        assert done.returncode != 0, out[-6000:]
    return out


def kill_all(process: subprocess.Popen) -> None:
    """kill -9 of snakemake and of everything that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def copy_run(run: Path, folder: Path) -> Path:
    """A copy of a finished run, without what the runs of other tests may be writing there."""
    shutil.copytree(run, folder, symlinks=True, ignore=shutil.ignore_patterns("log", "locks", "report.html"))
    return folder


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """The folder of one finished smoke run, shared by the workers: the first to ask makes it, the others wait.

    A test that makes or changes results works in a copy of it (`copy_run`).
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "smoke", shared / "smoke.done"
    with FileLock(shared / "smoke.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a run that failed: each worker says why
            run(folder, "results/table.csv")
            done.touch()
    return folder
