"""The part of a file that has arrived, and what is known of a file that is whole.

Three hidden files stand beside FOLDER/NAME: `.NAME.part` with what has arrived, `.NAME.part.json` with where it came
from, and, once the file is whole, `.NAME.json` with its size, its digests and its origin.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.progress import progress, say
from speechladder.settings import Download

DIGESTS = ("md5", "sha256")
CHUNK = 1 << 20  # bytes
WORTH_A_BAR = 1 << 28  # bytes; less is read within a second or two
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def safe_url(url: str) -> str:
    """A URL as it may be shown and kept: without user and password, query and fragment, where tokens are."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def size_text(size: float) -> str:
    """Bytes to read: '35.2 GB', '12.3 MB', '512 bytes'."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.{1 if size < 1000 * unit else 0}f} {name}"
    return f"{size:.0f} bytes"


def asked(wanted: Download) -> dict[str, Any]:
    """What a file is held against: those of bytes, md5 and sha256 that the configuration gives."""
    digests = {name: value.lower() for name in DIGESTS if (value := getattr(wanted, name))}
    return ({"bytes": wanted.bytes} if wanted.bytes else {}) | digests


def validator(origin: dict[str, Any]) -> str | None:
    """What tells that the file of an address is still the same: a strong ETag, else Last-Modified."""
    etag = origin.get("etag")
    return etag if etag and not etag.startswith("W/") else origin.get("last_modified")


def lock(handle: Any, waiting: str) -> None:
    """Lock an open file until it is closed; says `waiting` and waits where another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(waiting)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:  # some file systems of clusters
        say(f"{handle.name}: cannot be locked here ({error.strerror}); let one run at a time write there")


class Digests:
    """MD5 and SHA-256 of the first `size` bytes of a file; both, so that a checksum that is added later is known."""

    def __init__(self) -> None:
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in DIGESTS}
        self.size = 0

    def update(self, data: bytes) -> None:
        """Go on with the next bytes."""
        for one in self._hashes.values():
            one.update(data)
        self.size += len(data)

    def catch_up(self, path: Path, size: int) -> None:
        """Read what lies between here and the first `size` bytes of `path`."""
        left = size - self.size
        with path.open("rb") as handle:
            handle.seek(self.size)
            if left < WORTH_A_BAR:
                self._read(handle, left, lambda amount: None)
            else:
                label = f"read {path.name.removeprefix('.').removesuffix('.part')}"
                with progress(label, left, "MB/s", 1e-6) as meter:
                    self._read(handle, left, meter.advance)

    def _read(self, handle: Any, left: int, advance: Any) -> None:
        while left > 0 and (data := handle.read(min(CHUNK, left))):
            self.update(data)
            left -= len(data)
            advance(len(data))

    def values(self) -> dict[str, Any]:
        """{"bytes": ..., "md5": ..., "sha256": ...}."""
        return {"bytes": self.size} | {name: one.hexdigest() for name, one in self._hashes.items()}


def misfit(found: dict[str, Any], wanted: Download) -> str:
    """Why a file with these bytes and digests is not the wanted one: 'md5 is ..., expected ...'; '' where it is."""
    for name, value in asked(wanted).items():
        if name in found and found[name] != value:
            return f"{name} is {found[name]}, expected {value}"
    return ""


def whole(path: Path) -> dict[str, Any] | None:
    """What is recorded of the file at `path`; None where there is no record, or the file is no longer as it was."""
    with suppress(OSError, ValueError):
        record, at = json.loads(path.with_name(f".{path.name}.json").read_text()), path.stat()
        if isinstance(record, dict) and (record.get("bytes"), record.get("mtime_ns")) == (at.st_size, at.st_mtime_ns):
            return record
    return None


def record(path: Path, target: Path, found: dict[str, Any], wanted: Download, origin: dict[str, Any]) -> None:
    """Note what `target`, which is or will be at `path`, was found to be, and where it came from."""
    about = found | {"mtime_ns": target.stat().st_mtime_ns, "asked": asked(wanted)} | origin
    write_json(path.with_name(f".{path.name}.json"), about)


class Part:
    """The part of FOLDER/NAME that has arrived; one process at a time holds it (`hold`)."""

    def __init__(self, folder: Path, name: str) -> None:
        self.final, self.path = folder / name, folder / f".{name}.part"
        self._note = folder / f".{name}.part.json"
        self.digests = Digests()
        self.origin: dict[str, Any] = {}  # url, etag, last_modified, total; refused: digests of a whole but wrong file
        self.known: dict[str, Any] = {}  # url: digests and validator of the wrong file that it was found to have
        self._handle: Any = None

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self._handle.fileno()).st_size

    def open(self) -> None:
        """Open the file, and wait for another process that fetches it."""
        while True:
            self._handle = self.path.open("a+b", buffering=0)
            name, folder = self.final.name, self.final.parent
            lock(self._handle, f"{name}: another process is fetching it into {folder}; waiting for that")
            with suppress(FileNotFoundError):
                if os.path.samestat(self.path.stat(), os.fstat(self._handle.fileno())):
                    break
            self._handle.close()  # the other one has finished, and this is now the whole file
        if self.size:  # the note on a part that was deleted says nothing any more
            with suppress(OSError, ValueError):
                note = json.loads(self._note.read_text())
                self.origin = note if isinstance(note, dict) else {}
                self.known = self.origin.pop("known", {})

    def close(self) -> None:
        """Let go; an empty part is no part."""
        with suppress(FileNotFoundError):
            if not self.size and os.path.samestat(self.path.stat(), os.fstat(self._handle.fileno())):
                self.path.unlink()
                self._note.unlink(missing_ok=True)
        self._handle.close()

    def begin(self, origin: dict[str, Any]) -> None:
        """Throw away what has arrived, and begin with a file of this origin."""
        self._handle.truncate(0)
        self.digests = Digests()
        self.note(origin)

    def note(self, origin: dict[str, Any]) -> None:
        """Keep where the part comes from."""
        self.origin = origin
        with self._writing():
            write_json(self._note, origin | {"known": self.known})

    def append(self, data: bytes) -> None:
        """Write the next bytes; raises UserError when the disk is full."""
        if self.digests.size < self.size:
            self.digests.catch_up(self.path, self.size)
        view = memoryview(data)
        with self._writing():
            while view:
                view = view[self._handle.write(view) :]
        self.digests.update(data)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
            raise UserError(
                f"{self.path}: the disk is full; free some room, and the same command goes on after the "
                f"{size_text(self.size)} that have arrived"
            ) from None

    def found(self) -> dict[str, Any]:
        """Size and digests of what has arrived."""
        if self.origin.get("refused", {}).get("bytes") == self.size and not self.digests.size:
            return self.origin["refused"]
        self.digests.catch_up(self.path, self.size)
        return self.digests.values()

    def refuse(self, found: dict[str, Any]) -> None:
        """Keep the part, which is whole but not the wanted file: a corrected checksum may want it."""
        if (url := self.origin.get("url")) and validator(self.origin):
            self.known[url] = found | {"validator": validator(self.origin)}
        self.note(self.origin | {"refused": found})

    def finish(self, found: dict[str, Any], wanted: Download) -> None:
        """Give the whole file its name."""
        origin = {name: value for name, value in self.origin.items() if name not in ("total", "refused")}
        with self._writing():
            os.fsync(self._handle.fileno())
            record(self.final, self.path, found, wanted, origin)
        self.path.replace(self.final)
        self._note.unlink(missing_ok=True)

    def take_back(self, found: dict[str, Any]) -> None:
        """Make the file that has the name a refused part again: it is not what the configuration wants now.

        `found` is its record.
        """
        self.final.replace(self.path)
        self._handle.close()
        self.open()
        self.origin = {name: found.get(name) for name in ("url", "etag", "last_modified")} | {"total": found["bytes"]}
        self.refuse({name: found[name] for name in ("bytes", *DIGESTS) if name in found})


@contextmanager
def hold(folder: Path, name: str) -> Iterator[Part]:
    """The part of FOLDER/NAME, for this process alone; a second process waits until the first has ended."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = Part(folder, name)
        part.open()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); set downloads.folder to another") from None
    try:
        yield part
    finally:
        part.close()
