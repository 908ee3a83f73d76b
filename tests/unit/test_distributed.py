"""One training in two processes (gloo, CPU) has the losses of one, resumes on another number, and never hangs."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from toy_rung import write_rung
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from speechladder.lm import train as loop
from speechladder.settings import DIMENSIONS, LM

ROOT = Path(__file__).resolve().parents[2]
SIZE = {"hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1, "intermediate_size": 64, "window": 64}
BASE = LM(
    **SIZE,
    batch_windows=5,  # odd: one of two processes has a window without targets
    optimizer="adamw",
    lr=1e-2,
    warmup_steps=3,
    max_steps=12,
    valid_every=4,
    checkpoint_every=4,
    learning_points=1,
    precision="fp32",
)
# Muon computes its updates in bf16; at this rate their rounding is within what `assert_same_run` allows.
# Without grouped queries the layers are those of lm.fused, in one process and under ddp.
MUON = {"optimizer": "muon", "lr": 1e-3, "adamw_lr": 1e-2, "kv_heads": 2}

# Each rank does several trainings in turn, because starting Python and torch takes longer than they do.
WORKER = """
import json, os, signal, sys
from pathlib import Path
from speechladder.lm import train as loop
from speechladder.lm.step import TrainState
from speechladder.settings import LM

step = TrainState.train_step
for job in json.loads(sys.argv[1]):
    os.environ["MASTER_PORT"] = str(job["port"])
    done = []

    def terminated(self, data, lr):
        done.append(1)
        if len(done) == job["terminate"] and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, data, lr)

    TrainState.train_step = terminated
    try:
        loop.train_lm(Path(job["tokens"]), Path(job["out"]), 0, LM(**job["settings"]))
    except SystemExit as stop:
        assert stop.code == 75 and job["terminate"], stop
"""


def changed(**changes: object) -> LM:
    return LM(**(BASE.model_dump() | changes))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def rows(folder: Path, key: str) -> list[float]:
    found = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row[key] for row in found if key in row]


def assert_same_run(one: Path, other: Path) -> None:
    """The same losses, validation and weights, up to rounding in fp32."""
    assert rows(one, "step") == rows(other, "step")
    np.testing.assert_allclose(rows(other, "loss"), rows(one, "loss"), rtol=2e-5)
    np.testing.assert_allclose(rows(other, "valid_bits_per_token"), rows(one, "valid_bits_per_token"), rtol=2e-5)
    for name in ("model.safetensors", f"learning/{6 * 5 * 64}.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys()
        for key, value in a.items():
            torch.testing.assert_close(b[key], value, rtol=1e-3, atol=2e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings by one process and by two: ddp, fsdp, a warm start, and some that SIGTERM interrupts."""
    folder = tmp_path_factory.mktemp("distributed")
    tokens = write_rung(folder / "toy")
    loop.train_lm(tokens, folder / "alone", 0, BASE)
    loop.train_lm(tokens, folder / "muon-alone", 0, changed(**MUON))
    settings = LlamaConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, rms_norm_eps=1e-3, rope_parameters={"rope_type": "default", "rope_theta": 50.0},
    )  # fmt: skip
    LlamaForCausalLM(settings).save_pretrained(folder / "text-lm")
    variants = {
        "warm": (
            LM(
                **(
                    {k: v for k, v in BASE.model_dump().items() if k not in DIMENSIONS}
                    | {"init": str(folder / "text-lm"), "parallel": "fsdp", "max_steps": 4}
                )
            ),
            0,
        ),
        "ddp": (changed(parallel="ddp"), 0),
        "fsdp": (changed(parallel="fsdp", micro_windows=2, activation_checkpointing="on"), 0),
        "interrupted": (changed(parallel="ddp", micro_windows=1), 5),
        "muon-ddp": (changed(parallel="ddp", **MUON), 0),
        "muon-fsdp": (changed(parallel="fsdp", micro_windows=2, **MUON), 0),
        "muon-interrupted": (changed(parallel="fsdp", **MUON), 5),
    }
    jobs = [
        {"tokens": str(tokens), "out": str(folder / name), "settings": settings.model_dump(), "terminate": terminate}
        | {"port": free_port()}
        for name, (settings, terminate) in variants.items()
    ]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(jobs)],
            env=os.environ | {"RANK": str(n), "WORLD_SIZE": "2", "LOCAL_RANK": str(n), "MASTER_ADDR": "127.0.0.1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)
    return folder


def test_a_warm_start_by_fsdp_is_written_as_it_was_trained(folder):
    """config.json has the rotary base and epsilon of the text LM too, so that the scored model is the trained one."""
    found = AutoConfig.from_pretrained(folder / "warm")
    assert (found.rope_parameters["rope_theta"], found.rms_norm_eps) == (50.0, 1e-3)
    summary = json.loads((folder / "warm" / "train.json").read_text())
    assert summary["valid_bits_per_token"] == pytest.approx(
        min(rows(folder / "warm", "valid_bits_per_token")), rel=1e-5
    )


@pytest.mark.parametrize("prefix", ["", "muon-"])
@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_two_processes_have_the_loss_curve_of_one(folder: Path, name: str, prefix: str) -> None:
    assert_same_run(folder / f"{prefix}alone", folder / f"{prefix}{name}")


@pytest.mark.parametrize(("prefix", "settings"), [("", BASE), ("muon-", changed(**MUON))])
def test_sigterm_to_one_of_two_stops_both_at_one_step_and_one_resumes(folder: Path, prefix: str, settings: LM) -> None:
    """One process resumes the checkpoint of two, and takes all windows at once."""
    checkpoints = folder / f"{prefix}interrupted.checkpoints"
    assert not (folder / f"{prefix}interrupted").exists()
    assert sorted(p.name for p in checkpoints.glob("step*"))[-1] == "step0000006"  # all agree one step later
    messages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "say", messages.append)
        loop.train_lm(folder / "toy", folder / f"{prefix}interrupted", 0, settings)
    assert "resuming from step 6" in messages
    assert_same_run(folder / f"{prefix}alone", folder / f"{prefix}interrupted")


def test_a_dead_process_ends_the_training_with_its_reason_and_nothing_hangs(folder: Path, tmp_path: Path) -> None:
    options = [f"--{k.replace('_', '-')}={v}" for k, v in SIZE.items()]
    options += ["--batch-windows=4", "--max-steps=1000000", "--max-passes=1000000", "--checkpoint-every=20"]
    script, out = ROOT / "scripts" / "train_lm.py", tmp_path / "seed0"
    command = [sys.executable, script, "--tokens", folder / "toy", "--out", out, "--processes=2", *options]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    checkpoints, deadline = tmp_path / "seed0.checkpoints", time.monotonic() + 120
    while not list(checkpoints.glob("step*")):
        assert started.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    (torchrun,) = psutil.Process(started.pid).children()
    victim = max(torchrun.children(), key=lambda p: int(p.environ()["RANK"]))
    victim.kill()
    errors = started.communicate(timeout=60)[1]
    assert started.returncode == 2
    assert f"exitcode  : -9 (pid: {victim.pid})" in errors  # the report of torchrun on the first process that failed
    assert "process 0 of 2 lost the others" in errors
    assert "train_lm.py: error: one of 2 processes failed" in errors
    assert not out.exists() and list(checkpoints.glob("step*"))
    assert not torchrun.is_running()
