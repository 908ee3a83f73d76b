"""A cluster for the tests of this folder, which `make test-cluster` runs and `make test` skips."""

import importlib.util
import os
from collections.abc import Iterator

import pytest

from tests.cluster.one_machine import Cluster, missing
from tests.e2e.conftest import smoke

__all__ = ["smoke"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """SLURM with two nodes of one CPU and two GPUs (in name) each, on this machine."""
    if os.environ.get("SPEECHLADDER_TEST_CLUSTER") != "1":
        pytest.skip("starts SLURM on this machine and takes minutes: make test-cluster")
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("the SLURM plugin is not installed: pip install --no-deps -r requirements-cluster.lock")
    if reason := missing():
        pytest.skip(reason)
    with Cluster() as made:
        yield made
