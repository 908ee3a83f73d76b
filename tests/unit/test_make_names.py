"""What make says of NAME= before anything is installed or run, and what it passes on."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make here")


def make(*words: str, **environment: str) -> str:
    """What `make` prints; the environment of Python counts as installed."""
    command = ["make", "-C", str(HOME), f"VENV={environment.pop('VENV')}", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=60)
    return done.stdout + done.stderr


@pytest.fixture
def venv(tmp_path) -> str:
    """An environment whose python prints its options, and whose snakemake does nothing."""
    (tmp_path / "bin").mkdir()
    for name, text in (("python", 'printf "%s\\n" "$@"'), ("snakemake", "")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".installed").touch()
    return str(tmp_path)


@pytest.mark.parametrize("name", ["a/b", "../x", "Mine", 'a b"c', "a'b", "a;b"])
@pytest.mark.parametrize("target", ["diagnose", "diagnose-audio", "entry"])
def test_a_name_that_is_no_folder_is_refused(venv, target, name):
    found = make(target, f"NAME={name}", "UNITS={}", VENV=venv)
    assert f"NAME={name}: write small letters, digits and hyphens" in found and "--units" not in found


def test_only_a_name_of_the_command_line_counts(venv):
    """WSL has the machine's name in NAME."""
    assert "--name\n\n" in make("entry", "UNITS={}", VENV=venv, NAME="desktop-1")
    assert ".work/diagnose/units/units.json" in make("diagnose", "UNITS={}", VENV=venv, NAME="desktop-1")
    assert "--name\nmine\n" in make("entry", "NAME=mine", "UNITS={}", VENV=venv)


@pytest.mark.parametrize("target", ["diagnose", "entry"])
def test_units_keep_their_quotes_spaces_and_dollars(venv, target):
    units = "{path: 'my units/$a \"b\".jsonl', source: external}"
    assert f"--units={units}\n" in make(target, "NAME=mine", f"UNITS={units}", VENV=venv)
