"""Checksums: what a file must be, what it is, and the record that is kept of a file once it has been checked.

The record of FOLDER/NAME is FOLDER/.NAME.json: size, digests, origin, and the checks that were asked for.
"""

import hashlib
import json
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from speechladder.io.files import write_json
from speechladder.io.progress import no_progress, progress
from speechladder.settings import Download

DIGESTS = ("md5", "sha256")
CHUNK = 1 << 20  # bytes
BAR_FROM = 1 << 28  # bytes; a smaller file is read within a second or two


def expected_checks(wanted: Download) -> dict[str, Any]:
    """The checks that the configuration gives for a file: those of bytes, md5 and sha256 that are set."""
    digests = {name: value.lower() for name in DIGESTS if (value := getattr(wanted, name))}
    return ({"bytes": wanted.bytes} if wanted.bytes else {}) | digests


def has_digest(wanted: Download) -> bool:
    """Whether the configuration gives an MD5 or a SHA-256, so that the content of a file can be checked."""
    return bool(wanted.md5 or wanted.sha256)


def checksum_mismatch(found: dict[str, Any], wanted: Download) -> str:
    """Why a file of this size and these digests is not the wanted one: 'md5 is ..., expected ...'. '' if it may be."""
    for name, value in expected_checks(wanted).items():
        if name in found and found[name] != value:
            return f"{name} is {found[name]}, expected {value}"
    return ""


class Digests:
    """MD5 and SHA-256 of the first `size` bytes of a file.

    Both are computed, so that a checksum which is configured later needs no second reading.
    """

    def __init__(self) -> None:
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in DIGESTS}
        self.size = 0

    def update(self, data: bytes) -> None:
        """Add the next bytes of the file."""
        for digest in self._hashes.values():
            digest.update(data)
        self.size += len(data)

    def catch_up(self, path: Path, size: int) -> None:
        """Read the bytes of `path` from `self.size` up to `size`."""
        label, left = f"read {path.name.removeprefix('.').removesuffix('.part')}", size - self.size
        bar = progress(label, left, "MB/s", 1e-6) if left >= BAR_FROM else nullcontext()
        with path.open("rb") as handle, bar as meter:
            handle.seek(self.size)
            advance = meter.advance if meter else no_progress
            while self.size < size and (data := handle.read(min(CHUNK, size - self.size))):
                self.update(data)
                advance(len(data))

    def values(self) -> dict[str, Any]:
        """{"bytes": ..., "md5": ..., "sha256": ...}, digests in hex."""
        return {"bytes": self.size} | {name: digest.hexdigest() for name, digest in self._hashes.items()}


def measure(path: Path, wanted: Download) -> dict[str, Any]:
    """The size of a file, and its digests if the configuration gives one and the size is right."""
    size = {"bytes": path.stat().st_size}
    if checksum_mismatch(size, wanted) or not has_digest(wanted):
        return size
    digests = Digests()
    digests.catch_up(path, size["bytes"])
    return digests.values()


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of the file at `path`; None if there is none, or if the file has changed since."""
    with suppress(OSError, ValueError):
        record, at = json.loads(path.with_name(f".{path.name}.json").read_text()), path.stat()
        if isinstance(record, dict) and (record.get("bytes"), record.get("mtime_ns")) == (at.st_size, at.st_mtime_ns):
            return record
    return None


def write_record(path: Path, content: Path, found: dict[str, Any], wanted: Download, origin: dict[str, Any]) -> None:
    """Record what was found in `content`, which is or will be the file at `path`, and where it came from."""
    about = found | {"mtime_ns": content.stat().st_mtime_ns, "asked": expected_checks(wanted)} | origin
    write_json(path.with_name(f".{path.name}.json"), about)
