"""The part of a file that has arrived.

Two hidden files stand beside FOLDER/NAME during a download: `.NAME.part` with the bytes that have arrived, and
`.NAME.part.json` with the address, validators and total size of the file that they belong to.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from speechladder.fetch.checksums import Digests, write_record
from speechladder.fetch.disk import DISK_FULL
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.locks import has_name, wait_for_lock
from speechladder.io.progress import size_text
from speechladder.settings import Download

ORIGIN = ("url", "etag", "last_modified")


def validator(origin: dict[str, Any]) -> str | None:
    """The header that identifies one version of the file at an address: a strong ETag, else Last-Modified."""
    etag = origin.get("etag")
    return etag if etag and not etag.startswith("W/") else origin.get("last_modified")


class Part:
    """The part of FOLDER/NAME that has arrived. One process at a time holds it (`open_part`).

    `origin` says which file the bytes belong to: url, etag, last_modified, total (bytes). `rejected` is set while the
    bytes are a whole file that fails the configured checks: its size and digests.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.final, self.path = folder / name, folder / f".{name}.part"
        self.origin: dict[str, Any] = {}
        self.rejected: dict[str, Any] | None = None
        self._note = folder / f".{name}.part.json"
        self._digests = Digests()
        self._handle: Any = None

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self._handle.fileno()).st_size

    @property
    def complete(self) -> bool:
        """Whether the bytes are a whole file, as far as the server has said its size."""
        return self.size > 0 and self.size == self.origin.get("total")

    def open(self) -> None:
        """Open and lock the file; wait while another process holds it."""
        while True:
            self._handle = self.path.open("a+b", buffering=0)
            self._lock(self._handle)
            if has_name(self._handle, self.path):
                break
            self._handle.close()  # the other process has finished: what was opened is now the whole file
        if self.size:  # without bytes, a note is left from a part that somebody deleted
            with suppress(OSError, ValueError):
                note = json.loads(self._note.read_text())
                self.origin = note if isinstance(note, dict) else {}

    def _lock(self, handle: Any) -> None:
        name, folder = self.final.name, self.final.parent
        wait_for_lock(handle, f"{name}: another process is fetching it into {folder}; waiting for that")

    def close(self) -> None:
        """Release the lock; remove a part without bytes."""
        if not self.size and has_name(self._handle, self.path):
            self.path.unlink()
            self._note.unlink(missing_ok=True)
        self._handle.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn an OSError into a UserError that names the file, or says that the disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                where = error.filename or self.path
                raise UserError(f"{where}: {error.strerror}; make it accessible and run again") from None
            raise UserError(
                f"{self.path}: the disk is full; free some room, and the same command goes on after the "
                f"{size_text(self.size)} that have arrived"
            ) from None

    def begin(self, origin: dict[str, Any]) -> None:
        """Discard the bytes and begin a file of this origin."""
        self._handle.truncate(0)
        self._digests, self.rejected = Digests(), None
        self.set_origin(origin)

    def set_origin(self, origin: dict[str, Any]) -> None:
        """Note which file the bytes belong to."""
        self.origin = origin
        with self.writing():
            write_json(self._note, origin)

    def append(self, data: bytes) -> None:
        """Write the next bytes; raise UserError if the disk is full."""
        if self._digests.size < self.size:
            self._digests.catch_up(self.path, self.size)
        view = memoryview(data)
        with self.writing():
            while view:
                view = view[self._handle.write(view) :]
        self._digests.update(data)

    def measure(self) -> dict[str, Any]:
        """Size and digests of the bytes that have arrived."""
        self._digests.catch_up(self.path, self.size)
        return self._digests.values()

    def finish(self, found: dict[str, Any], wanted: Download) -> None:
        """Record the whole file and give it its name."""
        os.fsync(self._handle.fileno())
        write_record(self.final, self.path, found, wanted, {k: v for k, v in self.origin.items() if k in ORIGIN})
        self.path.replace(self.final)
        self._note.unlink(missing_ok=True)

    def take_final(self, record: dict[str, Any]) -> None:
        """Make the file FOLDER/NAME, which fails the configured checks now, the rejected part; `record` is its own."""
        handle = self.final.open("a+b", buffering=0)
        self._lock(handle)  # before it has the part's name, so that no other process takes it first
        self.final.replace(self.path)
        self._handle.close()
        self._handle, self.rejected = handle, record
        self.set_origin({name: record.get(name) for name in ORIGIN} | {"total": record["bytes"]})


@contextmanager
def open_part(folder: Path, name: str) -> Iterator[Part]:
    """The part of FOLDER/NAME, held by this process alone; another process waits until this one has ended."""
    part = Part(folder, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.open()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); set downloads.folder to another") from None
    try:
        with part.writing():
            yield part
    finally:
        part.close()
