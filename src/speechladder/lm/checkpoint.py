"""Checkpoints of a training run: whole or not at all, verified when read, the last few kept.

lm/{rung}/seed{n}.checkpoints/
    step0000100/state.safetensors   weights, best weights, optimiser moments; whole, however many processes trained them
    step0000100/state.json          step and validation state, the run's fingerprint, the tensors' SHA-256
    log.jsonl  learning/            the running log and the snapshots so far
The folder lies beside the output and not in it, since Snakemake deletes declared outputs before a job.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json, write_jsonl
from speechladder.io.progress import say

KEEP = 2


def folder_for(out: Path) -> Path:
    """Where the checkpoints of the run that writes `out` lie."""
    return out.with_name(out.name + ".checkpoints")


def save(
    folder: Path,
    step: int,
    tensors: dict[str, torch.Tensor],
    state: dict[str, Any],
    fingerprint: dict[str, Any],
    keep: int = KEEP,
) -> None:
    """Write the checkpoint of `step` and drop all but the last `keep`."""
    with atomic_folder(path_of(folder, step)) as temporary:
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary / "state.safetensors")
        digest = sha256(temporary / "state.safetensors")
        write_json(temporary / "state.json", {"state": state, "fingerprint": fingerprint, "sha256": digest})
    for old in _all(folder)[:-keep]:
        shutil.rmtree(old)


def path_of(folder: Path, step: int) -> Path:
    """The checkpoint of `step`."""
    return folder / f"step{step:07d}"


class Writer:
    """Writes in a thread while training goes on; one at a time, the next waits. A context manager: at its end all is
    written. What went wrong is raised at the next call or at the end."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __call__(self, write: Callable[[], None]) -> None:
        """Start `write` when the one before has ended."""
        self.wait()

        def run() -> None:
            try:
                write()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until all is written; raises UserError where the disk would not take it."""
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._error:
            error, self._error = self._error, None
            if isinstance(error, OSError | SafetensorError):
                raise UserError(
                    f"a checkpoint could not be written ({error}); free some room, and the same command goes on"
                ) from None
            raise error

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None or issubclass(kind, SystemExit):
            self.wait()
        elif self._thread:
            self._thread.join()


def find(
    folder: Path, fingerprint: dict[str, Any], snapshots: Callable[[dict[str, Any]], Mapping[int, str]] | None = None
) -> int | None:
    """The step of the newest usable checkpoint, or None.

    A damaged one, and one that lacks a snapshot of its past (`snapshots` names the files in learning/ by their steps,
    given a checkpoint's state), is passed over for the one before, which is said on stderr. Raises UserError with the
    fields that differ where one is of other settings or data.
    """
    for path in reversed(_all(folder)):
        try:
            content = json.loads((path / "state.json").read_text())
            if content["sha256"] != sha256(path / "state.safetensors"):
                raise ValueError("SHA-256 differs")
            found, state = content["fingerprint"], content["state"]
            step = int(state["step"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            say(f"warning: {path}: damaged checkpoint ({error}); trying the one before it")
            continue
        different = [k for k in sorted({*found, *fingerprint}) if found.get(k) != fingerprint.get(k)]
        if different:
            changes = ", ".join(f"{k} was {found.get(k)}, is {fingerprint.get(k)}" for k in different)
            raise UserError(
                f"{path}: this training began otherwise: {changes}. To go on with it, set that back; to start over and "
                f"lose it, set lm.resume: never or delete {folder}"
            )
        past = [name for at, name in (snapshots(state) if snapshots else {}).items() if at <= step]
        gone = [name for name in past if not (folder / "learning" / name).is_file()]
        if gone:
            say(f"warning: {path}: checkpoint without its snapshots {', '.join(gone)}; trying the one before it")
            continue
        return step
    return None


def load(folder: Path, step: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and state of the checkpoint of `step`, which `find` has verified."""
    path = path_of(folder, step)
    return load_file(path / "state.safetensors"), json.loads((path / "state.json").read_text())["state"]


def start(folder: Path, step: int) -> None:
    """Leave in `folder` what a run that goes on from `step` keeps: log lines and snapshots up to it, no remains.

    A killed run logged steps after its last checkpoint; they are done again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_removed(folder), ignore_errors=True)
    for remains in sorted(folder.rglob(".tmp-*"), reverse=True):  # the content of a folder before the folder
        shutil.rmtree(remains) if remains.is_dir() else remains.unlink()
    for path in _all(folder):
        if step == 0 or path.name > path_of(folder, step).name:  # `find` passed over it: it would count as the newest
            shutil.rmtree(path, ignore_errors=True)
    if step == 0:
        shutil.rmtree(folder / "learning", ignore_errors=True)
    write_jsonl(folder / "log.jsonl", _log_until(folder / "log.jsonl", step))


def remove(folder: Path) -> None:
    """Delete the checkpoints of a finished run: all at once to a later run's eyes, though it be killed on the way."""
    shutil.rmtree(_removed(folder), ignore_errors=True)
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


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step*") if p.is_dir())


def sha256(path: Path) -> str:
    """The digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
