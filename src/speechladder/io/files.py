"""Files that exist whole or not at all: written under a temporary name, flushed to disk, then renamed."""

import gzip
import json
import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError

_OF_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_UMASK = os.umask(0)  # the only way to read it is to set it
os.umask(_UMASK)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` on success, remove it otherwise.

    The temporary name keeps the suffix, since writers choose their format by it. Files that a killed writer of `path`
    left are removed first, which is safe because an output has one writer at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_remains(path, rf"\.tmp-\d+-{re.escape(path.name)}")
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        _share(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it replaces `path` on success and is removed otherwise.

    A folder that is there, even an empty one, is renamed first and then removed, so `path` never holds half of it.
    Folders that a killed writer of `path` left are removed first, which is safe because an output has one writer at a
    time.
    """
    path = Path(path)
    with _new_folder(path, f".tmp-{path.name}-") as temporary:
        old = temporary.with_name(f"{temporary.name}.old")
        yield temporary
        for part in (temporary, *temporary.rglob("*")):
            _share(part)
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def work_folder(output: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `output` for a job's own files. It is removed at the end, or by the next run."""
    output = Path(output)
    with _new_folder(output, f".tmp-work-{output.name}-") as folder:
        yield folder


@contextmanager
def _new_folder(path: Path, prefix: str) -> Iterator[Path]:
    """Yield an empty folder beside `path`, without the remains of an earlier one; it is removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkdtemp's part has no hyphen, so a folder that belongs to `a-b` is not taken for one of `a`
    _remove_remains(path, rf"{re.escape(prefix)}[^-]+")
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent.resolve()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_left_alone(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden (`._x.flac` of macOS too), or kept by an operating system.

    >>> is_left_alone("._1-2-0000.flac"), is_left_alone("__MACOSX"), is_left_alone("1-2-0000.flac")
    (True, True, False)
    """
    return name.startswith(".") or name in _OF_SYSTEMS


def files_below(root: Path, kind: Callable[[Path], Hashable] = lambda folder: None) -> list[Path]:
    """Every file below `root` that is not left alone (`is_left_alone`), sorted. Linked folders are entered.

    A folder that several paths lead to is entered once, by the path without links if there is one; if `kind` differs
    between the paths, it is entered once for each kind. A link to a folder that it lies in is not followed, so a circle
    ends. Broken links are among the files. Raises UserError if a folder cannot be read.
    """
    out: list[Path] = []
    visited: set[tuple[str, Hashable]] = set()
    waiting = deque([str(root)])
    while waiting:  # folders first, then what the links in them lead to
        top = waiting.popleft()
        real_top, links = os.path.realpath(top), []
        for folder, names, files in os.walk(top, onerror=_refuse):
            real = real_top + folder[len(top) :]
            if (place := (real, kind(Path(folder)))) in visited:
                names.clear()
                continue
            visited.add(place)
            inside = [Path(folder, name) for name in sorted(names) if not is_left_alone(name)]
            names[:] = [path.name for path in inside if not path.is_symlink()]
            linked = (path for path in inside if path.is_symlink())
            links += [str(path) for path in linked if not _holds(os.path.realpath(path), real)]
            out += [Path(folder, name) for name in files if not is_left_alone(name)]
        waiting += sorted(links)
    return sorted(out)


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions, or move it away")


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _share(path: Path) -> None:
    """Give a file or folder the permissions of the umask: mkdtemp and safetensors create theirs for the owner alone."""
    if not path.is_symlink():
        path.chmod((0o777 if path.is_dir() else 0o666) & ~_UMASK | path.stat().st_mode & 0o111)


def _remove_remains(path: Path, pattern: str) -> None:
    for remains in path.parent.glob(".tmp-*"):
        if re.fullmatch(pattern, remains.name):
            shutil.rmtree(remains) if remains.is_dir() else remains.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path, fix: str = "delete it and run again") -> Any:
    """Read a JSON file; raises UserError naming the file if it is missing or broken, with the `fix` of a broken one."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; correct the path, or run the stage that makes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}); {fix}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def write_jsonl(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines, atomically; compressed by gzip if the name ends in .gz."""
    with atomic(path) as temporary, temporary.open("wb") as raw:
        # without time and name in the header, equal rows give equal bytes
        out = (
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=6)
            if str(path).endswith(".gz")
            else raw
        )
        for row in rows:
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        if out is not raw:
            out.close()


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Stream JSON lines, compressed by gzip or not; raises UserError naming the file and line if one is broken."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; correct the path, or run the stage that makes it")
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):  # noqa: B007 - for the error message
                if line.strip():
                    yield json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError, EOFError, OSError) as error:
        raise UserError(f"{path}, line {number}: not readable as JSON lines ({error})") from None
