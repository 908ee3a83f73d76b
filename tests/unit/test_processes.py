"""Jobs end with the snakemake that started them."""

import os
import subprocess
import sys
import time

import pytest

from speechladder.io.processes import RUNNER, runner

SLEEPER = "from speechladder.command import script\nimport time\nscript(lambda: time.sleep(60))()"


def test_a_script_dies_with_its_runner():
    parent = subprocess.Popen(["sleep", "60"])
    value = runner(parent.pid)
    job = subprocess.Popen([sys.executable, "-c", SLEEPER], env=os.environ | {RUNNER: value})
    time.sleep(1.0)
    assert job.poll() is None
    parent.kill()
    parent.wait()
    assert job.wait(timeout=10) == 137


def test_a_script_without_a_runner_lives_on():
    env = {k: v for k, v in os.environ.items() if k != RUNNER}
    job = subprocess.Popen([sys.executable, "-c", SLEEPER], env=env)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(timeout=1.5)
    job.kill()
    job.wait()


def test_a_runner_on_another_machine_is_not_looked_for_here():
    # on the second node of a training job, the process id of snakemake belongs to another process, or to none
    gone = subprocess.Popen(["true"])
    gone.wait()
    job = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], env=os.environ | {RUNNER: f"another-boot.4026531836:{gone.pid}"}
    )
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(timeout=1.5)
    job.kill()
    job.wait()
