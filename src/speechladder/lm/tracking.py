"""Weights & Biases or TensorBoard in addition to log.jsonl, off by default. Neither can change or end a training.

lm/{rung}/seed{n}.tracking/
    run.json            the id of the run, so that a resumed training continues the same run
    tensorboard/        event files: tensorboard --logdir results/lm shows every run
    wandb/              the files of wandb (with WANDB_MODE=offline, those that `wandb sync` sends later)
The folder lies beside the output, as the checkpoints do, and stays. Log in to Weights & Biases by `wandb login` or
WANDB_API_KEY; nothing here reads, forwards or writes a key.
"""

import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Protocol

from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.progress import say

Kind = Literal["none", "tensorboard", "wandb"]
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}
PROJECT = "speechladder"  # at Weights & Biases, unless WANDB_PROJECT names another


class Tracker(Protocol):
    """The interface of what `open_tracker` returns."""

    def log(self, row: dict[str, Any], step: int) -> None:
        """Record the numbers of a row of log.jsonl at an optimiser step."""

    def close(self) -> None:
        """Send what is still waiting."""


def tracking_folder(out: Path) -> Path:
    """The folder of the tracking of the run that writes `out`."""
    return out.with_name(out.name + ".tracking")


def check_tracking(kind: str) -> None:
    """Raise UserError if the package of `kind` is not installed. Loads nothing."""
    package = PACKAGES.get(kind)
    if package and find_spec(package) is None:
        raise UserError(f"lm.tracking: {kind} needs the package {package}; pip install {package}, or set it to none")


def open_tracker(kind: str, folder: Path, name: str, config: dict[str, Any], step: int = 0) -> Tracker:
    """A tracker of the run `name`, whose settings are `config` (plain values).

    `step` is the step from which training continues. At 0 a new run begins, and files of an earlier one in `folder`
    are removed; otherwise the run in `folder` continues under its id. Open it in one process of a training only.
    Raise UserError naming lm.tracking if the package is missing or does not start.
    """
    if kind == "none":
        return _Null()
    if kind not in PACKAGES:
        raise UserError(f"lm.tracking: {kind!r} is not allowed; allowed: none, {', '.join(PACKAGES)}")
    check_tracking(kind)
    folder = Path(folder)
    if step == 0:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        opened = _TensorBoard(folder, config, step) if kind == "tensorboard" else _Wandb(folder, name, config)
    except Exception as error:  # each package has many kinds
        hint = "; log in by `wandb login`, or set WANDB_MODE=offline" if kind == "wandb" else ""
        raise UserError(f"lm.tracking: {kind} did not start ({type(error).__name__}: {error}){hint}") from error
    return _Guarded(opened, kind)


@contextmanager
def open_log(path: Path, tracker: Tracker) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that appends a row to a log.jsonl and gives it to the tracker."""
    with path.open("a") as file, closing(tracker):

        def record(row: dict[str, Any]) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()
            tracker.log(row, row["step"])

        yield record


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """The finite numbers of a row, without its step, which is an axis."""
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and key != "step"
    }


class _Null:
    def log(self, row: dict[str, Any], step: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Guarded:
    """A tracker whose failure (a full disk, a lost network) is reported once and ends tracking, not training."""

    def __init__(self, tracker: Tracker, kind: str) -> None:
        self._tracker, self._kind = tracker, kind

    def log(self, row: dict[str, Any], step: int) -> None:
        self._try("log", row, step)

    def close(self) -> None:
        self._try("close")

    def _try(self, method: str, *arguments: Any) -> None:
        try:
            getattr(self._tracker, method)(*arguments)
        except Exception as error:
            say(
                f"warning: lm.tracking: {self._kind} failed ({type(error).__name__}: {error}); training continues "
                "without it"
            )
            self._tracker = _Null()


class _TensorBoard:
    def __init__(self, folder: Path, config: dict[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # steps after the checkpoint from which a killed training resumes are done again, and shown once
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        if not step:
            self._writer.add_text("settings", "```\n" + json.dumps(config, indent=2, default=str) + "\n```", 0)

    def log(self, row: dict[str, Any], step: int) -> None:
        for key, value in _numbers(row).items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, name: str, config: dict[str, Any]) -> None:
        import wandb

        path = folder / "run.json"
        if not path.is_file():
            write_json(path, {"id": uuid.uuid4().hex[:12]})
        project = {} if os.environ.get("WANDB_PROJECT") else {"project": PROJECT}
        self._run = wandb.init(
            id=read_json(path)["id"], resume="allow", name=name, dir=str(folder), config=config, **project
        )

    def log(self, row: dict[str, Any], step: int) -> None:
        self._run.log(_numbers(row), step=step)

    def close(self) -> None:
        self._run.finish()
