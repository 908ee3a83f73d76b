"""Containers and conda files: the lock's versions, one base image, nothing that is not there. None is built here."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = {"FROM", "ARG", "ENV", "WORKDIR", "COPY", "SHELL", "RUN", "ENTRYPOINT", "CMD"}


def _pins(name: str) -> dict[str, str]:
    return dict(line.split("==") for line in (ROOT / name).read_text().splitlines() if line and line[0] not in "#-")


def _dockerfile() -> list[tuple[str, str]]:
    """Instruction and the rest of each, continued lines joined, comments left out."""
    lines = [line for line in (ROOT / "containers/Dockerfile").read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def _definition() -> dict[str, str]:
    """Header fields and sections of the Apptainer definition."""
    text = (ROOT / "containers/speechladder.def").read_text()
    head, *sections = re.split(r"^%", text, flags=re.M)
    out = dict(re.findall(r"^(\w+): (\S+)$", head, flags=re.M))
    return out | {section.split("\n", 1)[0].strip(): section.split("\n", 1)[1] for section in sections}


def _installs(text: str) -> list[str]:
    """The pip commands of a text, without the choice of torch's build."""
    commands = re.findall(r"pip install [^\n&]*", text)
    return [" ".join(command.replace("${TORCH_ARGS}", "").split()) for command in commands]


def test_the_dockerfile_is_well_formed():
    instructions = _dockerfile()
    assert instructions[0][0] == "FROM"
    assert {name for name, _ in instructions} <= INSTRUCTIONS
    image, _, tag = instructions[0][1].partition(":")
    assert tag and tag != "latest", image
    for name, rest in instructions:
        if name == "COPY":
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest
        if name in ("ENTRYPOINT", "CMD", "SHELL"):
            assert re.fullmatch(r"\[(\"[^\"]*\"(, )?)+\]", rest), f"{name} in shell form loses signals"
    # the lock is copied and installed before the code, so that a changed script installs nothing anew
    steps = [rest for name, rest in instructions if name in ("COPY", "RUN")]
    assert steps.index(". .") > next(i for i, step in enumerate(steps) if "-r requirements.lock" in step)


def test_both_images_are_made_alike():
    definition, docker = _definition(), _dockerfile()
    assert definition["Bootstrap"] == "docker"
    assert definition["From"] == docker[0][1]
    ours = _installs("\n".join(rest for name, rest in docker if name == "RUN"))
    assert ours == _installs(definition["post"])
    assert ours[1:] == [
        "pip install -r requirements.lock",
        "pip install --no-deps -r requirements-cluster.lock",
        "pip install --no-deps -e .",
    ]
    assert '"/opt/speechladder/Snakefile"' in docker[-2][1]
    assert "/opt/speechladder/Snakefile" in definition["runscript"]


def test_images_and_conda_have_the_python_that_is_tested():
    python = re.match(r"python:(\d+\.\d+)-", _dockerfile()[0][1])[1]
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert asked == f">={python}"
    for path in (ROOT / "envs").glob("*.yaml"):
        assert f"python={python}" in yaml.safe_load(path.read_text())["dependencies"], path


def test_no_environment_carries_what_a_run_makes():
    ignored = set((ROOT / ".dockerignore").read_text().splitlines())
    made = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line.endswith("/")}
    assert {"results", "downloads", ".venv", ".snakemake", ".work"} <= made & ignored
    assert ".git" in ignored


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "envs").glob("*.yaml")))
def test_a_conda_file_has_the_lock_s_versions(name):
    lock = _pins("requirements.lock")
    dependencies = yaml.safe_load((ROOT / "envs" / name).read_text())["dependencies"]
    pip = dependencies[-1]["pip"]
    if pip in (["-r ../requirements.lock"], ["-r ../requirements-s3prl.lock"]):
        return  # a lock itself
    pins = dict(line.split("==") for line in pip)
    assert pins.items() <= lock.items(), {name for name in pins if pins[name] != lock.get(name)}


def test_the_cluster_lock_holds_the_plugin_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["cluster"]
    pins = _pins("requirements-cluster.lock")
    assert set(pins) == {"snakemake-executor-plugin-slurm", "snakemake-executor-plugin-slurm-jobstep"}
    assert project == [f"snakemake-executor-plugin-slurm=={pins['snakemake-executor-plugin-slurm']}"]
    assert not set(pins) & set(_pins("requirements.lock"))  # a laptop need not have it
