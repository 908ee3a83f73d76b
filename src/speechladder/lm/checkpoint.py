"""Checkpoints of a training run: whole or not at all, verified when read, the last two kept.

lm/{rung}/seed{n}.checkpoints/
    step0000100/state.safetensors   weights, best weights, optimiser moments
    step0000100/state.json          step and validation state, the run's fingerprint, the tensors' SHA-256
    log.jsonl  learning/            the running log and the snapshots so far
The folder lies beside the output and not in it, since Snakemake deletes declared outputs before a job.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from speechladder.io.files import atomic_folder, write_json, write_jsonl
from speechladder.io.progress import say

KEEP = 2


def folder_for(out: Path) -> Path:
    """Where the checkpoints of the run that writes `out` lie."""
    return out.with_name(out.name + ".checkpoints")


def save(
    folder: Path, step: int, tensors: dict[str, torch.Tensor], state: dict[str, Any], fingerprint: dict[str, Any]
) -> None:
    """Write the checkpoint of `step` and drop all but the last KEEP."""
    with atomic_folder(folder / f"step{step:07d}") as temporary:
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary / "state.safetensors")
        digest = _sha256(temporary / "state.safetensors")
        write_json(temporary / "state.json", {"state": state, "fingerprint": fingerprint, "sha256": digest})
    for old in _all(folder)[:-KEEP]:
        shutil.rmtree(old)


def load(
    folder: Path, fingerprint: dict[str, Any], snapshots: Mapping[int, str] | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and state of the newest usable checkpoint, or None.

    A damaged one, and one that lacks a snapshot of its past (`snapshots` names the file in learning/ by its step),
    is passed over for the one before; one of other settings or data ends the search. Each is said on stderr, the
    last with the field that differs.
    """
    for path in reversed(_all(folder)):
        try:
            content = json.loads((path / "state.json").read_text())
            if content["sha256"] != _sha256(path / "state.safetensors"):
                raise ValueError("SHA-256 differs")
            found, state = content["fingerprint"], content["state"]
            tensors = load_file(path / "state.safetensors")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            say(f"warning: {path}: damaged checkpoint ({error}); trying the one before it")
            continue
        different = [k for k in sorted({*found, *fingerprint}) if found.get(k) != fingerprint.get(k)]
        if different:
            changes = ", ".join(f"{k}: {found.get(k)} there, {fingerprint.get(k)} now" for k in different)
            say(f"warning: {path}: checkpoint of another run, ignored; training starts anew ({changes})")
            return None
        past = [name for step, name in (snapshots or {}).items() if step <= state["step"]]
        gone = [name for name in past if not (folder / "learning" / name).is_file()]
        if gone:
            say(f"warning: {path}: checkpoint without its snapshots {', '.join(gone)}; trying the one before it")
            continue
        return tensors, state
    return None


def start(folder: Path, step: int) -> None:
    """Leave in `folder` what a run that goes on from `step` keeps: log lines and snapshots up to it, no remains.

    A killed run logged steps after its last checkpoint; they are done again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(_removed(folder), ignore_errors=True)
    for remains in sorted(folder.rglob(".tmp-*"), reverse=True):  # the content of a folder before the folder
        shutil.rmtree(remains) if remains.is_dir() else remains.unlink()
    if step == 0:
        for path in (*_all(folder), folder / "learning"):
            shutil.rmtree(path, ignore_errors=True)
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


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
