"""The curriculum of run lengths: what each phase holds, and a training that resumes in it."""

import os
import signal
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import toy_rung

from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.lm.batches import Batches
from speechladder.lm.curriculum import Curriculum, make_batches, shorten_runs
from speechladder.lm.schedule import planned_steps
from speechladder.lm.step import TrainState
from speechladder.lm.train import train_lm
from speechladder.settings import LM, load

SIZE = {"hidden_size": 16, "layers": 1, "heads": 2, "kv_heads": 2, "intermediate_size": 32, "window": 32}
SETTINGS = LM(**SIZE, batch_windows=1, max_steps=20, valid_every=10, checkpoint_every=5, run_curriculum=0.3)


@pytest.mark.parametrize(
    ("tokens", "once", "halved"),
    [
        ([1, 5, 5, 5, 6, 5, 5, 2], [1, 5, 6, 5, 2], [1, 5, 5, 6, 5, 2]),
        ([1, 7, 7, 7, 7, 7, 2], [1, 7, 2], [1, 7, 7, 7, 2]),
        ([1, 4, 5, 2], [1, 4, 5, 2], [1, 4, 5, 2]),
        ([1, 2], [1, 2], [1, 2]),
    ],
)
def test_runs_are_written_once_or_half_as_long(tokens: list[int], once: list[int], halved: list[int]) -> None:
    assert shorten_runs(np.array(tokens), halve=False).tolist() == once
    assert shorten_runs(np.array(tokens), halve=True).tolist() == halved


def documents(count: int = 12) -> SimpleNamespace:
    """Documents whose first symbol names them, of runs of 1 to 6 equal tokens."""
    rng, parts = np.random.default_rng(0), []
    for number in range(count):
        runs = [100 + number, *(10 + n % 2 for n in range(int(rng.integers(3, 9))))]
        parts.append([1, *(t for symbol in runs for t in [symbol] * int(rng.integers(1, 7))), 2])
    lengths = np.array([len(p) for p in parts])
    tokens = np.concatenate(parts).astype(np.uint16)
    return SimpleNamespace(tokens=tokens, lengths=lengths, offsets=np.cumsum(lengths) - lengths)


def test_each_phase_has_its_share_of_the_steps_and_goes_on_in_the_pass() -> None:
    data = documents()
    batches = make_batches(data, "phone-repeat", 0, SETTINGS.model_copy(update={"window": 8}))
    assert isinstance(batches, Curriculum)
    batches.plan(40)
    assert batches.begins == (0, 12, 24)
    once, halved, whole = (
        np.concatenate([batches.at(s).inputs.ravel() for s in steps])
        for steps in (range(12), range(12, 24), range(24, 40))
    )
    assert not (once[1:] == once[:-1]).any()
    assert max(len(list(run)) for _, run in groupby(halved.tolist())) == 3
    assert max(len(list(run)) for _, run in groupby(whole.tolist())) > 3
    # up to where the stream is cut, the documents come in the order of the whole data's passes
    order = [t for t, _ in groupby(t for t in [*once, *halved, *whole] if t >= 100)]
    plain = Batches(data, 0, 8, 1)
    steps = range(3 * plain.tokens_per_pass // 8)
    wanted = [t for t, _ in groupby(t for s in steps for t in plain.at(s).inputs.ravel() if t >= 100)]
    assert len(order) > 12 and order == wanted[: len(order)]


def test_passes_are_those_of_the_data_and_limit_the_steps() -> None:
    data = documents()
    settings = SETTINGS.model_copy(update={"window": 8, "max_steps": 10**6, "max_passes": 5.0})
    batches = make_batches(data, "speech-hubert", 0, settings)
    total = planned_steps(settings, batches)
    batches.plan(total)
    assert total < planned_steps(settings, make_batches(data, "phone-raw", 0, settings))
    assert batches.passes(total) == pytest.approx(5.0, rel=0.1)
    steps = [batches.passes(n) for n in range(total + 1)]
    assert steps[0] == 0 and steps == sorted(steps)


@pytest.mark.parametrize(
    ("rung", "share"), [("phone-raw", 0.3), ("text-raw", 0.3), ("toy", 0.3), ("phone-repeat", 0.0)]
)
def test_it_changes_nothing_without_frames_or_if_it_is_off(rung: str, share: float) -> None:
    assert type(make_batches(documents(), rung, 0, SETTINGS.model_copy(update={"run_curriculum": share}))) is Batches


def test_hours_leave_the_shares_open() -> None:
    with pytest.raises(UserError, match=r"lm\.run_curriculum: 0\.2 .* max_hours .* set max_hours to null"):
        load({"lm": {"run_curriculum": 0.2, "max_hours": 1}})


@pytest.mark.parametrize("at", [4, 9, 15])  # in each phase
def test_a_training_that_was_interrupted_has_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    document = toy_rung.toy_document
    monkeypatch.setattr(
        toy_rung, "toy_document", lambda rng: [t for t in document(rng) for _ in range(1 + 2 * (t > 2))]
    )
    tokens = toy_rung.write_rung(tmp_path / "toy")
    write_json(tokens / "meta.json", read_json(tokens / "meta.json") | {"rung": "phone-repeat"})
    train_lm(tokens, tmp_path / "whole", 0, SETTINGS)
    step, done = TrainState.train_step, []

    def interrupted(*given: object) -> torch.Tensor:
        done.append(1)
        if len(done) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*given)

    monkeypatch.setattr(TrainState, "train_step", interrupted)
    with pytest.raises(SystemExit):
        train_lm(tokens, tmp_path / "parts", 0, SETTINGS)
    train_lm(tokens, tmp_path / "parts", 0, SETTINGS)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == other and len(done) == 20
    train_lm(tokens, tmp_path / "plain", 0, SETTINGS.model_copy(update={"run_curriculum": 0.0}))
    assert (tmp_path / "plain" / "model.safetensors").read_bytes() != one
