"""Two entries made one after the other in one folder, and the leaderboard of them, under a contract of smoke size."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from speechladder.leaderboard.contract import freeze_contract
from speechladder.leaderboard.page import write_leaderboard

from .conftest import ROOT, copy_run

pytestmark = pytest.mark.e2e


def entry(folder: Path, name: str, *words: str) -> dict:
    """Make an entry as `make entry` does; returns its entry.json."""
    command = [sys.executable, str(ROOT / "scripts" / "run_entry.py"), "--name", name, *words, "--cores", "2"]
    command += ["--preset", str(folder / "tiny.yaml"), "--contract", str(folder / "tiny.json")]
    command += ["--folder", str(folder / "run"), "--out", str(folder / "entries"), "--diagnose", ""]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=540)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return json.loads((folder / "entries" / name / "entry.json").read_text())


def test_entries_share_the_speech_and_nothing_else(smoke, tmp_path):
    preset = yaml.safe_load((ROOT / "presets" / "smoke.yaml").read_text())
    preset |= {"continuation": {"enabled": False}, "scores": {"layers": False, "learning": False}}
    preset["lm"]["learning_points"] = 0
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(preset))
    freeze_contract(smoke / "results", str(tmp_path / "tiny.yaml"), tmp_path)
    run = copy_run(smoke, tmp_path / "run")  # with the units and models of another run, as an earlier entry leaves them
    spoken = {path: path.stat().st_mtime_ns for path in (run / "results" / "corpus").rglob("*.flac")}

    one = entry(tmp_path, "mfcc", "--units", "{source: mfcc, clusters: 20}")
    units = (run / "results" / "units" / "0.parquet").read_bytes()
    other = entry(tmp_path, "layer-2", "--units", "{layer: 2}")
    assert (run / "results" / "units" / "0.parquet").read_bytes() != units
    again = entry(tmp_path, "again", "--units", "{source: mfcc, clusters: 20}")

    assert {path: path.stat().st_mtime_ns for path in spoken} == spoken  # the speech was made once
    assert (run / "results" / "units" / "0.parquet").read_bytes() == units
    assert one["units_sha256"] == again["units_sha256"] != other["units_sha256"]
    assert one["quality"]["encoder"]["encoder"] == "mfcc" and one["facts"]["vocab_size"] == 24
    assert other["units"] == {"layer": 2, "clusters": 32, "sample_frames": 5000, "iterations": 5}

    answers = [(tmp_path / "entries" / name / "scores.parquet").read_bytes() for name in ("mfcc", "again", "layer-2")]
    assert answers[0] == answers[1] != answers[2]  # what lay between changed nothing
    shutil.rmtree(tmp_path / "entries" / "again")
    write_leaderboard(tmp_path / "entries", tmp_path / "tiny.json", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert all(f"| {name} |" in page for name in ("mfcc", "layer-2"))
