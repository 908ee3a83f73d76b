"""kill -9 at any moment, then the same command: the same table, byte for byte, whatever --cores is."""

import subprocess
import time
from pathlib import Path

import pytest

from .conftest import ROOT, command, kill_all, run

pytestmark = pytest.mark.e2e


def _until(folder: Path, pattern: str, process: subprocess.Popen) -> None:
    """Wait until a file that fits appears."""
    limit = time.monotonic() + 240
    while not list(folder.glob(pattern)):
        assert process.poll() is None, f"snakemake ended before {pattern} was there"
        assert time.monotonic() < limit, f"no {pattern}"
        time.sleep(0.05)


def test_killed_runs_resume_to_the_same_table(smoke, tmp_path):
    # in the middle of speaking, of the units, of training (a checkpoint is there, the model is not), scoring, hearing
    moments = [
        "results/corpus/audio/.tmp-*",
        "results/units/centroids.safetensors",
        "results/lm/*/seed0.checkpoints/step*",
        "results/scores/*/swuggy.parquet",
        "results/continuation/*/transcripts.parquet",
    ]
    words = ("results/table.csv",)
    for moment in moments:
        with (tmp_path / "out.log").open("a") as log:
            process = subprocess.Popen(
                command(tmp_path, *words, cores=1), stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )
            _until(tmp_path, moment, process)
            kill_all(process)
    resumed = run(tmp_path, *words, cores=1)
    assert "resuming from step" in (tmp_path / "out.log").read_text() + resumed, "no training was resumed"
    assert [p for p in (tmp_path / "results").rglob("*") if ".tmp-" in p.name or p.name.endswith(".checkpoints")] == []
    ours, theirs = (folder / "results" for folder in (tmp_path, smoke))
    for name in ("table.csv", "factors.csv", "baselines.csv", "layers.csv", "learning.csv", "continuation.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    for rung in ("text-bpe", "speech-hubert"):
        weights = Path("lm") / rung / "seed0" / "model.safetensors"
        assert (ours / weights).read_bytes() == (theirs / weights).read_bytes()
