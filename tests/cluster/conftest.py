"""A cluster for the tests of this folder, which `make test-cluster` runs and `make test` skips."""

import importlib.util
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.one_machine import Cluster, missing
from tests.e2e.conftest import ROOT, command


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """SLURM with two nodes of one CPU and two GPUs (in name) each, on this machine."""
    if os.environ.get("SPEECHLADDER_TEST_CLUSTER") != "1":
        pytest.skip("starts SLURM on this machine and takes minutes: make test-cluster")
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("the SLURM plugin is not installed: pip install --no-deps -r requirements-cluster.lock")
    if reason := missing():
        pytest.skip(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does: what was started is ended
    with Cluster() as made:
        yield made


@pytest.fixture(scope="session")
def smoke(cluster, tmp_path_factory) -> Path:
    """The smoke preset on this machine, without SLURM, as long as it takes; or SPEECHLADDER_SMOKE, the folder of one
    that this very code has made."""
    if given := os.environ.get("SPEECHLADDER_SMOKE"):
        return Path(given)
    folder = tmp_path_factory.mktemp("smoke") / "run"
    folder.mkdir()
    done = subprocess.run(command(folder, "results/table.csv"), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder
