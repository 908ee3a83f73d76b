"""The training loop: it learns, stops, resumes to the same bits, and separates documents."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_rung import VOCAB, write_rung

from speechladder.io.errors import UserError
from speechladder.io.hashing import files_sha256
from speechladder.io.tables import TOKEN_INDEX, write_table
from speechladder.lm import checkpoint, fused, output
from speechladder.lm import train as loop
from speechladder.lm.attention import PackedAttention, attention_blocks
from speechladder.lm.batches import Batches
from speechladder.lm.model import autocast, build_model, resolve_precision
from speechladder.lm.optimizer import Optimizer
from speechladder.lm.prefetch import Prefetch
from speechladder.lm.schedule import learning_rate, planned_steps
from speechladder.lm.step import TrainState
from speechladder.rungs.data import TokenData
from speechladder.settings import LM

TINY = LM(
    hidden_size=16,
    layers=2,
    heads=4,
    kv_heads=2,
    intermediate_size=32,
    window=48,
    batch_windows=2,
    lr=1e-2,
    warmup_steps=4,
    max_steps=30,
    valid_every=10,
    checkpoint_every=10,
    learning_points=2,
)


TIMES = {"tokens_per_second", "mfu", "data_wait", "checkpoint_share", "memory_gb"}


def tiny(**changes: object) -> LM:
    return LM(**(TINY.model_dump() | changes))


@pytest.fixture(scope="module")
def rung(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rung(tmp_path_factory.mktemp("tokens") / "toy")


@pytest.fixture(scope="module")
def trained(rung: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lm") / "toy" / "seed0"
    loop.train_lm(rung, out, 0, TINY)
    return out


def log_of(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, snapshots and figures agree byte for byte, and the log except for times."""
    names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(other)) for p in other.rglob("*") if p.is_file())
    for name in names:
        if name.endswith(".safetensors") or name == "train.json":
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert log_of(one) == log_of(other)


def test_learns_and_writes_an_hf_folder(trained: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    summary, log = json.loads((trained / "train.json").read_text()), log_of(trained)
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    assert summary["valid_bits_per_token"] < 0.7 * np.log2(VOCAB)
    assert (summary["steps"], summary["train_tokens"], summary["stopped"]) == (30, 30 * 96, "limit")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(trained), AutoTokenizer.from_pretrained(trained)
    assert tokenizer("t4 t5").input_ids == [4, 5]
    assert sum(p.numel() for p in model.parameters()) == summary["parameters"]
    assert sorted(int(p.stem) for p in (trained / "learning").iterdir()) == [7 * 96, 15 * 96]
    card = (trained / "README.md").read_text()
    assert "toy, seed 0" in card and f"{summary['valid_bits_per_token']:.4f} bits per token" in card
    assert not checkpoint.checkpoint_folder(trained).exists()
    weights = [trained / "learning" / f"{15 * 96}.safetensors", trained / "learning" / f"{7 * 96}.safetensors"]
    assert summary["weights_sha256"] == files_sha256([*weights, trained / "model.safetensors"])


def test_validation_figures_are_those_of_the_saved_weights(trained: Path, rung: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, valid = AutoModelForCausalLM.from_pretrained(trained), TokenData(rung, "valid")
    bits = 0.0
    for i in range(len(valid)):
        ids = torch.from_numpy(valid.utterance(i).astype(np.int64))
        with torch.no_grad():
            logits = model(ids[None, :-1]).logits[0]
        bits += F.cross_entropy(logits, ids[1:], reduction="sum").item() / np.log(2)
    summary = json.loads((trained / "train.json").read_text())
    assert summary["valid_bits_per_token"] == pytest.approx(bits / (valid.lengths - 1).sum(), rel=1e-5)
    assert summary["valid_bits_per_second"] == pytest.approx(bits / valid.seconds.sum(), rel=1e-5)


def test_documents_in_a_window_do_not_see_each_other(rung: Path) -> None:
    data = TokenData(rung, "train")
    model = build_model(tiny(), data.meta, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # large weights, so that a leak would show
            parameter.normal_(std=0.3)
    batch = Batches(data, 0, window=300, batch_windows=2).at(0)
    inputs, _, positions, starts = map(torch.from_numpy, batch)
    blocks = attention_blocks(starts, torch.float32)
    assert len(blocks) == 2 * 3 and blocks[-1].low > 0
    with torch.no_grad():
        packed = model(input_ids=inputs, position_ids=positions, use_cache=False, blocks=blocks).logits
        model.set_attn_implementation("eager")
        checked = 0
        for row in range(2):
            edges = [*sorted(set(batch.starts[row])), 300]
            for begin, end in pairwise(edges):
                alone = model(input_ids=inputs[row : row + 1, begin:end], use_cache=False).logits[0]
                torch.testing.assert_close(packed[row, begin:end], alone, rtol=1e-4, atol=1e-4)
                checked += 1
    assert checked > 10


def test_packed_attention_and_its_gradients_are_those_of_masked_attention() -> None:
    torch.manual_seed(0)
    B, H, T, D = 2, 3, 200, 8
    q, k, v = (torch.randn(B, H, T, D, dtype=torch.float64, requires_grad=True) for _ in range(3))
    starts = torch.zeros(B, T, dtype=torch.long)
    starts[0, 50:], starts[0, 140:], starts[1, 150:] = 50, 140, 150
    order = torch.arange(T)
    seen = (order <= order[:, None]) & (order >= starts[:, :, None])
    weight = torch.randn(B, H, T, D, dtype=torch.float64)
    want = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None])
    expected = torch.autograd.grad((want * weight).sum(), (q, k, v))
    got = PackedAttention.apply(q, k, v, attention_blocks(starts, torch.float64))
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad((got * weight).sum(), (q, k, v)), expected)


def test_same_seed_same_bits_and_another_seed_others(trained: Path, rung: Path, tmp_path: Path) -> None:
    loop.train_lm(rung, tmp_path / "seed0", 0, TINY)
    assert_same_run(trained, tmp_path / "seed0")
    loop.train_lm(rung, tmp_path / "seed1", 1, TINY)
    assert (trained / "model.safetensors").read_bytes() != (tmp_path / "seed1" / "model.safetensors").read_bytes()


KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from speechladder.lm import checkpoint
from speechladder.lm import train as loop
from speechladder.lm.step import TrainState
from speechladder.settings import LM

tokens, out, where, settings = *map(Path, sys.argv[1:3]), sys.argv[3], LM(**json.loads(sys.argv[4]))
step, save_file, rmtree, done = TrainState.train_step, loop.save_file, shutil.rmtree, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def in_a_step(*args):
    while len(done) == 25 and not (Path(f"{out}.checkpoints") / "step0000020").exists():
        pass  # a thread writes it
    die() if len(done) == 25 else done.append(1)
    return step(*args)

def in_a_checkpoint(tensors, path, **options):
    if "step0000020" in str(path):
        path.write_bytes(b"half")
        die()
    save_file(tensors, path, **options)

def in_a_snapshot(tensors, path, **options):
    if "learning" in str(path) and str(15 * 96) in path.name:
        path.write_bytes(b"half")
        die()
    save_file(tensors, path, **options)

def in_the_removal(path, *args, **options):
    if (path / "log.jsonl").exists() and "checkpoints" in path.name:
        rmtree(path / "learning")
        (path / "log.jsonl").unlink()
        die()
    rmtree(path, *args, **options)

if where == "step":
    TrainState.train_step = in_a_step
elif where == "checkpoint":
    checkpoint.save_file = in_a_checkpoint
elif where == "snapshot":
    loop.save_file = in_a_snapshot
else:
    shutil.rmtree = in_the_removal
loop.train_lm(tokens, out, 0, settings)
"""


@pytest.mark.parametrize(("where", "resumed"), [("step", 20), ("checkpoint", 10), ("snapshot", 10), ("removal", None)])
def test_a_killed_run_resumes_to_the_same_bits(
    trained: Path, rung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, resumed: int | None
) -> None:
    out = tmp_path / "seed0"
    command = [sys.executable, "-c", KILLED, str(rung), str(out), where, TINY.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert out.exists() == (where == "removal")
    if out.exists():
        shutil.rmtree(out)  # as Snakemake does with the output of an unfinished job
    else:
        with (checkpoint.checkpoint_folder(out) / "log.jsonl").open("a") as log:  # by a killed process
            log.write('{"step": 99999, "tok')
    messages: list[str] = []
    monkeypatch.setattr(loop, "say", messages.append)
    loop.train_lm(rung, out, 0, TINY)
    assert [m for m in messages if m.startswith("resuming")] == ([f"resuming from step {resumed}"] if resumed else [])
    assert_same_run(trained, out)
    assert [p.name for p in tmp_path.iterdir()] == ["seed0"]


def test_a_checkpoint_without_its_snapshots_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (10, 20):
        checkpoint.save_checkpoint(tmp_path, step, {"a": torch.zeros(1)}, {"step": step}, {})
    (tmp_path / "learning").mkdir()
    (tmp_path / "learning" / "7.safetensors").touch()
    names = {7: "7.safetensors", 15: "15.safetensors", 30: "30.safetensors"}
    assert checkpoint.find_checkpoint(tmp_path, {}, lambda state: names) == 10
    assert "step0000020: checkpoint without its snapshots 15.safetensors" in capsys.readouterr().err
    (tmp_path / "learning" / "15.safetensors").touch()
    assert checkpoint.find_checkpoint(tmp_path, {}, lambda state: names) == 20


def test_commit_is_that_of_this_checkout_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "_git", lambda *words: "/elsewhere" if "rev-parse" in words else "0123")
    assert output.commit() == "unknown"


def test_sigterm_keeps_the_last_step(
    trained: Path, rung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, done = TrainState.train_step, []

    def terminated(*args: object) -> torch.Tensor:
        if len(done) == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        done.append(1)
        return step(*args)

    monkeypatch.setattr(TrainState, "train_step", terminated)
    with pytest.raises(SystemExit) as exit_:
        loop.train_lm(rung, tmp_path / "seed0", 0, TINY)
    assert exit_.value.code == 75
    assert (tmp_path / "seed0.checkpoints" / "step0000013").is_dir()
    monkeypatch.setattr(TrainState, "train_step", step)
    loop.train_lm(rung, tmp_path / "seed0", 0, TINY)
    assert_same_run(trained, tmp_path / "seed0")


def test_stops_when_validation_has_converged_and_keeps_the_best(tmp_path: Path) -> None:
    rung = write_rung(tmp_path / "toy", noise=True)  # validation gets worse during training
    summary = loop.train_lm(rung, tmp_path / "seed0", 0, tiny(max_steps=200, valid_every=5, patience=2))
    log = [row for row in log_of(tmp_path / "seed0") if "valid_bits_per_token" in row]
    assert summary["stopped"] == "converged" and summary["steps"] < 200
    best = min(log, key=lambda row: row["valid_bits_per_token"])
    assert summary["best_step"] == best["step"] == summary["steps"] - 2 * 5
    assert summary["valid_bits_per_token"] == pytest.approx(best["valid_bits_per_token"], rel=5e-3)  # fp32 and bf16


@pytest.mark.parametrize(
    ("schedule", "low", "last"), [("cosine", 0.1, 0.1), ("linear", 0.1, 0.1 + 0.9 / 28), ("linear", 0.0, 1 / 28)]
)
def test_pass_limit_shortens_the_schedule(rung: Path, schedule: str, low: float, last: float) -> None:
    batches = Batches(TokenData(rung, "train"), 0, 48, 2)
    settings = tiny(schedule=schedule, min_lr_ratio=low, max_passes=2.0, warmup_steps=2, max_steps=1000)
    total = planned_steps(settings, batches)
    assert total == -(-2 * batches.tokens_per_pass // 96) == 30
    rates = [learning_rate(settings, step, total) for step in range(total)]
    assert rates[:2] == [settings.lr / 2, settings.lr] and rates[-1] == pytest.approx(last * settings.lr)
    assert rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] > 0


def test_linear_falls_by_equal_parts_and_wsd_is_constant_before_it_falls() -> None:
    linear = tiny(schedule="linear", lr=1.0, warmup_steps=0, min_lr_ratio=0.5)
    assert [learning_rate(linear, step, 5) for step in range(5)] == pytest.approx([1, 0.9, 0.8, 0.7, 0.6])
    wsd = tiny(schedule="wsd", lr=1.0, warmup_steps=2, min_lr_ratio=0.0, decay_fraction=0.4)
    rates = [learning_rate(wsd, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    # no share is so small that the rate does not fall, and none so large that warm-up is lost
    assert learning_rate(tiny(schedule="wsd", lr=1.0, min_lr_ratio=0.0, decay_fraction=0.001), 999, 1000) == 1
    whole = tiny(schedule="wsd", lr=1.0, warmup_steps=4, min_lr_ratio=0.0, decay_fraction=1.0)
    assert [learning_rate(whole, step, 10) for step in (0, 3, 4, 9)] == pytest.approx([0.25, 1, 1, 1 / 6])


def test_a_training_of_one_step_learns() -> None:
    assert learning_rate(tiny(schedule="linear", min_lr_ratio=0.0), 0, 1) == TINY.lr


def test_damaged_checkpoints_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2, 3):
        checkpoint.save_checkpoint(tmp_path, step, {"a": torch.full((4,), float(step))}, {"step": step}, {"lm.lr": 1})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step0000002", "step0000003"]
    assert checkpoint.find_checkpoint(tmp_path, {"lm.lr": 1}) == 3
    tensors, state = checkpoint.load_checkpoint(tmp_path, 3)
    assert state == {"step": 3} and tensors["a"][0] == 3
    path = tmp_path / "step0000003" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert checkpoint.find_checkpoint(tmp_path, {"lm.lr": 1}) == 2
    assert "step0000003: damaged checkpoint" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"lm\.lr was 1, is 2\..*lm\.resume: never"):
        checkpoint.find_checkpoint(tmp_path, {"lm.lr": 2})
    # a run that resumes from 2 deletes the damaged one, which would count as the newest and displace the good one
    checkpoint.prepare_folder(tmp_path, 2)
    assert [p.name for p in sorted(tmp_path.glob("step*"))] == ["step0000002"]


def test_changed_data_and_settings_are_not_resumed(rung: Path, tmp_path: Path) -> None:
    data = TokenData(rung, "train")
    cpu = torch.device("cpu")
    before = checkpoint.fingerprint(TINY, 0, "fp32", cpu, data)
    how = {"checkpoint_every": 3, "micro_windows": 1, "processes": 2, "parallel": "fsdp", "resume": "never"}
    assert checkpoint.fingerprint(tiny(seeds=[0, 1], **how), 0, "fp32", cpu, data) == before
    assert checkpoint.fingerprint(tiny(lr=0.5), 0, "fp32", cpu, data) != before
    other = TokenData(write_rung(tmp_path / "toy", seed=5), "train")
    assert checkpoint.fingerprint(TINY, 0, "fp32", cpu, other) != before


def test_a_checkpoint_of_an_earlier_version_lacks_later_settings(rung: Path, tmp_path: Path) -> None:
    """They had their defaults: version 0.1.0 knew Llama alone."""
    cpu, data = torch.device("cpu"), TokenData(rung, "train")
    now = checkpoint.fingerprint(TINY, 0, "fp32", cpu, data)
    old = {name: value for name, value in now.items() if name not in ("lm.architecture", "lm.head_dim")}
    checkpoint.save_checkpoint(tmp_path, 2, {"a": torch.zeros(1)}, {"step": 2}, old)
    assert len(old) == len(now) - 2 and checkpoint.find_checkpoint(tmp_path, now) == 2
    other = checkpoint.fingerprint(tiny(architecture="qwen3"), 0, "fp32", cpu, data)
    with pytest.raises(UserError, match=r"lm\.architecture was llama, is qwen3\."):
        checkpoint.find_checkpoint(tmp_path, other)


def test_a_checkpoint_of_the_other_optimizer_is_refused(rung: Path, tmp_path: Path) -> None:
    """One that does not name its optimiser is of AdamW and a cosine, which came first."""
    cpu, data = torch.device("cpu"), TokenData(rung, "train")
    adamw = tiny(optimizer="adamw", schedule="cosine", run_curriculum=0.0)
    old = checkpoint.fingerprint(adamw, 0, "fp32", cpu, data)
    before = {k: v for k, v in old.items() if k not in ("lm.optimizer", "lm.schedule", "lm.run_curriculum")}
    for folder, written in ((tmp_path / "named", old), (tmp_path / "unnamed", before)):
        checkpoint.save_checkpoint(folder, 2, {"a": torch.zeros(1)}, {"step": 2}, written)
        assert checkpoint.find_checkpoint(folder, old) == 2
        other = adamw.model_copy(update={"optimizer": "muon"})
        muon = checkpoint.fingerprint(other, 0, "fp32", cpu, data)
        with pytest.raises(UserError, match=r"other settings: lm\.optimizer was adamw, is muon\. .*lm\.resume: never"):
            checkpoint.find_checkpoint(folder, muon)


def test_muon_trains_the_matrices_of_the_layers_and_adamw_the_rest_at_its_own_rate(rung: Path) -> None:
    data = TokenData(rung, "train")
    for settings, rate in ((tiny(), 0.6e-2), (tiny(adamw_lr=0.5), 0.5)):
        model = build_model(settings, data.meta, seed=0)
        state = TrainState(model, settings, torch.device("cpu"), "fp32")
        adamw, muon = state.optimizer.parts
        names = {id(p): name for name, p in model.named_parameters()}
        hidden = {names[id(p)] for group in muon.param_groups for p in group["params"]}
        assert hidden == {n for n in names.values() if "proj" in n} and len(hidden) == 2 * 7
        rest = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
        assert rest == set(names.values()) - hidden and "model.embed_tokens.weight" in rest
        batches = Batches(data, 0, settings.window, settings.batch_windows)
        state.train_step(Prefetch(batches, 0, 0, 1, 2, False, torch.float32, False).read_step(0), 0.25e-2)
        assert [group["lr"] for group in muon.param_groups] == [0.25e-2]
        assert [group["lr"] for group in adamw.param_groups] == pytest.approx([rate / 4] * 2)
    alone = TrainState(build_model(TINY, data.meta, 0), tiny(optimizer="adamw"), torch.device("cpu"), "fp32")
    assert [type(part) for part in alone.optimizer.parts] == [torch.optim.AdamW]


def test_missing_validation_data_is_reported(tmp_path: Path) -> None:
    rung = write_rung(tmp_path / "toy")
    (rung / "valid.bin").write_bytes(b"")
    write_table(rung / "valid.parquet", [], TOKEN_INDEX)
    with pytest.raises(UserError, match=r"corpus\.valid_fraction"):
        loop.train_lm(rung, tmp_path / "seed0", 0, TINY)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(("optimizer", "lr"), [("adamw", 1e-2), ("muon", 1e-3)])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    rung: Path, tmp_path: Path, optimizer: str, lr: float
) -> None:
    """Windows differ in their number of targets, so a mean of means would be another loss.

    Muon computes its updates in bf16: at a low rate their rounding is smaller than that of the weights here.
    """
    whole = tiny(batch_windows=5, precision="fp32", optimizer=optimizer, lr=lr)
    loop.train_lm(rung, tmp_path / "whole", 0, whole)
    loop.train_lm(rung, tmp_path / "parts", 0, whole.model_copy(update={"micro_windows": 2}))
    losses = [[row["loss"] for row in log_of(tmp_path / name)] for name in ("whole", "parts")]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    parts = weights(tmp_path / "parts")
    for name, value in weights(tmp_path / "whole").items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("changes", [{}, {"kv_heads": 4, "optimizer": "adamw"}], ids=["grouped", "fused"])
def test_a_cpu_trains_as_a_plain_loop_to_the_same_bits(rung: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    """What serves GPUs (equal micro-batches, compiled layers, other attention) leaves no trace on a CPU."""
    settings = tiny(batch_windows=5, micro_windows=2, max_steps=6, valid_every=6, learning_points=0, **changes)
    loop.train_lm(rung, tmp_path / "seed0", 0, settings)
    data, precision = TokenData(rung, "train"), resolve_precision("auto", torch.device("cpu"))
    model = build_model(settings, data.meta, 0).train()
    fused.install(model)
    optimizer, batches = Optimizer(model, settings, precision), Batches(data, 0, settings.window, 5)
    for step in range(6):
        batch = batches.at(step)
        optimizer.zero_grad()
        for windows in (slice(0, 2), slice(2, 4), slice(4, 5)):
            inputs, targets, positions, starts = (torch.from_numpy(array[windows]) for array in batch)
            kind = torch.bfloat16 if precision == "bf16" else torch.float32
            blocks = attention_blocks(starts, kind)
            with autocast(torch.device("cpu"), precision):
                logits = model(input_ids=inputs, position_ids=positions, use_cache=False, blocks=blocks).logits
            losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum")
            (losses / int((batch.targets >= 0).sum())).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step(learning_rate(settings, step, 6))
    for name, value in weights(tmp_path / "seed0").items():
        assert torch.equal(model.state_dict()[name], value), name


def test_recomputed_activations_change_nothing(trained: Path, rung: Path, tmp_path: Path) -> None:
    loop.train_lm(rung, tmp_path / "seed0", 0, tiny(activation_checkpointing="on"))
    assert (trained / "model.safetensors").read_bytes() == (tmp_path / "seed0" / "model.safetensors").read_bytes()


def test_never_resume_starts_over(trained: Path, rung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "seed0"
    checkpoint.save_checkpoint(checkpoint.checkpoint_folder(out), 20, {"a": torch.zeros(1)}, {"step": 20}, {"lm.lr": 5})
    with pytest.raises(UserError, match=r"lm\.lr was 5, is 0\.01"):
        loop.train_lm(rung, out, 0, TINY)
    assert [p.name for p in checkpoint.checkpoint_folder(out).glob("step*")] == ["step0000020"]  # nothing is lost
    loop.train_lm(rung, out, 0, tiny(resume="never"))
    assert_same_run(trained, out)


class Clock:
    """A clock that advances by a hundredth of a second at each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 0.01
        return self.now


def test_hours_end_the_schedule_and_are_counted_over_interruptions(
    rung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"max_steps": 10**6, "max_passes": 10**6, "patience": 10**6, "learning_points": 3, "run_curriculum": 0.0}
    settings = tiny(max_hours=2 / 3600, **how)
    monkeypatch.setattr(loop, "time", Clock())
    summary = loop.train_lm(rung, tmp_path / "whole", 0, settings)
    # 20 steps take 0.2 s; 97 % of the remaining 1.8 s are 174 more steps, to the end of the schedule
    assert (summary["stopped"], summary["steps"]) == ("limit", 194)
    assert log_of(tmp_path / "whole")[-1]["lr"] == pytest.approx(settings.lr / (194 - 4))
    learning = (tmp_path / "whole" / "learning").iterdir()
    assert sorted(int(p.stem) for p in learning) == [24 * 96, 48 * 96, 97 * 96]

    step, done = TrainState.train_step, []

    def terminated(*args: object) -> torch.Tensor:
        done.append(1)
        if len(done) == 60:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*args)

    monkeypatch.setattr(TrainState, "train_step", terminated)
    with pytest.raises(SystemExit):
        loop.train_lm(rung, tmp_path / "parts", 0, settings)
    later = Clock()
    later.now = 50.0
    monkeypatch.setattr(loop, "time", later)
    loop.train_lm(rung, tmp_path / "parts", 0, settings)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_hours_that_are_over_end_the_training(rung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "time", Clock())
    settings = tiny(max_hours=0.15 / 3600, run_curriculum=0.0)  # ends before planning
    summary = loop.train_lm(rung, tmp_path / "seed0", 0, settings)
    assert summary["stopped"] == "hours" and summary["steps"] in (15, 16)
    assert log_of(tmp_path / "seed0")[-1]["step"] == summary["best_step"] == summary["steps"]


def test_no_random_number_is_drawn_and_the_rate_is_logged(rung: Path, tmp_path: Path) -> None:
    states = []
    with pytest.MonkeyPatch.context() as patch:
        step = TrainState.train_step
        patch.setattr(TrainState, "train_step", lambda *a: states.append(torch.get_rng_state()) or step(*a))
        loop.train_lm(rung, tmp_path / "seed0", 0, TINY)
    assert all(torch.equal(state, states[0]) for state in states)
    rows = [json.loads(line) for line in (tmp_path / "seed0" / "log.jsonl").read_text().splitlines()]
    assert all(row.keys() >= TIMES for row in rows)
    assert all(0 < row["mfu"] < 1 and 0 <= row["data_wait"] <= 1 and row["memory_gb"] > 0 for row in rows)


def test_errors_in_threads_are_raised(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="could not be written"), checkpoint.Writer() as writer:
        writer(full)
        writer(lambda: None)
    batches = SimpleNamespace(at=lambda step: 1 / 0)
    with Prefetch(batches, 0, 0, 1, 1, False, torch.float32, False) as data, pytest.raises(ZeroDivisionError):
        next(iter(data))
