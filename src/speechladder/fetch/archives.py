"""Archives: unpacked safely, or read in place.

An archive is not trusted: only an ordinary file below the folder is written or read. Every other member is listed with
its reason.
"""

import os
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from speechladder.fetch.disk import check_disk
from speechladder.fetch.download import downloads_folder, link
from speechladder.fetch.members import (
    BOMB,
    BROKEN,
    CHUNK,
    DUPLICATE,
    BrokenArchiveError,
    Member,
    TakenNames,
    Zip,
    accepted,
    checked_name,
    error_text,
    explain_errors,
    is_bomb,
    is_zip,
    name_if_cut,
    open_tar,
    printable,
    rejects_summary,
)
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, files_below, read_json, read_jsonl, write_json, write_jsonl
from speechladder.io.locks import wait_for_lock
from speechladder.io.progress import progress, say, size_text
from speechladder.io.rejects import Rejects
from speechladder.io.tables import INDEX, write_table
from speechladder.settings import Downloads, version
from speechladder.settings.options import DOWNLOADS


def unpack_archive(archive: Path, out: Path, rejected: Path, kept: Path | None = None) -> None:
    """Unpack a tar or zip, whole or not at all. Members that must not be written are listed.

    With --kept, or downloads.folder in $SPEECHLADDER_DOWNLOADS, the archive is unpacked there, once, and --out becomes
    a link to it.

    Args:
        archive: .tar, .tar.gz, .tar.bz2, .tar.xz or .zip
        out: the folder
        rejected: JSON lines of the members that are left out, with reasons
        kept: the folder that keeps the files, to which --out will be a link
    """
    if kept is None and DOWNLOADS in os.environ:
        downloads = Downloads.model_validate_json(os.environ[DOWNLOADS])
        kept = downloads_folder(downloads) / "unpacked" / out.name
    if kept is None:
        unpack(archive, out, rejected)
    else:
        unpack_once(archive, kept, out, rejected)


def unpack(archive: str | Path, out: str | Path, rejected: str | Path) -> None:
    """Unpack a .tar (also .gz, .bz2, .xz) or .zip into the folder `out`, whole or not at all.

    Links, devices, encrypted or duplicate members, and members outside the folder, are not written but listed in
    `rejected` (JSON lines: id, reason, source). Files get ordinary permissions, whatever the archive says. Raises
    UserError if the archive is broken or cut off, unpacks to an implausible size, or the disk has no room.
    """
    archive, out = Path(archive), Path(out)
    with explain_errors(archive), Zip(archive) if is_zip(archive) else open_tar(archive) as source:
        packed = archive.stat().st_size
        total = sum(m.size for m in source.each()) if isinstance(source, Zip) else None  # of a tar it is not known
        if not is_bomb(total or 0, packed):
            check_disk(out.parent, total or packed, f"unpacking {archive.name}")
        taken, rejects, files, size = TakenNames(), Rejects(), 0, 0
        with atomic_folder(out) as folder, progress(f"unpack {archive.name}", total, "MB/s", 1e-6) as meter:
            for member in accepted(source.each(), archive, rejects, lambda member: taken.add(member.name)):
                files, size = files + 1, size + member.size
                if is_bomb(size, packed):
                    raise BrokenArchiveError(BOMB)
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with name_if_cut(member), source.open_member(member) as content, path.open("xb") as file:
                    shutil.copyfileobj(content, file, CHUNK)
                meter.advance(member.size)
            if not files:
                raise BrokenArchiveError("it holds no file that could be unpacked" + rejects_summary(rejects))
            write_jsonl(rejected, rejects.rows)
    say(f"{archive.name}: {files} files, {size_text(size)}" + rejects_summary(rejects, rejected))


def unpack_once(archive: str | Path, kept: str | Path, out: str | Path, rejected: str | Path) -> None:
    """Unpack an archive into the folder `kept`, unless that is done already, and make `out` a link to it.

    If two processes want it, the second waits for the first.
    """
    archive, kept = Path(archive), Path(kept)
    note, list_of_rejects = (kept.with_name(f".{kept.name}.{end}") for end in ("json", "rejected.jsonl"))
    kept.parent.mkdir(parents=True, exist_ok=True)
    with explain_errors(archive):
        at = archive.stat()
    state = {"version": version("unpack_archive"), "bytes": at.st_size, "mtime_ns": at.st_mtime_ns}
    with kept.with_name(f".{kept.name}.lock").open("a") as handle:
        wait_for_lock(handle, f"{archive.name}: another process is unpacking it into {kept}; waiting for that")
        if kept.is_dir() and note.is_file() and list_of_rejects.is_file() and read_json(note) == state:
            say(f"{kept}: is unpacked already")
        else:
            note.unlink(missing_ok=True)
            unpack(archive, kept, list_of_rejects)
            write_json(note, state)
        write_jsonl(rejected, read_jsonl(list_of_rejects))
        link(kept, Path(out))


def index_tar(archive: str | Path) -> tuple[pa.Table, Rejects]:
    """(a table of where the files of an uncompressed tar lie (io.tables.INDEX), the members that are left out).

    Only headers are read. If the tar is cut off, its whole files are in the table, and its end is among the rejects.
    Raises UserError if the file is no uncompressed tar.
    """
    archive = Path(archive)
    names, offsets, sizes = [], array("q"), array("q")
    taken: set[str] = set()
    rejects = Rejects()

    with explain_errors(archive), open_tar(archive) as tar:
        if tar.packed:
            raise UserError(
                f"{archive}: is compressed, so it cannot be read in place; call it {archive.name}.gz (or .bz2, .xz), "
                "under downloads.files too, and it is unpacked"
            )
        total = archive.stat().st_size

        def clash(member: Member) -> str:
            cut = "cut off" if member.offset + member.size > total else ""
            return DUPLICATE if member.name in taken else cut

        with progress(f"index {archive.name}", total, "MB/s", 1e-6) as meter:
            try:
                for member in accepted(tar.each(), archive, rejects, clash):
                    taken.add(member.name)
                    names.append(member.name)
                    offsets.append(member.offset)
                    sizes.append(member.size)
                    meter.advance(member.offset + member.size - meter.done)
            except BROKEN as error:
                if not names:
                    raise
                rejects.add("(the end of the archive)", error_text(error), archive)
    columns = [pa.array(names, pa.string()), pa.array(offsets, pa.int64()), pa.array(sizes, pa.int64())]
    return pa.Table.from_arrays(columns, schema=INDEX), rejects


def index_archive(archive: Path, out: Path, rejected: Path) -> None:
    """Find where the files of an uncompressed tar lie, so that each can be read without unpacking any.

    Args:
        archive: the tar
        out: a table: member, offset, size (bytes)
        rejected: JSON lines of the members that are left out, with reasons
    """
    table, rejects = index_tar(archive)
    write_table(out, table, INDEX)
    write_jsonl(rejected, rejects.rows)
    say(f"{archive.name}: {table.num_rows} files" + rejects_summary(rejects, rejected))


class Store:
    """Named files in a folder, a zip or a tar; `rejects` lists the members that are not among them."""

    def __init__(self, path: Path, places: dict[str, Any], rejects: Rejects, read: Callable, close: Any):
        self.path, self.rejects = path, rejects
        self._places, self._read, self.close = places, read, close

    def names(self) -> list[str]:
        """The paths of the files below the folder or in the archive, with /, sorted."""
        return sorted(self._places)

    def read(self, name: str) -> bytes:
        """The whole content of a file. Raises UserError if it cannot be read, KeyError if there is no such name."""
        place = self._places[name]
        try:
            return self._read(place)
        except (*BROKEN, OSError, RuntimeError) as error:
            problem = error_text(error)
            raise UserError(f"{self.path}: {printable(name)} cannot be read ({problem}); replace the file") from None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_store(path: str | Path) -> Store:
    """The files of a folder, a .zip or an uncompressed .tar, by name; links within a folder are followed.

    Hidden files are left alone.
    Raises UserError for anything else.
    """
    path = Path(path)
    if path.is_dir():
        places, rejects = {}, Rejects()
        for file in files_below(path):
            name, reason = checked_name(file.relative_to(path).as_posix())
            if reason:
                rejects.add(printable(name), reason, path)
            else:
                places[name] = file
        return Store(path, places, rejects, Path.read_bytes, lambda: None)
    with explain_errors(path):
        return _zip_store(path) if is_zip(path) else _tar_store(path)


def _zip_store(path: Path) -> Store:
    archive = Zip(path)
    taken: dict[str, Any] = {}
    rejects = Rejects()

    def clash(member: Member) -> str:
        bomb = "an implausible size" if is_bomb(member.size, member.info.compress_size) else ""
        return DUPLICATE if member.name in taken else bomb

    for member in accepted(archive.each(), path, rejects, clash):
        taken[member.name] = member.info
    return Store(path, taken, rejects, archive.read, archive.close)


def _tar_store(path: Path) -> Store:
    table, rejects = index_tar(path)
    handle = path.open("rb")

    def read(place: tuple[int, int]) -> bytes:
        handle.seek(place[0])
        if len(data := handle.read(place[1])) < place[1]:
            raise BrokenArchiveError("cut off")
        return data

    names, offsets, sizes = (table[name].to_pylist() for name in INDEX.names)
    return Store(path, dict(zip(names, zip(offsets, sizes))), rejects, read, handle.close)
