"""The workflow as a module of another one, in the layout that `snakedeploy deploy-workflow` makes."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT

pytestmark = pytest.mark.e2e
SNAKEFILE = """
configfile: "config/config.yaml"

module speechladder:
    snakefile: {snakefile!r}
    config: config

use rule * from speechladder
"""


def test_a_snakefile_of_three_statements_makes_the_table(smoke, tmp_path):
    settings = yaml.safe_load((ROOT / "presets" / "smoke.yaml").read_text())
    settings |= {
        "rungs": ["text-bpe"],
        "continuation": {"enabled": False},
    }  # enough for every stage's wiring
    for name, text in {
        "config/config.yaml": yaml.safe_dump(settings),
        "workflow/Snakefile": SNAKEFILE.format(snakefile=str(ROOT / "workflow" / "Snakefile")),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    command = [str(Path(sys.executable).parent / "snakemake"), "results/table.csv", "--cores", "2"]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    with (tmp_path / "results" / "table.csv").open() as file:
        assert [row["rung"] for row in csv.DictReader(file)] == ["text-bpe"]
    weights = Path("results/lm/text-bpe/seed0/model.safetensors")
    assert (tmp_path / weights).read_bytes() == (smoke / weights).read_bytes()


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text((ROOT / "workflow" / "Snakefile").read_text())
    command = [str(Path(sys.executable).parent / "snakemake"), "-n"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "clone the repository" in done.stdout + done.stderr
