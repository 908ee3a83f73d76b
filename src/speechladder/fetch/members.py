"""The members of a tar or zip, one after another, each with the reason for which it is not taken, if there is one."""

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from speechladder.fetch.disk import DISK_FULL
from speechladder.io.errors import UserError
from speechladder.io.files import is_left_alone
from speechladder.io.rejects import Rejects

CHUNK = 1 << 20  # bytes
LONGEST, LONGEST_PART = 2000, 255  # characters of a name, bytes between two slashes: the limits of file systems
RATIO, SMALL = 200, 1 << 26  # an archive that unpacks to more than RATIO times its size, and SMALL bytes, is refused
BOMB = f"it unpacks to more than {RATIO} times its size, as neither speech nor text does"
DUPLICATE = "duplicate name, the first is kept"
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class BrokenArchiveError(Exception):
    """An archive cannot be read to its end; the message says what is wrong with it."""


BROKEN = (  # what is raised about a broken archive; NotImplementedError is a compression that zipfile does not know
    BrokenArchiveError,
    EOFError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    ValueError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class Member(NamedTuple):
    """A member: its name without a leading ./, its size in bytes, and why it is not taken ('' if it is)."""

    name: str
    size: int
    reason: str
    folder: bool
    offset: int  # of its bytes in a tar
    info: Any  # the library's own description


def printable(name: str) -> str:
    """A name that can be printed and stored: characters that are not printable or not UTF-8 are escaped."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return plain if len(plain) <= 500 else f"{plain[:500]}..."


def checked_name(name: str) -> tuple[str, str]:
    """A member's name as a path within the archive, and why it is not taken ('' if it is).

    Programs of Windows write backslashes between folders.

    >>> checked_name("s1\\\\c\\\\001.TextGrid"), checked_name("../outside")
    (('s1/c/001.TextGrid', ''), ('../outside', 'leaves the folder'))

    `tarfile.data_filter` does not suffice: it strips a leading / without a word, allows links, and is for tars alone.
    """
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    clean = "/".join(parts)
    if path.startswith("/"):
        return name, "absolute path"
    if ".." in parts:
        return name, "leaves the folder"
    if re.match(r"[A-Za-z]:", path):
        return name, "a Windows path"
    try:
        longest = max((len(part.encode()) for part in parts), default=0)
    except UnicodeEncodeError:
        return name, "name is not UTF-8"
    if not clean.isprintable():
        return name, "control characters in its name"
    if longest > LONGEST_PART or len(clean) > LONGEST:
        return name, "name too long"
    if any(is_left_alone(part) for part in parts):
        is_macos = "__MACOSX" in parts or parts[-1].startswith("._")
        return clean, "a macOS metadata file" if is_macos else "a hidden file"
    return clean, ""


class TakenNames:
    """The names of the files that have been taken, to find those that cannot stand beside them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # as compared -> as given; "" for a folder

    def add(self, name: str) -> str:
        """Take a name. If it clashes with an earlier one, return why, and do not take it; otherwise return ''.

        Names that differ only in case or Unicode composition are one file on some file systems.
        """
        key = unicodedata.normalize("NFC", name).casefold()
        folders = [key[: slash.start()] for slash in re.finditer("/", key)]
        if earlier := self._names.get(key):
            return DUPLICATE if earlier == name else "name differs from another only in case"
        if key in self._names or any(map(self._names.get, folders)):
            return "both a file and a folder"
        self._names |= {key: name} | dict.fromkeys(folders, "")
        return ""


class _Headers:
    """The bytes of a tar for `tarfile`, which trusts the sizes in a header: a false one must not fill the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.tell, self.seek = file.tell, file.seek
        self._file, self.last = file, b""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= CHUNK:
            raise BrokenArchiveError(f"a header that is {size} bytes long")
        self.last = self._file.read(size)
        return self.last


class Tar(tarfile.TarFile):
    """A tar, compressed or not, that is read once from beginning to end.

    Only one header is kept at a time, so memory depends neither on the archive's size nor on the number of members.
    """

    def __init__(self, file: BinaryIO, packed: bool) -> None:
        self.packed, self._bytes = packed, _Headers(file)
        super().__init__(mode="r", fileobj=self._bytes)  # type: ignore[arg-type]

    def each(self) -> Iterator[Member]:
        """Every member; raises one of BROKEN if the archive is broken or cut off."""
        while (info := self.next()) is not None:
            self.members.clear()
            if info.size < 0 or self.offset <= info.offset:
                raise BrokenArchiveError("a member of negative size")
            yield _of_tar(info)
        if self._bytes.last.strip(b"\0") or len(self._bytes.last) < tarfile.BLOCKSIZE:
            raise BrokenArchiveError("it ends without an end mark: cut off, or damaged in the middle")
        while self._bytes.read(CHUNK):  # gzip and xz have their checksum at the end
            pass

    def open_member(self, member: Member) -> IO[bytes]:
        """The bytes of the current member."""
        return self.extractfile(member.info)  # type: ignore[return-value]


class Zip(zipfile.ZipFile):
    """A zip, read as a `Tar` is."""

    def each(self) -> Iterator[Member]:
        """Every member."""
        for info in self.infolist():
            name, reason = checked_name(info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: Unix
            if not reason and kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                reason = "a symbolic link" if kind == stat.S_IFLNK else "a device, pipe or socket"
            is_folder = info.orig_filename.endswith(("/", "\\"))
            if not reason and not is_folder:
                reason = "encrypted" if info.flag_bits & 1 else "" if name else "no name"
            yield Member(name, info.file_size, reason, is_folder, 0, info)

    def open_member(self, member: Member) -> IO[bytes]:
        """The bytes of a member."""
        return self.open(member.info)


def _of_tar(info: tarfile.TarInfo) -> Member:
    name, reason = checked_name(info.name)
    if not reason and not info.isdir():
        if not name:
            reason = "no name"
        elif not info.isreg():
            reason = _KINDS.get(info.type, f"of the unknown type {info.type!r}")
        elif info.issparse():
            reason = "a sparse file"
    return Member(name, info.size, reason, info.isdir(), info.offset_data, info)


@contextmanager
def open_tar(path: Path) -> Iterator[Tar]:
    """A tar; its first bytes say how it is compressed. Raises BrokenArchiveError for a compression that is not read."""
    with path.open("rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        if head.startswith(_ZSTANDARD):
            raise BrokenArchiveError("is packed by zstd, which is not read here; unpack it (zstd -d)")
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        with opener(raw) if opener else nullcontext(raw) as file:
            yield Tar(file, packed=opener is not None)


def accepted(
    members: Iterable[Member], archive: Path, rejects: Rejects, clash: Callable[[Member], str]
) -> Iterator[Member]:
    """The files that may be taken; all others are added to `rejects`. `clash` says why one cannot be ('' if it can)."""
    for member in members:
        if reason := member.reason or ("" if member.folder else clash(member)):
            rejects.add(printable(member.name), reason, archive)
        elif not member.folder:
            yield member


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its first bytes."""
    with path.open("rb") as raw:
        return raw.read(2) == b"PK"


def is_bomb(size: int, packed: int) -> bool:
    """Whether `packed` bytes that unpack to `size` bytes are a trap: neither speech nor text compresses so well."""
    return size > max(SMALL, RATIO * packed)


@contextmanager
def explain_errors(archive: Path) -> Iterator[None]:
    """Turn what goes wrong with an archive into a UserError that names the file and the fix."""
    try:
        yield
    except BROKEN as error:
        raise UserError(
            f"{archive}: cannot be used: {error_text(error)}. Replace it with a whole copy. If a run fetched it, "
            f"delete {archive.resolve()} and run again, and it is fetched again; an md5 under "
            f"downloads.files.{archive.name} detects a bad file before it is used"
        ) from None
    except OSError as error:
        if error.errno in DISK_FULL:
            raise UserError(
                f"{archive}: the disk is full while it is unpacked; nothing is left of that; free some room"
            ) from None
        fix = "name one that is there" if error.errno == errno.ENOENT else "it cannot be read"
        raise UserError(f"{error.filename or archive}: {error.strerror or error}; {fix}") from None


@contextmanager
def name_if_cut(member: Member) -> Iterator[None]:
    """Name the member whose bytes end early."""
    try:
        yield
    except (EOFError, tarfile.ReadError):
        raise BrokenArchiveError(f"cut off in {printable(member.name)}") from None


def error_text(error: Exception) -> str:
    """What a library says about a broken archive, without a full stop; its class if it says nothing."""
    return str(error).strip().rstrip(".") or type(error).__name__


def rejects_summary(rejects: Rejects, where: object = None) -> str:
    """The members that were left out, as the end of a line; '' if there are none."""
    if not (rows := rejects.rows):
        return ""
    more, see = ", ..." if len(rows) > 1 else "", f", see {where}" if where else ""
    return f"; {len(rows)} left out ({rows[0]['id']}: {rows[0]['reason']}{more}){see}"
