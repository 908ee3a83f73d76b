"""The command `mfa`: run with a root of its own, watched, and its failures said in full.

Whatever MFA keeps (its settings, history, models, temporary files) is below the `root` that it is given; nothing of it
is in the home directory. MFA 3.4: `mfa align`, `train`, `g2p`, `model download`, `version`. It takes options that it
does not know for parameters, so a misspelt one is not an error there.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.io.progress import say

SUPPORTED = "3"  # major version: 4 changes the signature of `mfa align`
TAIL = 8  # lines that an error repeats
_BAR = re.compile(r"\d+%\||\bit/s\b|━|[⠁-⣿]")  # a progress bar, drawn again and again
_STAMP = re.compile(r"^\s*(\d{4}-\d\d-\d\d[\d:, ]*-?\s*)?")


# Runs a command in a process group with a guard that waits at a pipe which only we hold open: when we are gone, however
# that came, the guard kills the group. The guard is there before the command.
_GUARDED = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -KILL 0) & "$@" 3<&-; exit $?'


def run_mfa(words: Sequence[str | Path | int], root: Path, show: bool = True) -> str:
    """Run `mfa WORDS...` with MFA_ROOT_DIR `root`, and return what it printed, without its progress bars.

    `show`: its lines go to stderr, which is the job's log, as they come. Raises UserError when there is no such command
    or when it fails: with the exit code or the signal and its last lines; its own logs below `root` go to stderr whole.
    """
    command = ["mfa", *map(str, words)]
    what = "mfa " + " ".join(command[1 : 3 if command[1] == "model" else 2])
    if shutil.which("mfa") is None:
        raise UserError(
            f"{what}: there is no `mfa` on PATH; run in its environment: snakemake --sdm conda, or conda env create -f "
            "envs/mfa.yaml and activate it"
        )
    root.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        ["sh", "-c", _GUARDED, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"MFA_ROOT_DIR": str(root)},
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []

    def listen() -> None:
        for line in process.stdout:  # a carriage return ends one too
            line = line.rstrip()
            if line and not _BAR.search(line):
                lines.append(line)
                if show:
                    say(f"mfa: {line}")

    listener = threading.Thread(target=listen, daemon=True)
    try:
        listener.start()
        # not until the end of its output: processes of a killed mfa may hold that open
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        with suppress(ProcessLookupError):  # the group's name is ours as long as its leader has not been waited for
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    listener.join(10)
    process.stdin.close()
    process.stdout.close()
    if process.returncode:
        raise _failure(what, process.returncode, lines, root, show)
    return "\n".join(lines)


def _failure(what: str, code: int, lines: list[str], root: Path, shown: bool) -> UserError:
    if not shown:
        for line in lines:
            say(f"mfa: {line}")
    own = log_lines(root)
    if own:
        say(f"{what}: its own logs, whole:")
    last: deque[str] = deque(maxlen=TAIL)
    for file, line in own:
        say(f"{file}: {line}")
        last.append(line)
    how, number = f"failed with exit code {code}", code - 128  # the shell's way of saying a signal
    if number > 0:
        how = f"was killed by {_signal(number)}"
        if number == signal.SIGKILL:
            how += "; perhaps the machine ran out of memory: fewer threads or more shards"
    tail = [_STAMP.sub("", line) for line in lines[-TAIL:]] or list(last) or ["(it printed nothing)"]
    return UserError(f"{what} {how}. Its last lines:\n  " + "\n  ".join(tail) + "\nAll that it printed is above.")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def log_lines(root: Path) -> list[tuple[str, str]]:
    """(file, line) of every log that MFA wrote below `root`, the oldest first."""
    files = [path for path in root.rglob("*.log") if path.is_file()]
    files.sort(key=lambda path: (path.stat().st_mtime_ns, str(path)))
    return [
        (path.relative_to(root).as_posix(), line)
        for path in files
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]


def version(root: Path) -> str:
    """The version of `mfa`; raises UserError where it is not one that this code knows."""
    found = next(iter(re.findall(r"\d+(?:\.\d+)+\S*", run_mfa(["version"], root, show=False))), "unknown")
    if found.split(".")[0] != SUPPORTED:
        raise UserError(
            f"mfa is version {found}; known here is that of {SUPPORTED}.x: conda env create -f envs/mfa.yaml"
        )
    return found


def common_options(temporary: Path, jobs: int) -> list[str | Path | int]:
    """What every command that works on data is told."""
    return ["--temporary_directory", temporary, "--num_jobs", jobs, "--use_mp", "--clean", "--overwrite"]
