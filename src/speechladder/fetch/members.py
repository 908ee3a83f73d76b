"""The members of a tar or zip, one after another, each with what speaks against taking it."""

import bz2
import errno
import gzip
import lzma
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from speechladder.fetch.partial import FULL
from speechladder.io.errors import UserError

CHUNK = 1 << 20  # bytes
LONGEST, LONGEST_PART = 2000, 255  # of a name, and of what is between two slashes, as file systems have it
RATIO, SMALL = 200, 1 << 26  # what unpacks to more than RATIO times its size, and SMALL bytes, is a trap
BOMB = f"it unpacks to more than {RATIO} times its size, as neither speech nor text does"
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError)
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class BrokenArchiveError(Exception):
    """An archive that cannot be read to its end; the message is what is wrong with it."""


class Member(NamedTuple):
    """A member: its name without a leading ./, its size in bytes, why it is not taken ('' where it is)."""

    name: str
    size: int
    reason: str
    folder: bool
    offset: int  # of its bytes in a tar
    info: Any  # the library's own description


def shown(name: str) -> str:
    """A name as it may be shown and kept: what is not printable, or not UTF-8, escaped."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return plain if len(plain) <= 500 else f"{plain[:500]}..."


def checked_name(name: str) -> tuple[str, str]:
    """A member's name as a path within the archive, and why it may not be one ('' where it may)."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    clean = "/".join(parts)
    if name.startswith("/"):
        return name, "absolute path"
    if ".." in parts:
        return name, "leaves the folder"
    if "\\" in name or re.match(r"[A-Za-z]:", name):
        return name, "a path of Windows"
    try:
        longest = max((len(part.encode()) for part in parts), default=0)
    except UnicodeEncodeError:
        return name, "a name that is not UTF-8"
    if not clean.isprintable():
        return name, "control characters in its name"
    if longest > LONGEST_PART or len(clean) > LONGEST:
        return name, "too long a name"
    if parts and (parts[0] == "__MACOSX" or parts[-1].startswith("._")):
        return clean, "an addition of macOS"
    return clean, ""


class Seen:
    """The names taken so far, which the next one is held against."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: set[str] = set()

    def clash(self, name: str) -> str:
        """Why a file of this name cannot be there beside the earlier ones; '' where it can, and then it is noted.

        Names that differ in case or composition alone are one file on some machines.
        """
        key = unicodedata.normalize("NFC", name).casefold()
        above = key.split("/")[:-1]
        if key in self._files:
            same = self._files[key] == name
            return "duplicate name, the first is kept" if same else "name differs from another's in case only"
        folders = ["/".join(above[: n + 1]) for n in range(len(above))]
        if key in self._folders or any(folder in self._files for folder in folders):
            return "both a file and a folder"
        self._files[key] = name
        self._folders.update(folders)
        return ""


class Tar:
    """A tar, compressed or not, read from its beginning to its end once.

    Only headers are kept, one at a time, so that neither the size of the archive nor the number of members matters.
    """

    def __init__(self, file: BinaryIO, packed: bool) -> None:
        self.packed = packed
        self._file, self._last = file, b""

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def read(self, size: int) -> bytes:
        """Bytes for tarfile, which believes the sizes that a header gives."""
        if not 0 <= size <= CHUNK:
            raise tarfile.ReadError(f"a header that is {size} bytes long")
        self._last = self._file.read(size)
        return self._last

    def members(self) -> Iterator[Member]:
        """Every member; raises BrokenArchiveError where the archive is no tar, broken or cut off."""
        with broken(), tarfile.open(fileobj=self, mode="r:") as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                tar.members.clear()
                if info.size < 0 or tar.offset <= info.offset:
                    raise tarfile.ReadError("a member of negative size")
                yield _of_tar(info)
            if self._last.strip(b"\0") or len(self._last) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it ends without an end mark: cut off, or damaged in the middle")
            while self._file.read(CHUNK):  # what is packed has its checksum at the end
                pass

    def content(self, member: Member) -> Iterator[bytes]:
        """The bytes of the current member; raises BrokenArchiveError when they end early."""
        with broken():
            self.seek(member.offset)
            left = member.size
            while left:
                data = self._file.read(min(CHUNK, left))
                if not data:
                    raise tarfile.ReadError(f"cut off in {shown(member.name)}")
                left -= len(data)
                yield data


def _of_tar(info: tarfile.TarInfo) -> Member:
    name, reason = checked_name(info.name)
    if not reason and not info.isdir():
        if not name:
            reason = "no name"
        elif not info.isreg():
            reason = _KINDS.get(info.type, f"of the unknown type {info.type!r}")
        elif info.issparse():
            reason = "a file with holes"
    return Member(name, info.size, reason, info.isdir(), info.offset_data, info)


@contextmanager
def broken() -> Iterator[None]:
    """Turn what the libraries raise about a broken archive into BrokenArchiveError."""
    try:
        yield
    except (*_BROKEN, gzip.BadGzipFile, RecursionError) as error:
        raise BrokenArchiveError(str(error).strip().rstrip(".") or type(error).__name__) from None


@contextmanager
def opened(path: Path) -> Iterator[Tar]:
    """A tar, unpacked by what its first bytes say; raises BrokenArchiveError for what is none."""
    with path.open("rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        if head.startswith(_ZSTANDARD):
            raise BrokenArchiveError("is packed by zstd, which is not read here; unpack it (zstd -d)")
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        if opener is None:
            yield Tar(raw, packed=False)
        else:
            with opener(raw) as file:
                yield Tar(file, packed=True)


def zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    """Every member of a zip."""
    for info in archive.infolist():
        name, reason = checked_name(info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: Unix
        if not reason and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            reason = "a symbolic link" if kind == stat.S_IFLNK else "a device, pipe or socket"
        if not reason and not info.is_dir():
            reason = "encrypted" if info.flag_bits & 1 else "" if name else "no name"
        yield Member(name, info.file_size, reason, info.is_dir(), 0, info)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its first bytes."""
    with explained(path), path.open("rb") as raw:
        return raw.read(2) == b"PK"


def absurd(size: int, packed: int) -> bool:
    """Whether `packed` bytes that become `size` are a trap: neither speech nor text packs so well."""
    return size > max(SMALL, RATIO * packed)


def row(name: str, reason: str, archive: Path) -> dict[str, str]:
    """A member in a list of rejects."""
    return {"id": shown(name), "reason": reason, "source": str(archive)}


def summary(rejects: list[dict[str, str]], where: object = None) -> str:
    """What was left out, as the end of a line; '' where nothing was."""
    if not rejects:
        return ""
    first = f"{rejects[0]['id']}: {rejects[0]['reason']}"
    return f"; {len(rejects)} left out ({first}{', ...' if len(rejects) > 1 else ''})" + (
        f", see {where}" if where else ""
    )


@contextmanager
def explained(archive: Path) -> Iterator[None]:
    """UserError for what goes wrong with an archive, with the file that is meant and what to do."""
    try:
        yield
    except BrokenArchiveError as error:
        raise UserError(
            f"{archive}: cannot be used: {error}. Delete {archive.resolve()} and run again, and it is fetched anew; "
            f"an md5 under downloads.files.{archive.name} tells a bad file before it is used"
        ) from None
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"{archive}: the disk is full while it is unpacked; nothing is left of that") from None
        fix = "name one that is there" if error.errno == errno.ENOENT else "it cannot be read"
        raise UserError(f"{error.filename or archive}: {error.strerror or error}; {fix}") from None
