"""What no CPU can show, in at most eight minutes on one GPU: whether results are right, and speed against its targets.

    python benchmarks/gpu_check.py --out benchmarks/measured/gpu_check-DATE-GPU.jsonl

Steps run in order of value. Each is a process of its own that is ended at its time limit. It appends a line of JSON to
--out as soon as a figure is known, so nothing that was measured is lost. A line has step, figure and value; a speed has
its `target` too, and misses it without consequences. A check of correctness has `holds`. The exit status is 1 if a
check does not hold or a step fails. benchmarks/gpu_rates.py puts the figures of a file into benchmarks/rates.json.

The machine needs PyTorch 2.11 or newer with CUDA, transformers 5, numpy and safetensors with what they require, and the
packages in CARRIED and OPTIONAL. docs/benchmarks.md has all commands in order, from wheels of those packages, which
travel to a machine without a network (58 MB, 55 of them pyarrow), to the committed result.

    --carried         print what the wheels are made of, NAME==VERSION
    --list-imports    before: run every step at a tiny size where only those packages exist
    --rehearse        run every step at a tiny size, on a CPU if there is no GPU
    --commit          of the code, where the machine has a copy without git

The step `table` needs the whole environment of `make table`, and is skipped without it.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = 470.0  # of a whole check
LEAST = 15.0  # seconds of the check that must be left for a step to start
BASE = {"torch": "2.11", "transformers": "5.0", "numpy": "1.26", "safetensors": "0.4"}  # oldest versions that serve
# Distributions that the library imports beyond BASE, with the modules by which they are found.
CARRIED = {
    "pydantic": "pydantic", "pydantic-core": "pydantic_core", "annotated-types": "annotated_types",
    "typing-inspection": "typing_inspection", "pyarrow": "pyarrow", "psutil": "psutil", "soundfile": "soundfile",
    "cffi": "cffi", "pycparser": "pycparser", "soxr": "soxr",
}  # fmt: skip
OPTIONAL = {"accelerate": "accelerate"}  # training is compared with the Trainer of transformers, which needs it
COMMIT = "GPU_CHECK_COMMIT"  # variable of the environment by which steps know --commit
Line = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A generator of lines, `module:function`, and the seconds that it may take."""

    name: str
    function: str
    limit: float


# In order of value: a check that is cut has the first ones.
STEPS = (
    Step("machine", "gpu_correct:machine", 40),
    Step("flex", "gpu_correct:flex", 75),
    Step("training", "gpu_speed:training", 165),
    Step("extraction", "gpu_speed:extraction", 80),
    Step("kmeans", "gpu_speed:kmeans", 105),
    Step("scoring", "gpu_speed:scoring", 50),
    Step("resume", "gpu_correct:resume", 60),
    Step("units", "gpu_agree:units", 45),
    Step("kmeans_agree", "gpu_agree:kmeans_agree", 30),
    Step("whisper", "gpu_agree:whisper", 40),
    Step("table", "gpu_speed:table", SECONDS),
)


# ---------------------------------------------------------------- one step


def append(out: Path, line: Line) -> None:
    """Add a line to the file, on the disk before this returns."""
    with out.open("a") as handle:
        handle.write(json.dumps(line) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def run_step(step: Step, rehearse: bool, out: Path) -> bool:
    """Run a step in this process and append its lines; return whether it ran to its end."""
    begun = time.perf_counter()
    try:
        module, _, function = step.function.partition(":")
        for line in getattr(importlib.import_module(module), function)(rehearse):
            append(out, {"step": step.name} | line | {"at": round(time.perf_counter() - begun, 1)})
    except BaseException as error:
        where = traceback.format_exc().splitlines()[-6:]
        append(out, {"step": step.name, "error": f"{type(error).__name__}: {str(error)[:500]}", "where": where})
        return False
    return True


# ---------------------------------------------------------------- all steps


def run_child(step: Step, rehearse: bool, out: Path, limit: float) -> None:
    """Run a step in a process of its own, and append a line if that is ended at its limit or dies."""
    command = [sys.executable, str(HERE / "gpu_check.py"), "--run", step.name, "--out", str(out)]
    child = subprocess.Popen(command + ["--rehearse"] * rehearse, start_new_session=True, stdout=sys.stderr)
    try:
        status = child.wait(limit)
    except subprocess.TimeoutExpired:
        append(out, {"step": step.name, "error": f"ended at its limit of {limit:.0f} s"})
        return
    finally:
        with suppress(ProcessLookupError):  # its workers and snakemake's jobs too, also if it died before them
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if status not in (0, 1):
        append(out, {"step": step.name, "error": f"its process ended with status {status}"})


def read_lines(path: Path) -> list[Line]:
    """The lines of a file; one that was cut while it was written is left out."""
    found = []
    for text in path.read_text().splitlines():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return found


def failures(lines: Iterable[Line]) -> list[str]:
    """The checks that do not hold and the steps that failed, in words."""
    out = []
    for line in lines:
        if "error" in line:
            out.append(f"{line['step']}: {line['error']}")
        elif line.get("holds") is False:
            out.append(f"{line['step']}: {line['figure']} is {line['value']}")
    return out


def check(steps: Sequence[Step], rehearse: bool, out: Path, seconds: float) -> list[str]:
    """Run the steps one after another, and return what failed. No step runs beyond `seconds` from now."""
    end = time.perf_counter() + seconds
    for step in steps:
        left = end - time.perf_counter()
        if left < LEAST:
            append(out, {"step": step.name, "skipped": "no time was left"})
            continue
        run_child(step, rehearse, out, min(step.limit, left))
        for line in read_lines(out):
            if line["step"] == step.name:
                print(json.dumps(line), flush=True)
    found = failures(read_lines(out))
    append(out, {"step": "end", "failed": found, "seconds": round(seconds - (end - time.perf_counter()), 1)})
    return found


# ---------------------------------------------------------------- packages


def closure(names: Iterable[str]) -> Iterator[importlib.metadata.Distribution]:
    """The installed distributions of these names with all that they require, extras left out."""
    waiting, seen = list(names), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system or Python
        yield found
        needs = [need for need in found.requires or () if "extra ==" not in need]
        waiting += [re.match(r"[\w.-]+", need)[0] for need in needs]


def only_these(folder: Path) -> dict[str, str]:
    """Link the packages of BASE and CARRIED into `folder`; return the environment of a Python that sees no others."""
    for found in closure((*BASE, *CARRIED)):
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(found.locate_file(top)).resolve())
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, HERE.parent / "src", HERE)))}


def list_imports(steps: Sequence[Step], out: Path) -> list[str]:
    """Run the steps at a tiny size without any other package, and return what failed."""
    names = ",".join(step.name for step in steps)
    with tempfile.TemporaryDirectory() as folder:
        # -S leaves site-packages out
        command = [sys.executable, "-S", str(HERE / "gpu_check.py"), "--run", names, "--rehearse", "--out", str(out)]
        subprocess.run(command, env=only_these(Path(folder)), stdout=sys.stderr)
    return failures(read_lines(out))


def lacking() -> list[str]:
    """The packages of BASE and CARRIED that this Python lacks or has in too old a version."""
    modules = {name: name for name in BASE} | CARRIED
    lack = [name for name, module in modules.items() if importlib.util.find_spec(module) is None]
    for name, least in BASE.items():
        has = "" if name in lack else importlib.metadata.version(name)
        if has and _numbers(has) < _numbers(least):
            lack.append(f"{name} {least} or newer (it has {has})")
    return lack


def has_gpu() -> bool:
    """Whether PyTorch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor: 2.13.0+cu130 is (2, 13)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def carried() -> list[str]:
    """What is carried to the machine: NAME==VERSION as installed here, or NAME of what is not."""
    have = {re.sub(r"[-_.]+", "-", d.name).lower(): d.version for d in importlib.metadata.distributions()}
    return [f"{name}=={have[name]}" if name in have else name for name in (*CARRIED, *OPTIONAL)]


def main() -> int:
    """Parse and run; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [step.name for step in STEPS]
    parser.add_argument("--out", type=Path, default=Path("gpu_check.jsonl"), help="default: %(default)s")
    parser.add_argument("--only", default=",".join(known), help="some of these steps: %(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of all steps together; default: %(default)s")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, on a CPU if there is no GPU")
    parser.add_argument(
        "--list-imports", action="store_true", help="fail if a step needs a package that is not carried"
    )
    parser.add_argument("--carried", action="store_true", help="print the packages whose wheels travel, and end")
    parser.add_argument("--commit", help="of the code; default: what git says")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.carried:
        print(*carried())
        return 0
    wanted = (args.run or args.only).split(",")
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"--only: {unknown[0]} is no step; the steps are {', '.join(known)}")
    steps = [step for step in STEPS if step.name in wanted]
    if args.run:
        ran = [run_step(step, args.rehearse, args.out) for step in steps]
        return int(not all(ran))
    if lack := lacking():
        print(f"gpu_check.py: this Python lacks {', '.join(lack)}; carry their wheels (see --help)", file=sys.stderr)
        return 1
    if not args.rehearse and not args.list_imports and not has_gpu():
        print("gpu_check.py: PyTorch sees no GPU; --rehearse runs every step at a tiny size on a CPU", file=sys.stderr)
        return 1
    os.environ |= {COMMIT: args.commit} if args.commit else {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the running step is ended too
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("")
    failed = list_imports(steps, args.out) if args.list_imports else check(steps, args.rehearse, args.out, args.seconds)
    for text in failed:
        print(f"failed: {text}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
