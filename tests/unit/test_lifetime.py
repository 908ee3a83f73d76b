"""A killed run leaves neither orphans nor a lock."""

import os
import signal
import subprocess
import sys
import time

import pytest

from speechladder.io.errors import UserError
from speechladder.io.lifetime import RUNNER, hold_lock, runner, unlock

SLEEPER = "from speechladder.io.errors import script\nimport time\nscript(lambda: time.sleep(60))()"


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


def test_a_lock_is_gone_with_its_holder(tmp_path):
    lock = tmp_path / ".snakemake" / "lock"
    code = (
        f"from speechladder.io.lifetime import hold_lock; hold_lock({str(lock)!r}); print('held', flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid}"):
        hold_lock(lock)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    hold_lock(lock)
