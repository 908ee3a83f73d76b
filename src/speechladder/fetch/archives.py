"""Archives: unpacked safely, or read where they lie.

Nothing in an archive is trusted: a member is written (or read) only when it is an ordinary file below the folder; any
other one is listed with its reason.
"""

import zipfile
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from speechladder.fetch.download import link
from speechladder.fetch.members import (
    BOMB,
    CHUNK,
    BrokenArchiveError,
    Member,
    Seen,
    absurd,
    broken,
    checked_name,
    explained,
    is_zip,
    opened,
    row,
    shown,
    summary,
    zip_members,
)
from speechladder.fetch.partial import lock
from speechladder.fetch.transfer import check_disk
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, files_below, read_json, read_jsonl, write_json, write_jsonl
from speechladder.io.progress import progress, say
from speechladder.io.tables import INDEX, write_table

VERSION = 1  # of what unpacking gives; a folder of another one is not used again


def unpack(archive: str | Path, out: str | Path, rejected: str | Path) -> None:
    """Unpack a .tar (also .gz, .bz2, .xz) or .zip into the folder `out`, whole or not at all.

    Links, devices, encrypted or duplicate members, and what would leave the folder, are not written but listed in
    `rejected` (JSON lines: id, reason, source). Files are written with ordinary permissions, whatever the archive says.
    Raises UserError where the archive is broken or cut off, unpacks to an absurd size, or the disk has no room.
    """
    archive, out = Path(archive), Path(out)
    zipped = is_zip(archive)
    with explained(archive):
        check_disk(out.parent, archive.stat().st_size, f"unpacking {archive.name}")
        with atomic_folder(out) as folder:
            writer = _Writer(folder, archive)
            (_unzip if zipped else _untar)(archive, writer)
            if not writer.files:
                raise BrokenArchiveError("it holds no file that could be unpacked" + summary(writer.rejects))
            write_jsonl(rejected, writer.rejects)
    say(f"{archive.name}: {writer.files} files, {writer.size / 1e9:.2f} GB" + summary(writer.rejects, rejected))


def unpack_once(archive: str | Path, kept: str | Path, out: str | Path, rejected: str | Path) -> None:
    """Unpack an archive into the folder `kept`, unless it is there already, and make `out` a link to it.

    Two processes may be sent for it: the second waits for the first.
    """
    archive, kept = Path(archive), Path(kept)
    note, list_of_rejects = (kept.with_name(f".{kept.name}.{end}") for end in ("json", "rejected.jsonl"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    with explained(archive):
        at = archive.stat()
    state = {"version": VERSION, "bytes": at.st_size, "mtime_ns": at.st_mtime_ns}
    with kept.with_name(f".{kept.name}.lock").open("a") as handle:
        lock(handle, f"{archive.name}: another process is unpacking it into {kept}; waiting for that")
        if kept.is_dir() and note.is_file() and list_of_rejects.is_file() and read_json(note) == state:
            say(f"{kept}: is unpacked already")
        else:
            note.unlink(missing_ok=True)
            unpack(archive, kept, list_of_rejects)
            write_json(note, state)
        write_jsonl(rejected, read_jsonl(list_of_rejects))
        link(kept, Path(out))


def index_tar(archive: str | Path) -> tuple[pa.Table, list[dict[str, str]]]:
    """Where the files of an uncompressed tar lie: a table (io.tables.INDEX), and the members that are left out.

    Only headers are read. Of a tar that is cut off, what is whole is in the table, and the end is one of the rejects.
    Raises UserError for what is no uncompressed tar.
    """
    archive = Path(archive)
    names: list[str] = []
    places = array("q"), array("q")
    taken: set[str] = set()
    rejects: list[dict[str, str]] = []
    with explained(archive), opened(archive) as tar:
        if tar.packed:
            raise UserError(
                f"{archive}: is compressed, so it cannot be read in place; call it {archive.name}.gz (or .bz2, .xz), "
                "under downloads.files too, and it is unpacked"
            )
        total = archive.stat().st_size
        with progress(f"index {archive.name}", total, "MB/s", 1e-6) as meter:
            try:
                for member in tar.members():
                    reason = member.reason or ("duplicate name, the first is kept" if member.name in taken else "")
                    if not reason and member.offset + member.size > total:
                        reason = "cut off"
                    if reason:
                        rejects.append(row(member.name, reason, archive))
                    elif not member.folder:
                        taken.add(member.name)
                        names.append(member.name)
                        places[0].append(member.offset)
                        places[1].append(member.size)
                    meter.advance(member.offset + member.size - meter.done)
            except BrokenArchiveError as error:
                if not names:
                    raise
                rejects.append(row("(the end of the archive)", f"{error}", archive))
    columns = [pa.array(names, pa.string()), *(pa.array(place, pa.int64()) for place in places)]
    return pa.Table.from_arrays(columns, schema=INDEX), rejects


def write_index(archive: str | Path, out: str | Path, rejected: str | Path) -> None:
    """Write `index_tar` as a table, and its rejects as JSON lines."""
    table, rejects = index_tar(archive)
    write_table(out, table, INDEX)
    write_jsonl(rejected, rejects)
    say(f"{Path(archive).name}: {table.num_rows} files" + summary(rejects, rejected))


class Store:
    """Named files in a folder, a zip or a tar; `rejects` are the members that are not among them."""

    def __init__(self, path: Path, places: dict[str, Any], rejects: list[dict[str, str]], read: Callable, close: Any):
        self.path, self.rejects = path, rejects
        self._places, self._read, self.close = places, read, close

    def names(self) -> list[str]:
        """Their paths below the folder or in the archive, with /, sorted."""
        return sorted(self._places)

    def read(self, name: str) -> bytes:
        """The whole content of one; raises UserError where it cannot be read, KeyError where there is no such name."""
        place = self._places[name]
        try:
            with broken():
                return self._read(place)
        except (BrokenArchiveError, OSError, RuntimeError, NotImplementedError) as error:
            raise UserError(f"{self.path}: {shown(name)} cannot be read ({error})") from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_store(path: str | Path) -> Store:
    """The files of a folder, a .zip or an uncompressed .tar, by name; links within a folder are followed.

    Raises UserError for anything else.
    """
    path = Path(path)
    if path.is_dir():
        files = (file for file in files_below(path) if not checked_name(file.name)[1])
        places = {file.relative_to(path).as_posix(): file for file in files}
        return Store(path, places, [], Path.read_bytes, lambda: None)
    if is_zip(path):
        with explained(path):
            archive = zipfile.ZipFile(path)
        taken, rejects = {}, []
        for member in zip_members(archive):
            reason = member.reason or ("duplicate name, the first is kept" if member.name in taken else "")
            reason = reason or ("an absurd size" if absurd(member.size, member.info.compress_size) else "")
            if reason:
                rejects.append(row(member.name, reason, path))
            elif not member.folder:
                taken[member.name] = member.info
        return Store(path, taken, rejects, archive.read, archive.close)
    table, rejects = index_tar(path)
    handle = path.open("rb")

    def read(place: tuple[int, int]) -> bytes:
        handle.seek(place[0])
        if len(data := handle.read(place[1])) < place[1]:
            raise BrokenArchiveError("cut off")
        return data

    names, offsets, sizes = (table[name].to_pylist() for name in INDEX.names)
    return Store(path, dict(zip(names, zip(offsets, sizes))), rejects, read, handle.close)


class _Writer:
    """Writes members below a folder and lists those that it does not."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.folder, self._archive, self._seen = folder, archive, Seen()
        self._packed = archive.stat().st_size
        self.files = self.size = 0
        self.rejects: list[dict[str, str]] = []

    def reject(self, member: Member, reason: str) -> None:
        self.rejects.append(row(member.name, reason, self._archive))

    def write(self, member: Member, content: Iterator[bytes]) -> None:
        """Write a member, or list why not."""
        if reason := member.reason:
            self.reject(member, reason)
        elif member.folder or not member.name:
            return  # folders come with their files
        elif reason := self._seen.clash(member.name):
            self.reject(member, reason)
        else:
            self.size += member.size
            if absurd(self.size, self._packed):
                raise BrokenArchiveError(BOMB)
            path = self.folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for data in content:
                    file.write(data)
            self.files += 1


def _untar(archive: Path, writer: _Writer) -> None:
    with opened(archive) as tar, progress(f"unpack {archive.name}", None, "MB/s", 1e-6) as meter:
        for member in tar.members():
            before = writer.size
            writer.write(member, tar.content(member))
            meter.advance(writer.size - before)


def _unzip(archive: Path, writer: _Writer) -> None:
    with broken(), zipfile.ZipFile(archive) as zipped:
        members = list(zip_members(zipped))
        total = sum(member.size for member in members)
        if absurd(total, archive.stat().st_size):
            raise BrokenArchiveError(BOMB)
        check_disk(writer.folder, total, f"unpacking {archive.name}")
        with progress(f"unpack {archive.name}", total, "MB/s", 1e-6) as meter:
            for member in members:
                try:
                    writer.write(member, _content(zipped, member))
                except NotImplementedError as error:
                    raise BrokenArchiveError(f"{shown(member.name)}: {error}") from None
                meter.advance(member.size)


def _content(zipped: zipfile.ZipFile, member: Member) -> Iterator[bytes]:
    with broken(), zipped.open(member.info) as file:
        while data := file.read(CHUNK):
            yield data
