"""Checkpoints of a training run: written whole or not at all, verified when read, the last few kept.

lm/{rung}/seed{n}.checkpoints/
    step0000100/state.safetensors   weights, best weights, optimiser moments; whole, however many processes trained them
    step0000100/state.json          step and validation state, the run's fingerprint, the SHA-256 of the tensors
    log.jsonl  learning/            the running log and the snapshots so far
The folder lies beside the output and not in it, because Snakemake deletes declared outputs before a job.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json, write_jsonl
from speechladder.io.progress import say
from speechladder.lm import warm_start
from speechladder.lm.distributed import gather, shard_like
from speechladder.lm.step import TrainState
from speechladder.rungs.data import TokenData
from speechladder.settings import EXECUTION_FIELDS, LM, STAGES

KEEP = 2
# What checkpoints were made with before they named it, where that is no longer the default.
EARLIER = {"lm.optimizer": "adamw", "lm.schedule": "cosine", "lm.run_curriculum": 0.0}


# ---------------------------------------------------------------- the content of a checkpoint


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in memory that the next step does not change."""
    return tensor.cpu() if tensor.is_cuda else tensor.clone()


def collect_tensors(state: TrainState, best: dict[str, torch.Tensor], keep: bool) -> dict[str, torch.Tensor]:
    """Whole copies of weights, moments (by the parameter's number in the optimisers) and best weights.

    Every process must call this, because each holds a shard. Without `keep` the result is empty.
    """
    named = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    named |= {f"optimizer.{k}": v for k, v in state.optimizer.tensors().items()}
    return gather(named, keep, copied) | ({f"best.{k}": v for k, v in best.items()} if keep else {})


def restore_tensors(state: TrainState, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Load the tensors of a checkpoint into model and optimiser, in their layout; return the best weights."""
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts[part][key] = tensor
    with torch.no_grad():
        for name, parameter in state.model.state_dict().items():
            parameter.copy_(shard_like(parts["model"][name], parameter))
    state.optimizer.load(parts["optimizer"])
    return parts["best"]


def fingerprint(settings: LM, seed: int, precision: str, device: torch.device, *splits: TokenData) -> dict[str, Any]:
    """The fields in which a run must agree with a checkpoint to resume from it; EXECUTION_FIELDS are free."""
    left_out = {"seeds", "model", "init", *EXECUTION_FIELDS}
    fields = {f"lm.{k}": v for k, v in settings.model_dump(mode="json").items() if k not in left_out}
    data = hashlib.sha256()
    for split in splits:
        for array in (split.lengths, split.seconds, split.tokens):
            data.update(np.ascontiguousarray(array))
    about = {"seed": seed, "precision": precision, "device": device.type, "torch": torch.__version__}
    rung = {"rung": splits[0].meta["rung"], "vocab_size": splits[0].meta["vocab_size"], "data": data.hexdigest()}
    init = warm_start.weights_digest(warm_start.init_folder(settings.init)) if settings.init else None
    return fields | about | rung | {"lm.init": init, "version": STAGES["train_lm"].version}


# ---------------------------------------------------------------- its files


def checkpoint_folder(out: Path) -> Path:
    """The folder of the checkpoints of the run that writes `out`."""
    return out.with_name(out.name + ".checkpoints")


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: dict[str, torch.Tensor],
    state: dict[str, Any],
    fingerprint: dict[str, Any],
    keep: int = KEEP,
) -> None:
    """Write the checkpoint of `step` and delete all but the last `keep`."""
    with atomic_folder(_path(folder, step)) as temporary:
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary / "state.safetensors")
        digest = _sha256(temporary / "state.safetensors")
        write_json(temporary / "state.json", {"state": state, "fingerprint": fingerprint, "sha256": digest})
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)


def find_checkpoint(
    folder: Path, fingerprint: dict[str, Any], snapshots: Callable[[dict[str, Any]], Mapping[int, str]] | None = None
) -> int | None:
    """The step of the newest usable checkpoint, or None.

    A damaged checkpoint is skipped with a warning on stderr. So is one that lacks an earlier snapshot: `snapshots`
    gives the files in learning/ by their steps for the state of a checkpoint. Raise UserError with the fields that
    differ if the checkpoint belongs to other settings or data. A setting that the checkpoint does not name yet, because
    an earlier version wrote it, had its default or the value in EARLIER.
    """
    defaults = {f"lm.{name}": field.default for name, field in LM.model_fields.items()} | EARLIER
    for path in reversed(_all(folder)):
        try:
            content = json.loads((path / "state.json").read_text())
            if content["sha256"] != _sha256(path / "state.safetensors"):
                raise ValueError("SHA-256 differs")
            found, state = defaults | content["fingerprint"], content["state"]
            step = int(state["step"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            say(f"warning: {path}: damaged checkpoint ({error}); trying the one before it")
            continue
        named = {*content["fingerprint"], *fingerprint}
        different = [k for k in sorted(named) if found.get(k) != fingerprint.get(k)]
        if different:
            changes = ", ".join(f"{k} was {found.get(k)}, is {fingerprint.get(k)}" for k in different)
            raise UserError(
                f"{path}: this training began with other settings: {changes}. To continue it, set that back; to start "
                f"over and lose it, set lm.resume: never or delete {folder}"
            )
        past = [name for at, name in (snapshots(state) if snapshots else {}).items() if at <= step]
        gone = [name for name in past if not (folder / "learning" / name).is_file()]
        if gone:
            say(f"warning: {path}: checkpoint without its snapshots {', '.join(gone)}; trying the one before it")
            continue
        return step
    return None


def load_checkpoint(folder: Path, step: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and state of the checkpoint of `step`, which `find_checkpoint` has verified."""
    path = _path(folder, step)
    return load_file(path / "state.safetensors"), json.loads((path / "state.json").read_text())["state"]


def prepare_folder(folder: Path, step: int) -> None:
    """Keep in `folder` only what a run that continues from `step` needs: log lines and snapshots up to that step.

    Delete what a killed writer left. A killed run has logged steps after its last checkpoint; they are done again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_removed(folder), ignore_errors=True)
    for remains in sorted(folder.rglob(".tmp-*"), reverse=True):  # the content of a folder before the folder
        shutil.rmtree(remains) if remains.is_dir() else remains.unlink()
    for path in _all(folder):
        # `find_checkpoint` has skipped a later one; left here, it would count as the newest
        if step == 0 or path.name > _path(folder, step).name:
            shutil.rmtree(path, ignore_errors=True)
    if step == 0:
        shutil.rmtree(folder / "learning", ignore_errors=True)
    write_jsonl(folder / "log.jsonl", _log_until(folder / "log.jsonl", step))


def remove_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a finished run."""
    shutil.rmtree(_removed(folder), ignore_errors=True)
    # Rename first, so that an interrupted removal is never taken for a checkpoint.
    folder.replace(_removed(folder))
    shutil.rmtree(_removed(folder))


def _removed(folder: Path) -> Path:
    return folder.with_name(f".tmp-{folder.name}")


def _log_until(path: Path, step: int) -> list[dict[str, Any]]:
    if step == 0 or not path.is_file():
        return []
    # the last line may be half written; every line up to the checkpoint was flushed before it
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [row for row in map(json.loads, whole.splitlines()) if row["step"] <= step]


def _path(folder: Path, step: int) -> Path:
    return folder / f"step{step:07d}"


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step*") if p.is_dir())


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Writer:
    """Writes in a thread while training continues. One write runs at a time, and the next waits for it.

    A context manager: at its end everything is written. An error is raised at the next call or at the end.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __call__(self, write: Callable[[], None]) -> None:
        """Start `write` when the previous one has ended."""
        self.wait()

        def run() -> None:
            try:
                write()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait until everything is written. Raise UserError if the disk did not accept it."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._error:
            error, self._error = self._error, None
            if isinstance(error, OSError | SafetensorError):
                raise UserError(
                    f"a checkpoint could not be written ({error}); free some disk space, and the same command continues"
                ) from None
            raise error

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None or issubclass(kind, SystemExit):
            self.wait()
        elif self._thread:
            self._thread.join()
