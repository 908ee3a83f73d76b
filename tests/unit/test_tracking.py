"""Tracking is off by default, keeps one run over interruptions, and never ends a training."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.lm import tracking

ROW = {"step": 10, "loss": 2.5, "lr": 1e-3, "note": "text", "diverged": float("nan"), "done": True}


@pytest.fixture
def wandb(monkeypatch):
    """A module that records its calls in place of wandb."""
    module, calls = ModuleType("wandb"), []
    module.__spec__ = SimpleNamespace(name="wandb")  # find_spec reads it

    def init(**words):
        calls.append(("init", words))
        return SimpleNamespace(
            log=lambda row, step: calls.append(("log", row, step)), finish=lambda: calls.append(("finish",))
        )

    module.init, module.calls = init, calls
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


def test_none_writes_nothing(tmp_path):
    tracker = tracking.open_tracker("none", tmp_path / "t", "run", {})
    tracker.log(ROW, 10)
    tracker.close()
    assert not (tmp_path / "t").exists()


def test_wandb_receives_the_numbers(tmp_path, wandb):
    tracker = tracking.open_tracker("wandb", tmp_path / "t", "text-bpe seed 0", {"lr": 0.1})
    tracker.log(ROW, 10)
    tracker.close()
    (_, words), log, finish = wandb.calls
    assert (words["name"], words["config"], words["dir"]) == ("text-bpe seed 0", {"lr": 0.1}, str(tmp_path / "t"))
    assert (words["project"], words["resume"]) == ("speechladder", "allow")
    assert "mode" not in words  # WANDB_MODE decides
    assert log == ("log", {"loss": 2.5, "lr": 1e-3}, 10)
    assert finish == ("finish",)


def test_a_resumed_training_continues_its_run_and_a_new_one_does_not(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_API_KEY", "no-key-of-anybody")
    for step in (0, 100, 0):
        tracking.open_tracker("wandb", tmp_path / "t", "run", {}, step).close()
    first, second, third = (words["id"] for call, words in (c for c in wandb.calls if c[0] == "init"))
    assert first == second != third
    assert read_json(tmp_path / "t" / "run.json") == {"id": third}
    assert all("project" not in call[1] for call in wandb.calls if call[0] == "init")  # wandb reads its own variable
    for path in (tmp_path / "t").rglob("*"):
        assert "no-key-of-anybody" not in path.read_text()


def test_a_failure_ends_tracking_and_not_training(tmp_path, wandb, capsys):
    tracker = tracking.open_tracker("wandb", tmp_path / "t", "run", {})

    def broken(row, step):
        raise ConnectionError("gone")

    tracker._tracker._run.log = broken
    for step in (1, 2):
        tracker.log(ROW, step)
    tracker.close()
    said = capsys.readouterr().err
    assert said.count("lm.tracking: wandb failed (ConnectionError: gone)") == 1


def test_a_tracker_that_does_not_start_is_reported_before_training(tmp_path, wandb):
    def refuse(**words):
        raise ValueError("no API key")

    wandb.init = refuse
    with pytest.raises(UserError, match=r"lm\.tracking: wandb did not start \(ValueError: no API key\); log in"):
        tracking.open_tracker("wandb", tmp_path / "t", "run", {})


@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_with_its_install_command(kind, monkeypatch, tmp_path):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"lm\.tracking: {kind} needs .*pip install {kind}"):
        tracking.check_tracking(kind)
    with pytest.raises(UserError, match="pip install"):
        tracking.open_tracker(kind, tmp_path / "t", "run", {})
    assert not (tmp_path / "t").exists()
    tracking.check_tracking("none")


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(UserError, match="allowed: none, tensorboard, wandb"):
        tracking.open_tracker("mlflow", tmp_path, "run", {})


def test_tensorboard_has_each_step_once_after_a_kill(tmp_path):
    """Steps 30 and 40 were logged after the checkpoint at 20, so they are logged again with other values."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "seed0.tracking"
    for begin, value in ((0, 1.0), (20, 2.0)):
        tracker = tracking.open_tracker("tensorboard", folder, "run", {"lr": 0.1}, begin)
        for step in range(begin + 10, 50, 10):
            tracker.log(ROW | {"loss": value}, step)
        tracker.close()

    def events():
        found = EventAccumulator(str(folder / "tensorboard"))
        found.Reload()
        return found

    found = events()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0)]
    assert set(found.Tags()["scalars"]) == {"loss", "lr"}
    assert found.Tags()["tensors"] == ["settings/text_summary"]
    tracking.open_tracker("tensorboard", folder, "run", {}).close()  # a new run deletes the events of the old one
    assert events().Tags()["scalars"] == []
