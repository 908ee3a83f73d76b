"""Running the command `mfa` with a root folder of its own, and reporting its failures in full.

Everything that MFA keeps (its settings, history, models, temporary files) is below the `root` that it is given; nothing
is in the home directory. Used here of MFA 3.4: `mfa align`, `train`, `g2p`, `model download`, `version`. MFA takes
options that it does not know for parameters, so it does not report a misspelt one.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.io.progress import say

SUPPORTED = "3"  # major version: version 4 changes the signature of `mfa align`
TAIL = 8  # last lines that an error message repeats
_BAR = re.compile(r"\d+%\||\bit/s\b|━|[⠁-⣿]")  # a progress bar
_VERSION = re.compile(r"v?(\d+(?:\.\d+)+(?:[.+-]?\w+)*)")  # also 3.4.0a1, 3.4.4.dev3+g93411fc
_STAMP = re.compile(r"^\s*(\d{4}-\d\d-\d\d[\d:, ]*-?\s*)?")


# Runs a command in a process group together with a guard. The guard starts first and waits at a pipe that only this
# process holds open. When this process ends, for whatever reason, the guard kills the group.
_GUARDED = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -KILL 0) & "$@" 3<&-; exit $?'


def run_mfa(words: Sequence[str | Path | int], root: Path, show: bool = True) -> str:
    """Run `mfa WORDS...` with MFA_ROOT_DIR `root`, and return its output without progress bars.

    `show`: copy its lines to stderr, the job's log, as they come. Raises UserError if there is no such command, or if
    it fails: with the exit code or the signal and the last lines. MFA's own logs below `root` are then copied to
    stderr.
    """
    command = ["mfa", *map(str, words)]
    what = "mfa " + " ".join(command[1 : 3 if command[1] == "model" else 2])
    if shutil.which("mfa") is None:
        raise UserError(
            f"{what}: there is no `mfa` on PATH; run in its environment: snakemake --sdm conda, or create it "
            "(conda env create -f envs/mfa.yaml) and activate it"
        )
    code, lines = _watched(command, root, show)
    if code:
        raise _failure(what, code, lines, root, show)
    return "\n".join(lines)


def _watched(command: list[str], root: Path, show: bool) -> tuple[int, list[str]]:
    """Run the command under its guard; returns (exit code, its lines without progress bars)."""
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
        for line in process.stdout:  # a carriage return ends a line too
            line = line.rstrip()
            if line and not _BAR.search(line):
                lines.append(line)
                if show:
                    say(f"mfa: {line}")

    listener = threading.Thread(target=listen, daemon=True)
    try:
        listener.start()
        # wait for the process, not for the end of its output, which processes of a killed mfa may hold open
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        with suppress(ProcessLookupError):  # no other group can take this id before the leader has been waited for
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    listener.join(10)
    process.stdin.close()
    process.stdout.close()
    return process.returncode, lines


def _failure(what: str, code: int, lines: list[str], root: Path, shown: bool) -> UserError:
    if not shown:
        for line in lines:
            say(f"mfa: {line}")
    own = log_lines(root)
    if own:
        say(f"{what}: its own logs:")
    for file, line in own:
        say(f"{file}: {line}")
    how, number = f"failed with exit code {code}", code - 128  # a shell adds 128 to the number of a signal
    if number > 0:
        names = {one.value: one.name for one in signal.Signals}
        how = f"was killed by {names.get(number, f'signal {number}')}"
        if number == signal.SIGKILL:
            how += "; perhaps the machine ran out of memory: use fewer threads or more shards"
    # what MFA prints often refers to its log
    errors = [line for _, line in own if "ERROR" in line or not lines][-TAIL:]
    tail = [_STAMP.sub("", line) for line in lines[-TAIL:] + errors] or ["(no output)"]
    return UserError(f"{what} {how}. Its last lines:\n  " + "\n  ".join(tail) + "\nIts whole output is above.")


def log_lines(root: Path) -> list[tuple[str, str]]:
    """(file, line) of every log that MFA wrote below `root`, the oldest file first."""
    files = [path for path in root.rglob("*.log") if path.is_file()]
    files.sort(key=lambda path: (path.stat().st_mtime_ns, str(path)))
    return [
        (path.relative_to(root).as_posix(), line)
        for path in files
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]


def mfa_version(root: Path) -> str:
    """The version of `mfa`: the last line that is one, for paths and versions in warnings are not MFA's.

    Raises UserError if this code does not support it, or if there is no such line.
    """
    lines = run_mfa(["version"], root, show=False).splitlines()
    found = next((match[1] for line in reversed(lines) if (match := _VERSION.fullmatch(line.strip()))), None)
    if found is None:
        raise UserError(
            f"mfa version printed no line that is a version, but: {' / '.join(lines[-TAIL:]) or 'nothing'}; make its "
            "environment anew: conda env create -f envs/mfa.yaml"
        )
    if found.split(".")[0] != SUPPORTED:
        raise UserError(f"mfa is version {found}; only {SUPPORTED}.x is supported: conda env create -f envs/mfa.yaml")
    return found


def common_options(temporary: Path, jobs: int) -> list[str | Path | int]:
    """The options of every command that works on data.

    `temporary` is new in every run. MFA cleans by default, and it deletes the log that it has opened when it does, so
    it is told not to.
    """
    return ["--temporary_directory", temporary, "--num_jobs", jobs, "--use_mp", "--no_clean", "--overwrite"]
