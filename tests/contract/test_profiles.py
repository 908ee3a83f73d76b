"""The profiles: what may compute on a GPU asks for one, every rule that is named exists, one place for a cluster."""

import ast
import re
from pathlib import Path

import pytest
import yte

from speechladder.settings import STAGES

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "speechladder"


def _rules() -> dict[str, set[str]]:
    """Rule -> scripts that its command runs."""
    out = {}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        parts = re.split(r"^\s*(?:rule|use rule \w+ as) (\w+)(?: with)?:", path.read_text(), flags=re.M)
        for name, text in zip(parts[1::2], parts[2::2]):
            out[name] = out.get(name, set()) | set(re.findall(r"\"\$SCRIPTS\"/(\w+\.py)", text))
    return out


def _module(name: str) -> Path | None:
    path = PACKAGE.parent / name.replace(".", "/")
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


def _imports(path: Path) -> set[Path]:
    """The library's modules that a file imports, anywhere in it, and those that these import."""
    found, todo = set(), [path]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            if isinstance(node, ast.Constant) and re.fullmatch(r"speechladder[\w.]*:\w+", str(node.value)):
                names = [node.value.partition(":")[0]]  # a script's main("package.module:function")
            for name in names:
                module = _module(name) if name.startswith("speechladder") else None
                if module and module not in found:
                    found.add(module)
                    todo.append(module)
    return found


def _on_gpu() -> set[str]:
    """The rules whose scripts import code of ours that speaks of CUDA."""
    out = set()
    for rule, scripts in _rules().items():
        modules = set().union(*(_imports(ROOT / "scripts" / name) for name in scripts))
        if any("cuda" in path.read_text() for path in modules):
            out.add(rule)
    return out


def _profile(name: str, monkeypatch: pytest.MonkeyPatch, **environ: str) -> dict:
    for variable in ("ACCOUNT", "PARTITION", "GPU_PARTITION", "GPUS", "LM_GPUS", "LM_NODES", "MAX_HOURS", "SCRATCH"):
        monkeypatch.delenv(f"SPEECHLADDER_{variable}", raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    with (ROOT / "workflow" / "profiles" / name / "config.yaml").open() as file:
        return yte.process_yaml(file, require_use_yte=True)


def _gpu_rules(profile: dict) -> set[str]:
    return {rule for rule, given in profile["set-resources"].items() if given.get("gpu") or given.get("gres")}


def test_the_table_of_stages_lists_every_rule_and_its_gpu(monkeypatch):
    assert STAGES.keys() == _rules().keys()
    for name in ("slurm", "default"):
        profile = _profile(name, monkeypatch, CUDA_VISIBLE_DEVICES="0")
        assert _gpu_rules(profile) == {rule for rule, stage in STAGES.items() if stage.gpu}, name


def test_every_rule_of_a_profile_exists(monkeypatch):
    for name in ("slurm", "default"):
        assert set(_profile(name, monkeypatch, CUDA_VISIBLE_DEVICES="0")["set-resources"]) <= set(_rules()), name


@pytest.mark.parametrize("name", ["slurm", "default"])
def test_what_may_compute_on_a_gpu_asks_for_one(monkeypatch, name):
    asking = _gpu_rules(_profile(name, monkeypatch, CUDA_VISIBLE_DEVICES="0"))
    # they take shares of a table of counts from units_quality, which reads a codebook, whose module can also train one;
    # the page asks lm.output for the commit of the code
    assert _on_gpu() - asking == {
        *("units_quality", "count_phone_units", "questions", "make_report", "diagnosis_quality", "diagnose_units"),
    }
    assert asking - _on_gpu() <= {
        "train_kmeans"
    }  # its faiss is that of the environment, on a GPU where it is faiss-gpu's


def test_a_job_of_gpus_is_one_task(monkeypatch):
    profile = _profile("slurm", monkeypatch, SPEECHLADDER_LM_GPUS="4")
    for rule in _gpu_rules(profile):
        assert profile["set-resources"][rule]["tasks"] == 0, rule
    assert profile["set-resources"]["train_lm"]["gpu"] == 4


def test_a_training_over_nodes_has_its_share_of_gpus_on_each(monkeypatch):
    train = _profile("slurm", monkeypatch, SPEECHLADDER_LM_GPUS="16", SPEECHLADDER_LM_NODES="2")["set-resources"][
        "train_lm"
    ]
    # the plugin's own srun cannot start one task over two nodes' GPUs: "mpi" keeps it away, and asks for a task a node
    assert (train["nodes"], train["tasks"], train["gres"], train["mpi"]) == (2, 2, "gpu:8", "srun")
    assert "gpu" not in train
    assert train["tasks_per_gpu"] == 0


def test_account_and_partitions_have_one_place(monkeypatch):
    own = {"SPEECHLADDER_ACCOUNT": "ling", "SPEECHLADDER_PARTITION": "long", "SPEECHLADDER_GPU_PARTITION": "a100"}
    profile = _profile("slurm", monkeypatch, **own, SPEECHLADDER_SCRATCH="/scratch/me")
    default, rules = profile["default-resources"], profile["set-resources"]
    assert (default["slurm_account"], default["slurm_partition"], default["tmpdir"]) == (
        "'ling'",
        "'long'",
        "'/scratch/me'",
    )
    for rule, given in rules.items():
        assert given["slurm_partition"] == ("'a100'" if rule in _gpu_rules(profile) else "'long'"), rule
    plain = _profile("slurm", monkeypatch)
    assert "slurm_partition" not in plain["default-resources"]
    cpu = _profile(
        "slurm", monkeypatch, SPEECHLADDER_GPUS="0", SPEECHLADDER_PARTITION="long", SPEECHLADDER_GPU_PARTITION="a100"
    )
    assert _gpu_rules(cpu) == set()
    assert {given["slurm_partition"] for given in cpu["set-resources"].values()} == {"'long'"}


def test_memory_and_time_grow_with_the_attempt_as_far_as_the_partition_goes(monkeypatch):
    profile = _profile("slurm", monkeypatch, SPEECHLADDER_MAX_HOURS="10")
    for given in [profile["default-resources"], *profile["set-resources"].values()]:
        first, second, last = (
            {name: eval(str(given[name]), {"attempt": attempt}) for name in ("mem_mb", "runtime")}  # as Snakemake does
            for attempt in (1, 2, 4)
        )
        assert second["mem_mb"] == 2 * first["mem_mb"]
        assert first["runtime"] <= second["runtime"] <= last["runtime"] <= 600
    assert profile["retries"] >= 1


def test_a_workstation_runs_as_many_gpu_jobs_as_it_has_gpus(monkeypatch):
    monkeypatch.setattr("sys.argv", ["snakemake"])
    assert "gpu=3" in _profile("default", monkeypatch, CUDA_VISIBLE_DEVICES="0,1,2")["resources"]
    none = _profile("default", monkeypatch, CUDA_VISIBLE_DEVICES="")
    assert none["resources"] == ["downloads=3"]
    assert "set-resources" not in none


def test_the_default_profile_leaves_another_one_s_keys_alone(monkeypatch):
    # Snakemake loads it over the profile of --profile, and a key replaces the other's whole
    monkeypatch.setattr("sys.argv", ["snakemake", "--profile", "workflow/profiles/slurm"])
    ours = _profile("default", monkeypatch, CUDA_VISIBLE_DEVICES="0,1")
    theirs = _profile("slurm", monkeypatch)
    assert {key for key in set(ours) & set(theirs) if ours[key] != theirs[key]} == set()
