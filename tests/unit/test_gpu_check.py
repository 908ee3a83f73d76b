"""benchmarks/gpu_check.py: its steps at a tiny size, its limits, its packages, and its figures in the plan."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import torch.nn.attention.flex_attention as torch_flex

from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.plan import rates as formulas
from speechladder.plan.rates import Rates

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import gpu_agree  # noqa: E402
import gpu_check  # noqa: E402
import gpu_correct  # noqa: E402
import gpu_rates  # noqa: E402
import gpu_sizes  # noqa: E402
import gpu_speed  # noqa: E402


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step changes in torch for itself is changed back."""
    monkeypatch.setattr(torch_flex, "_validate_device", torch_flex._validate_device)
    monkeypatch.setattr(gpu_speed.units_benchmark, "HUBERT_LARGE", gpu_speed.units_benchmark.HUBERT_LARGE)
    monkeypatch.setattr(gpu_speed.units_benchmark, "CLUSTERS", dict(gpu_speed.units_benchmark.CLUSTERS))


# ---------------------------------------------------------------- the steps


CORRECT = {"flex": 6, "resume": 1, "units": 3, "kmeans_agree": 4, "whisper": 2}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CORRECT)
def test_a_rehearsed_comparison_compares_and_holds(name: str, calm: None) -> None:
    lines = list(getattr(gpu_correct if name in ("flex", "resume") else gpu_agree, name)(True))
    checks = [line for line in lines if "holds" in line]
    assert len(checks) >= CORRECT[name]
    assert [line["figure"] for line in checks if line["holds"] is not True] == []
    json.dumps(lines)


SPEEDS = {
    "training": {"training_share_of_matrix_rate": 0.6},
    "extraction": {"encoder_times_real_time": 10_000, "extraction_times_real_time": 5000},
    "kmeans": {"kmeans_seconds_bf16": 60, "kmeans_seconds_fp32": 60},
    "scoring": {"scoring_vs_one_at_a_time": 5},
}
RATES = {"training": "lm_flops_1b", "extraction": "encoder_flops", "kmeans": "kmeans_flops", "scoring": "score_flops"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SPEEDS)
def test_a_speed_stands_beside_its_target_and_gives_a_rate(name: str, calm: None) -> None:
    """A tiny model on a CPU misses every target, and its figure is there all the same."""
    lines = list(getattr(gpu_speed, name)(True))
    found = {line["figure"]: line for line in lines}
    for key, target in SPEEDS[name].items():
        assert found[key]["target"] == target and found[key]["value"] > 0
    (rate,) = [line["rate"] for line in lines if "rate" in line]
    assert rate["name"] == RATES[name] and rate["value"] > 0
    assert [line["figure"] for line in lines if line.get("holds") is False] == []
    json.dumps(lines)


def test_a_comparison_that_is_off_is_seen(calm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask that forgets the document boundaries, one moment that is not restored, units that depend on the batch."""
    monkeypatch.setattr(gpu_correct, "flex_mask", lambda starts: gpu_correct.attention.flex_mask(0 * starts))
    assert any(line["holds"] is False for line in gpu_correct.flex(True))
    monkeypatch.undo()
    restore = gpu_correct.checkpoint.restore_tensors

    def forgetful(state, tensors):
        restore(state, {k: (0 * v if k.endswith("exp_avg") else v) for k, v in tensors.items()})

    monkeypatch.setattr(gpu_correct.checkpoint, "restore_tensors", forgetful)
    assert [line["holds"] for line in gpu_correct.resume(True)] == [False]
    monkeypatch.undo()
    features = gpu_agree.TransformersEncoder.features

    def shifted(self, waves):
        for batch in features(self, waves):
            yield [(i, x + (self.batch_seconds > 1) * torch.randn(x.shape)) for i, x in batch]

    monkeypatch.setattr(gpu_agree.TransformersEncoder, "features", shifted)
    assert [line.get("holds") for line in gpu_agree.units(True)] == [False, False, False, None]


def test_the_first_line_says_where_and_from_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu_check.COMMIT, "0123456789ab")
    first = next(gpu_correct.machine(True))["value"]
    assert (first["commit"], first["rehearsal"], first["device"]) == ("0123456789ab", True, "cpu")
    assert first["torch"] == torch.__version__ and len(first["date"]) == 10


def test_a_graph_that_is_compiled_late_is_counted(calm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = gpu_speed.TrainState.train_step, []

    def late(self, data, lr):
        calls.append(1)
        gpu_speed.counters["stats"]["unique_graphs"] += len(calls) == 5
        return step(self, data, lr)

    monkeypatch.setattr(gpu_speed.TrainState, "train_step", late)
    (line,) = [line for line in gpu_speed.training(True) if line["figure"] == "graphs compiled after step 3"]
    assert (line["value"], line["holds"]) == (1, False)


SNAKEMAKE = """
import sys
for done in range(1, 41):
    print(f"{done} of 40 steps ({done * 100 // 40}%) done")
print("error in rule x") if {status} else None
sys.exit({status})
"""


@pytest.mark.parametrize("status", [0, 1])
def test_the_table_says_how_far_it_came(status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snakemake").mkdir()
    (tmp_path / "snakemake/__init__.py").touch()
    (tmp_path / "snakemake/__main__.py").write_text(SNAKEMAKE.replace("{status}", str(status)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lines = gpu_speed.table(False)
    found = [next(lines) for _ in range(10)]
    assert [line["jobs"] for line in found] == list(range(4, 41, 4)) and found[-1]["of"] == 40
    if status:
        with pytest.raises(SystemExit, match=r"snakemake failed: .*error in rule x"):
            next(lines)
    else:
        assert [line["figure"] for line in lines] == ["table_minutes"]


# ---------------------------------------------------------------- the driver


FAKE = """
import subprocess, sys, time

def quick(rehearse):
    yield {"figure": "a", "value": 1, "target": 5}

def slow(rehearse):
    yield {"figure": "b", "value": 2}
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "gpu-check-worker"])
    time.sleep(600)

def wrong(rehearse):
    yield {"figure": "c", "value": 3, "holds": False}

def broken(rehearse):
    yield {"figure": "d", "value": 4}
    raise ValueError("a reason")

def dies(rehearse):
    import os
    yield {"figure": "e", "value": 5}
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the driver beside steps that load nothing."""
    (tmp_path / "fakes.py").write_text(FAKE)
    steps = [f'Step("{name}", "fakes:{name}", 20),' for name in ("quick", "slow", "wrong", "broken", "dies")]
    text = (ROOT / "benchmarks/gpu_check.py").read_text()
    begin, end = text.index("STEPS = (\n"), text.index("# ------", text.index("STEPS = (\n"))
    text = text[:begin] + f"STEPS = ({' '.join(steps)})\n\n\n" + text[end:]
    (tmp_path / "gpu_check.py").write_text(text.replace("LEAST = 15.0", "LEAST = 3.0"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return tmp_path / "gpu_check.py"


def run(script: Path, *words: str) -> tuple[int, list[dict]]:
    out = script.parent / "found" / "out.jsonl"
    command = [sys.executable, str(script), "--rehearse", "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, gpu_check.read_lines(out) if out.is_file() else [{"said": done.stderr}]


def test_without_a_gpu_nothing_begins_and_the_last_result_stays(fake: Path) -> None:
    out = fake.parent / "out.jsonl"
    out.write_text("kept")
    command = [sys.executable, str(fake), "--only", "quick", "--out", str(out)]
    environ = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 1 and out.read_text() == "kept"
    assert "PyTorch sees no GPU; --rehearse runs every step" in done.stderr


def test_a_missed_target_is_no_failure(fake: Path) -> None:
    status, lines = run(fake, "--only", "quick")
    assert status == 0
    assert [line.get("figure", line["step"]) for line in lines] == ["a", "end"]
    assert lines[-1]["failed"] == []


def test_what_was_measured_before_a_cut_stays(fake: Path) -> None:
    """One step runs beyond the time of the check with a worker of its own, and others fail: all others' lines stay."""
    begun = time.monotonic()
    status, lines = run(fake, "--only", "wrong,broken,dies,quick")
    assert status == 1
    assert [line["figure"] for line in lines if "figure" in line] == ["a", "c", "d", "e"]
    assert [text.split(":")[0] for text in lines[-1]["failed"]] == ["wrong", "broken", "dies"]
    assert "ValueError: a reason" in lines[-1]["failed"][1] and "status -9" in lines[-1]["failed"][2]
    status, lines = run(fake, "--seconds", "18", "--only", "slow,quick")
    assert status == 1 and time.monotonic() - begun < 120
    assert [line["figure"] for line in lines if "figure" in line] == ["a", "b"]
    assert any("ended at its limit" in line.get("error", "") for line in lines)
    assert not [p for p in psutil.process_iter(["cmdline"]) if "gpu-check-worker" in (p.info["cmdline"] or [])]


def test_an_end_from_outside_ends_the_running_step_too(fake: Path) -> None:
    out = fake.parent / "out.jsonl"
    command = [sys.executable, str(fake), "--rehearse", "--only", "slow", "--out", str(out)]
    check = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not (out.is_file() and out.read_text()):
        assert check.poll() is None
        time.sleep(0.1)
    check.terminate()
    assert check.wait(20) == 1 and [line["figure"] for line in gpu_check.read_lines(out)] == ["b"]
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(fake) in (p.info["cmdline"] or [])]


def test_without_time_a_step_is_skipped_and_an_unknown_one_is_named(fake: Path) -> None:
    status, lines = run(fake, "--seconds", "2", "--only", "quick")
    assert status == 0 and lines[0] == {"step": "quick", "skipped": "no time was left"}
    (fake.parent / "found/out.jsonl").unlink()
    status, lines = run(fake, "--only", "quik")
    assert status == 2 and "quik is no step; the steps are quick, slow" in lines[0]["said"]


def test_the_limits_of_the_named_steps_leave_time_for_all_before_the_table() -> None:
    """At their usual length; a step that takes its whole limit takes from those behind it."""
    *named, table = gpu_check.STEPS
    assert table.name == "table" and gpu_check.SECONDS <= 480
    assert sum(step.limit for step in named[:5]) <= gpu_check.SECONDS


# ---------------------------------------------------------------- packages


def test_a_step_that_needs_another_package_fails_in_the_preflight(fake: Path) -> None:
    (fake.parent / "fakes.py").write_text(
        "def quick(rehearse):\n    import faiss\n    yield {'figure': 'a', 'value': 1}\n"
    )
    status, lines = run(fake, "--list-imports", "--only", "quick")
    assert status == 1
    assert lines[0]["error"] == "ModuleNotFoundError: No module named 'faiss'"


def test_the_steps_need_only_what_is_carried(tmp_path: Path) -> None:
    """A step of each module runs where no other package exists."""
    wanted = [step for step in gpu_check.STEPS if step.name in ("resume", "kmeans", "kmeans_agree")]
    assert {step.function.split(":")[0] for step in wanted} == {step.function.split(":")[0] for step in gpu_check.STEPS}
    assert gpu_check.list_imports(wanted, tmp_path / "out.jsonl") == []
    assert {line["step"] for line in gpu_check.read_lines(tmp_path / "out.jsonl")} == {step.name for step in wanted}


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_check.lacking() == []
    monkeypatch.setitem(gpu_check.CARRIED, "never-seen", "never_seen")
    monkeypatch.setattr(gpu_check.importlib.metadata, "version", lambda name: "2.9.1+cu128" if name == "torch" else "9")
    assert gpu_check.lacking() == ["never-seen", "torch 2.11 or newer (it has 2.9.1+cu128)"]


def test_what_is_carried_has_the_locked_versions() -> None:
    locked = {line.strip() for name in ("", "-test") for line in (ROOT / f"requirements{name}.lock").open()}
    *pinned, accelerate = gpu_check.carried()
    assert accelerate.startswith("accelerate") and set(pinned) <= locked


# ---------------------------------------------------------------- figures in the plan


MACHINE = {
    "device": "cuda", "hardware": "NVIDIA H100 80GB HBM3", "date": "2026-12-01", "commit": "0123456789ab",
    "torch": "2.11.0+cu130", "rehearsal": False,
}  # fmt: skip


def result(tmp_path: Path, *lines: dict, **machine: object) -> Path:
    """An invented result file: its figures were measured nowhere."""
    path = tmp_path / "gpu_check.jsonl"
    given = [{"step": "machine", "figure": "machine", "value": MACHINE | machine}, *lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in given) + '{"step": "tab')
    return path


def measured(name: str, value: float, step: str = "training") -> dict:
    rate = {"name": name, "value": value, "unit": "FLOP/s", "what": "invented"}
    return {"step": step, "figure": "f", "value": 1.0, "rate": rate}


def test_the_plan_counts_with_measured_figures_in_place_of_assumed_ones(tmp_path: Path) -> None:
    before = Rates.load()
    assert before.gpu("lm_flops_1b", "H100", "bf16").basis == "published"
    path = result(tmp_path, measured("lm_flops_1b", 4e14), measured("kmeans_flops", 3e13, "kmeans"))
    write_json(tmp_path / "rates.json", read_json(formulas.FILE))
    for _ in range(2):  # a second time it replaces the first
        command = [
            sys.executable,
            str(ROOT / "benchmarks/gpu_rates.py"),
            str(path),
            "--out",
            str(tmp_path / "rates.json"),
        ]
        subprocess.run(command, check=True, capture_output=True)
    found = Rates.load(tmp_path / "rates.json")
    rate = found.gpu("lm_flops_1b", "H100", "bf16")
    assert (rate.value, rate.basis) == (4e14, "measured")
    assert rate.source == "NVIDIA H100 80GB HBM3, 2026-12-01, commit 0123456789ab"
    other = found.gpu("lm_flops_1b", "H200", "bf16")
    assert (other.value, other.basis) == (4e14, "derived")  # the two cards have the same peak
    assert found.gpu("kmeans_flops", "H100", "fp32").basis == "measured"
    assert len(found.content["measured"]) == len(before.content["measured"]) + 1
    assert found.get("lm_flops") == before.get("lm_flops")


@pytest.mark.parametrize(
    ("lines", "machine", "said"),
    [
        ([measured("lm_flops_1b", 1.0)], {"rehearsal": True}, "this is a rehearsal"),
        ([measured("lm_flops_1b", 1.0)], {"device": "cpu"}, "this is a rehearsal"),
        ([], {}, "no line has a rate; run the steps training"),
        ([measured("score_flops", 1.0), {"step": "training", "figure": "loss", "value": 1, "holds": False}], {},
         "a check of the step that measured score_flops does not hold"),
    ],
)  # fmt: skip
def test_figures_of_a_rehearsal_or_of_a_failed_step_are_refused(
    lines: list[dict], machine: dict, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        gpu_rates.read_check(result(tmp_path, *lines, **machine))


def test_a_file_that_is_missing_or_another_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: there is no such file; make it with"):
        gpu_rates.read_check(tmp_path / "none.jsonl")
    (tmp_path / "other.jsonl").write_text('{"step": "x", "figure": "y", "value": 2}\n')
    with pytest.raises(UserError, match=r"other\.jsonl: no line has the figure 'machine'"):
        gpu_rates.read_check(tmp_path / "other.jsonl")


def test_errors_are_relative_to_what_is_wanted() -> None:
    wanted = torch.tensor([3.0, 4.0])
    assert gpu_sizes.error_of(wanted * 1.1, wanted) == pytest.approx(0.1, rel=1e-5)
    assert np.isfinite(gpu_sizes.error_of(wanted * 0, wanted * 0))
