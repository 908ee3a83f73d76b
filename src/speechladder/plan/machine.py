"""The machine that a plan is made for: of the options, of the preset, or this one."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.plan.rates import Rates

_LINE = re.compile(r"^# machine:(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs; `gpu` is a name under 'gpus' of rates.json, None without GPUs."""

    cpus: int
    gpus: int
    gpu: str | None

    def __str__(self) -> str:
        return f"{self.cpus} CPU cores and " + (f"{self.gpus} {self.gpu}" if self.gpus else "no GPU")


def find_machine(
    file: Path | None, rates: Rates, cpus: int | None = None, gpus: int | None = None, gpu: str | None = None
) -> Machine:
    """Return the machine that the options name; what they leave out is as the preset or this machine has it.

    A preset names its machine in a line `# machine: cpus=64 gpus=8 gpu=A100-80GB`. Raise UserError if the line is
    incomplete, if the numbers are out of range, or if the GPU is not in rates.json.
    """
    stated = _LINE.search(file.read_text()) if file else None
    values: dict[str, Any] = (
        dict(pair.partition("=")[::2] for pair in stated.group(1).split()) if stated else _this_machine(rates)
    )
    options = {"cpus": cpus, "gpus": gpus, "gpu": gpu}
    values |= {name: value for name, value in options.items() if value is not None}
    if gpu is not None and gpus is None and int(values.get("gpus") or 0) == 0:
        values["gpus"] = 1
    try:
        out = Machine(int(values["cpus"]), int(values.get("gpus") or 0), values.get("gpu") or None)
    except (KeyError, ValueError):
        raise UserError(f"{file}: the line '# machine:' needs cpus=N gpus=N gpu=NAME; it has {values}") from None
    if out.cpus < 1 or out.gpus < 0:
        raise UserError(f"--cpus, --gpus: {out.cpus} cores and {out.gpus} GPUs are no machine")
    if out.gpus and not out.gpu:
        raise UserError(f"--gpu: is missing; known: {', '.join(rates.content['gpus'])}")
    if out.gpus:
        rates.peak(out.gpu, "bf16")
    return out


def _this_machine(rates: Rates) -> dict[str, Any]:
    """Return this machine's cores, and its GPUs if rates.json knows them by the driver's name."""
    found: dict[str, Any] = {"cpus": os.cpu_count() or 1, "gpus": 0, "gpu": None}
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return found
    known = rates.known_gpu(names[0]) if names else None
    return found | ({"gpus": len(names), "gpu": known} if known else {})
