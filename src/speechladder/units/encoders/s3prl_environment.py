"""The environment in which s3prl runs. It is separate because s3prl needs torchaudio, which breaks our transformers."""

import difflib
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.settings import Units

VENV = ".venv-s3prl"  # made by `make s3prl`, beside the Snakefile
LOCK = "requirements-s3prl.lock"
_TAKES_CHECKPOINT = ("_local", "_custom", "_url")  # how s3prl's names of upstreams that read a checkpoint end


def split_encoder(encoder: str) -> tuple[str, str | None]:
    """Split `units.encoder` into the upstream's name and its checkpoint: a file, folder, URL or hub id, or None.

    Raise UserError if it is neither NAME nor NAME:CHECKPOINT, or if a checkpoint is missing or would not be read.
    """
    name, _, checkpoint = encoder.partition(":")
    if not re.fullmatch(r"[A-Za-z]\w*", name) or (":" in encoder and not checkpoint):
        raise UserError(
            f"units.encoder: {encoder!r} is no upstream of s3prl; write its NAME (hubert_large_ll60k) or "
            "NAME:CHECKPOINT (hf_hubert_custom:FOLDER, hubert_local:FILE.pt)"
        )
    takes = name.endswith(_TAKES_CHECKPOINT)
    if takes and not checkpoint:
        raise UserError(f"units.encoder: {name} needs a checkpoint; write {name}:CHECKPOINT")
    if checkpoint and not takes:  # s3prl would fetch its own and ignore this one silently
        raise UserError(
            f"units.encoder: {name} has a checkpoint of its own and would not read {checkpoint}; names that "
            f"read one end in {', '.join(_TAKES_CHECKPOINT)}"
        )
    return name, checkpoint or None


def upstreams(hub: Any) -> dict[str, Any]:
    """The upstreams of s3prl's hub by name. The hub's own list also has everything that its modules import."""
    return {name: f for name in hub.options() if (f := getattr(hub, name)).__module__.endswith("hubconf")}


def upstream(hub: Any, name: str) -> Any:
    """The function of s3prl's hub that opens `name`. Raise UserError with the nearest names if there is none."""
    functions = upstreams(hub)
    if name not in functions:
        near = ", ".join(difflib.get_close_matches(name, functions, n=5, cutoff=0.4)) or "none"
        raise UserError(
            f"units.encoder: s3prl has no upstream {name!r} among its {len(functions)}; the nearest: {near} "
            "(scripts/check_s3prl.py lists all)"
        )
    return functions[name]


def interpreter(units: Units, home: Path, conda: bool) -> str:
    """The Python of the rules that open the encoder: a path, or `python` for that of the rule's own environment.

    `home`: the workflow's folder. `conda`: whether jobs run in the environments of their rules (--sdm conda).
    """
    if units.source != "s3prl":
        return "python"
    if units.s3prl_python:
        return units.s3prl_python
    return "python" if conda else str(home / VENV / "bin" / "python")


def how_to_make(home: Path) -> str:
    """The commands that make the environment."""
    venv, lock = home / VENV, home / LOCK
    return (
        f"make it with\n  make -C {home} s3prl\nor by hand, anywhere else, and name it in units.s3prl_python:\n"
        f"  python3.11 -m venv {venv}\n"
        f"  {venv}/bin/pip install $(grep ^torch== {lock})\n"
        f"  {venv}/bin/pip install -r {lock}\n"
        "or let Snakemake make it (--sdm conda)"
    )


def check_s3prl(units: Units, home: Path, conda: bool) -> None:
    """Raise UserError if the run needs s3prl and cannot find it, or if s3prl cannot open `units.encoder` and its layer.

    The upstream is opened once for this, on the CPU; if it must be fetched, it is fetched here. Nothing is checked if
    conda will make the environment.
    """
    python = interpreter(units, home, conda)
    if units.source != "s3prl" or python == "python":
        return
    if not os.access(python, os.X_OK):
        field = "units.s3prl_python" if units.s3prl_python else "units.source: s3prl"
        raise UserError(f"{field}: there is no {python}; {how_to_make(home)}")
    environment = {**os.environ, "PYTHONPATH": str(home / "src"), "OMP_WAIT_POLICY": "PASSIVE"}
    words = [python, str(home / "scripts" / "check_s3prl.py"), "--encoder", units.encoder, "--layer", str(units.layer)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return
    _, told, message = done.stderr.partition("check_s3prl.py: error: ")
    if told:
        raise UserError(message.strip())
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    raise UserError(f"units.source: s3prl: {python} cannot run s3prl ({last}); {how_to_make(home)}")
