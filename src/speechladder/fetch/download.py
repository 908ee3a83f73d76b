"""Files that are fetched once, resumed at any byte, checked, and kept.

A file stands under its name only when it is whole and what the configuration says; until then it is FOLDER/.NAME.part
(see io.partial). Two processes may be sent for the same file: the second waits, and finds it there.
"""

import os
import re
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from speechladder.fetch.partial import (
    FULL,
    Digests,
    Part,
    asked,
    hold,
    misfit,
    record,
    safe_url,
    size_text,
    whole,
)
from speechladder.fetch.transfer import AddressError, LineError, check_disk, transfer
from speechladder.io.errors import UserError
from speechladder.io.progress import say
from speechladder.settings import Download, Downloads

LONGEST_PAUSE = 60.0  # seconds between two tries, unless the server asks for more
SCHEMES = ("http", "https", "file")
UNPACKED = re.compile(r"\.(tar\.(gz|bz2|xz)|tgz|tbz2|txz)$")  # of a compressed tar, which is unpacked beside itself


def fetch(name: str, wanted: Download, downloads: Downloads) -> Path:
    """Bring the file `name` into downloads.folder, from the first of its urls that gives it; returns its path.

    What is there already is held against `wanted` (size and checksums, from the record of an earlier check or by
    reading it once) and kept. A file on this machine (file:// or a path) is checked and linked to, never copied.
    Raises UserError with what each url said, what was expected and what to do; what has arrived is kept.
    """
    folder = folder_of(downloads)
    with hold(folder, name) as part:
        try:
            if _is_there(part, wanted):
                return part.final
            if (refused := part.origin.get("refused")) and not misfit(refused, wanted):
                say(f"{name}: the file that was refused before is the right one now")
                part.finish(refused, wanted)
                return part.final
            problems = _from_any(part, wanted, downloads)
        except OSError as error:
            full = "the disk is full" if error.errno in FULL else error.strerror
            raise UserError(f"{part.final}: cannot be written ({full}); the same command goes on from there") from None
        if not problems:
            return part.final
        raise UserError(_explained(part, wanted, problems))


def folder_of(downloads: Downloads) -> Path:
    """Where downloads are kept."""
    return Path(downloads.folder).expanduser()


def check_room(names: list[str], downloads: Downloads) -> None:
    """Raise UserError unless the disk has room for what is still to come of these files, as far as their size is known.

    Files of this machine are linked to and need none; compressed tars, which will be unpacked, count twice.
    """
    needed, folder = {}, folder_of(downloads)
    for name in names:
        wanted = downloads.files[name]
        if wanted.bytes and not any(path.is_file() for path in map(local, wanted.urls) if path):
            part = folder / f".{name}.part"
            left = max(0, wanted.bytes - (part.stat().st_size if part.is_file() else 0))
            needed[name] = left + (wanted.bytes if UNPACKED.search(name) else 0)
    if needed:
        check_disk(folder, sum(needed.values()), ", ".join(f"{n} ({size_text(s)})" for n, s in needed.items()))


def local(url: str) -> Path | None:
    """The path that a url of this machine names (file:///x, or a path); None where it is one of a server."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(parts.netloc.removeprefix("localhost") + url2pathname(parts.path))
    return Path(url).expanduser() if "://" not in url else None


def link(target: Path, path: Path) -> None:
    """Make `path` a symbolic link to `target`, in place of what was there; relative where `target` is relative."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to = target if target.is_absolute() else os.path.relpath(target.absolute(), path.parent.resolve())
    temporary = path.with_name(f".tmp-link-{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(to)
    temporary.replace(path)


def _is_there(part: Part, wanted: Download) -> bool:
    """Whether the whole file has its name already; one that is not the wanted one is taken out of the way.

    Raises UserError for a file that somebody else put there and that does not fit.
    """
    if not part.final.exists():
        part.final.unlink(missing_ok=True)  # a link to nowhere
        return False
    found = whole(part.final)
    if found is None or not asked(wanted).keys() <= found.keys():
        origin, found = found or {}, _measured(part.final, wanted)
        if not misfit(found, wanted):
            kept = {name: origin[name] for name in ("url", "etag", "last_modified") if name in origin}
            record(part.final, part.final, found, wanted, kept)
    else:
        origin = found
    if not (problem := misfit(found, wanted)):
        say(f"{part.final}: is there, {size_text(found['bytes'])}" + (", as expected" if asked(wanted) else ""))
        return True
    say(f"{part.final}: is there, but {problem}; fetching it anew")
    if part.final.is_symlink():
        part.final.unlink()
    elif "url" in origin:
        part.take_back(origin)
    else:
        raise UserError(
            f"{part.final}: is there, but {problem} (downloads.files.{part.final.name}); move it away to have it "
            "fetched, or correct the configuration"
        )
    return False


def _measured(path: Path, wanted: Download) -> dict[str, object]:
    """Size and, where a checksum is asked for and the size fits, digests of a file."""
    size = {"bytes": path.stat().st_size}
    if misfit(size, wanted) or not (wanted.md5 or wanted.sha256):
        return size
    digests = Digests()
    digests.catch_up(path, size["bytes"])
    return digests.values()


def _from_any(part: Part, wanted: Download, downloads: Downloads) -> list[tuple[str, str]]:
    """Try every url in turn; returns what was wrong with each, or nothing when the file is in place."""
    problems, urls = [], list(wanted.urls)
    tried: set[str] = set()
    while urls:
        url = urls.pop(0)
        try:
            path = local(url)
            problem = (
                _linked(path, part, wanted)
                if path is not None
                else _from_server(url, part, wanted, downloads, url in tried)
            )
            if not problem:
                return []
            if path is None and len(wanted.urls) == 1 and url not in tried:
                say(f"{part.final.name}: {problem}; once more from the beginning")
                urls.append(url)
        except AddressError as error:
            problem = str(error)
        tried.add(url)
        problems.append((safe_url(url), problem))
        if urls and urls[0] not in tried:
            say(f"{part.final.name}: {safe_url(url)}: {problem}; trying {safe_url(urls[0])}")
    return problems


def _linked(path: Path, part: Part, wanted: Download) -> str:
    """Link to a file of this machine; returns what is wrong with it."""
    if not path.is_file():
        raise AddressError("no such file")
    found = _measured(path, wanted)
    if problem := misfit(found, wanted):
        return problem
    record(part.final, path, found, wanted, {"url": str(path.absolute())})
    link(path.absolute(), part.final)
    say(f"{part.final}: a link to {path.absolute()}, which is checked but not copied")
    return ""


def _from_server(url: str, part: Part, wanted: Download, downloads: Downloads, again: bool) -> str:
    """Fetch from one url, however often the connection is cut; returns what is wrong with the file that came."""
    fruitless, most, name = 0, part.size, part.final.name
    while True:
        try:
            transfer(url, part, wanted, again)
            break
        except LineError as error:
            fruitless = 0 if part.size > most else fruitless + 1
            most = max(most, part.size)
            if fruitless > downloads.retries:
                tries = "one try" if fruitless == 1 else f"{fruitless} tries"
                raise AddressError(f"{error}; given up after {tries} that brought nothing new") from None
            pause = max(error.wait, min(LONGEST_PAUSE, downloads.backoff * 2 ** max(0, fruitless - 1)))
            say(f"{name}: {safe_url(url)}: {error}; {size_text(part.size)} are here; again in {pause:g} s")
            time.sleep(pause)
    found = part.found()
    if problem := misfit(found, wanted):
        part.refuse(found)
        return problem
    part.finish(found, wanted)
    say(f"{part.final}: fetched, {size_text(found['bytes'])}, md5 {found['md5']}")
    return ""


def _explained(part: Part, wanted: Download, problems: list[tuple[str, str]]) -> str:
    """What every url said, and what to do."""
    name = part.final.name
    lines = [f"{part.final}: could not be fetched:", *(f"  {url}: {problem}" for url, problem in problems)]
    if refused := part.origin.get("refused"):
        lines.append(
            f"{part.path} is that file, {refused['bytes']} bytes, md5 {refused['md5']}, sha256 {refused['sha256']}, "
            f"expected {', '.join(f'{k} {v}' for k, v in asked(wanted).items())}. If it is the right one, correct "
            f"downloads.files.{name}: it will not be fetched again. Else name another url, or delete it to try again."
        )
    else:
        lines.append(f"Name another url under downloads.files.{name}, or put the file where one of them points.")
        if part.size:
            lines.append(f"The {size_text(part.size)} that have arrived are kept; the same command goes on after them.")
    return "\n".join(lines)
