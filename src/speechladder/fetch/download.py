"""Downloads: each file is fetched once, resumed at any byte, checked, and kept.

A file has its name only when it is whole and passes the configured checks; until then it is FOLDER/.NAME.part (see
fetch.partial). If two processes want the same file, the second waits and then finds it.
"""

import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from speechladder.fetch.checksums import (
    checksum_mismatch,
    expected_checks,
    has_digest,
    measure,
    read_record,
    write_record,
)
from speechladder.fetch.disk import check_disk
from speechladder.fetch.partial import ORIGIN, Part, open_part
from speechladder.fetch.transfer import PermanentError, RetryableError, safe_url, transfer
from speechladder.io.errors import UserError
from speechladder.io.progress import say, size_text
from speechladder.settings import Download, Downloads, load
from speechladder.settings.options import DOWNLOADS

LONGEST_PAUSE = 60.0  # seconds between two tries, unless the server asks for more
SCHEMES = ("http", "https", "file")
UNPACKED = re.compile(r"\.(tar\.(gz|bz2|xz)|tgz|tbz2|txz)$")  # compressed tars, which are unpacked beside themselves


def download(
    out: Path,
    name: str | None = None,
    url: Sequence[str] = (),
    md5: str | None = None,
    sha256: str | None = None,
    bytes: int | None = None,
) -> None:
    """Fetch one file: resume a partial download, verify it, and rename it when it is complete.

    The file and its addresses are given by options, or, in the workflow, by the section `downloads` in
    $SPEECHLADDER_DOWNLOADS; then the file is kept in downloads.folder, and --out becomes a link to it.

    Args:
        out: where the file is wanted
        name: name of the file under downloads.files (default: that of --out)
        url: where the file is: http(s)://, file:// or a path; several are tried in turn
        md5: its MD5
        sha256: its SHA-256
        bytes: its size
    """
    name = name or out.name
    if url:
        files = {name: {"urls": list(url), "md5": md5, "sha256": sha256, "bytes": bytes}}
        downloads = load({"downloads": {"folder": str(out.parent), "files": files}}, "the options").downloads
    elif DOWNLOADS in os.environ:
        downloads = load({"downloads": json.loads(os.environ[DOWNLOADS])}, f"${DOWNLOADS}").downloads
    else:
        raise UserError("--url: is missing; say where the file is")
    if name not in downloads.files:
        there = ", ".join(downloads.files) or "none"
        raise UserError(f"--name: {name!r} is not under downloads.files; there are {there}; correct the name")
    path = fetch(name, downloads.files[name], downloads)
    if path.absolute() != out.absolute():
        link(path, out)


def fetch(name: str, wanted: Download, downloads: Downloads) -> Path:
    """Bring the file `name` into downloads.folder, from the first of its urls that gives it, and return its path.

    A file that is there already is checked (by the record of an earlier check, or by reading it once) and kept. A file
    on this machine (file:// or a path) is checked and linked to, never copied. Raises UserError with what each url
    answered, what was expected and what to do; the bytes that have arrived are kept.
    """
    with open_part(downloads_folder(downloads), name) as part:
        if _is_there(part, wanted) or _is_in_part(part, wanted):
            return part.final
        if problems := _try_urls(part, wanted, downloads):
            raise UserError(_explanation(part, wanted, problems))
    return part.final


def downloads_folder(downloads: Downloads) -> Path:
    """The folder where downloads are kept."""
    return Path(downloads.folder).expanduser()


def check_room(names: list[str], downloads: Downloads) -> None:
    """Raise UserError unless the disk has room for what is missing of these files, as far as their sizes are known.

    Files of this machine are linked to and need no room. Compressed tars will be unpacked, so they count twice.
    """
    needed, folder = {}, downloads_folder(downloads)
    for name in names:
        wanted = downloads.files[name]
        if wanted.bytes and not any(path.is_file() for path in map(local_path, wanted.urls) if path):
            part = folder / f".{name}.part"
            left = max(0, wanted.bytes - (part.stat().st_size if part.is_file() else 0))
            needed[name] = left + (wanted.bytes if UNPACKED.search(name) else 0)
    if needed:
        check_disk(folder, sum(needed.values()), ", ".join(f"{n} ({size_text(s)})" for n, s in needed.items()))


def local_path(url: str) -> Path | None:
    """The path of a url of this machine (file:///x, or a path); None for the url of a server."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(parts.netloc.removeprefix("localhost") + url2pathname(parts.path))
    return Path(url).expanduser() if "://" not in url else None


def link(target: Path, path: Path) -> None:
    """Make `path` a symbolic link to `target`, relative if `target` is relative; what was at `path` is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to = target if target.is_absolute() else os.path.relpath(target.absolute(), path.parent.resolve())
    temporary = path.with_name(f".tmp-link-{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(to)
    temporary.replace(path)


def _is_there(part: Part, wanted: Download) -> bool:
    """Whether the right file has its name already. A wrong one that was downloaded becomes the rejected part.

    Raises UserError for a wrong file that was not downloaded: the user's own file is never removed.
    """
    final = part.final
    if not final.exists():
        final.unlink(missing_ok=True)  # a link to a file that is gone
        return False
    record = read_record(final) or {}
    known = bool(record) and expected_checks(wanted).keys() <= record.keys()
    found = record if known else measure(final, wanted)
    problem = checksum_mismatch(found, wanted)
    if not problem:
        if not known:
            write_record(final, final, found, wanted, {name: record[name] for name in ORIGIN if name in record})
        checked = ", as expected" if expected_checks(wanted) else ""
        say(f"{final}: is there, {size_text(found['bytes'])}{checked}")
        return True
    if not final.is_symlink() and "url" not in record:
        raise UserError(
            f"{final}: is there, but {problem} (downloads.files.{final.name}); move it away to have it fetched, or "
            "correct the configuration"
        )
    say(f"{final}: is there, but {problem}; fetching it again")
    if final.is_symlink():
        final.unlink()
    else:
        part.take_final(record | found)
    return False


def _is_in_part(part: Part, wanted: Download) -> bool:
    """Whether the part is the right file, whole: its checksum was corrected, or a kill came before it got its name."""
    from_here = part.origin.get("url") in map(safe_url, wanted.urls)
    if part.rejected or not part.complete or not (from_here or has_digest(wanted)):
        return False
    return not _finish(part, wanted)


def _finish(part: Part, wanted: Download) -> str:
    """Check the whole part and give it its name; or mark it as rejected, and return what is wrong with it."""
    found = part.measure()
    if problem := checksum_mismatch(found, wanted):
        part.rejected = found
        return problem
    part.finish(found, wanted)
    say(f"{part.final}: fetched, {size_text(found['bytes'])}, md5 {found['md5']}")
    return ""


def _try_urls(part: Part, wanted: Download, downloads: Downloads) -> list[tuple[str, str]]:
    """Try the urls in turn. Returns (url, what was wrong) of each, or nothing when the file is in place."""
    problems, name = [], part.final.name
    for number, url in enumerate(wanted.urls, 1):
        try:
            path = local_path(url)
            problem = _link_to(path, part, wanted) if path else _from_server(url, part, wanted, downloads)
            if problem and not path and len(wanted.urls) == 1:
                say(f"{name}: {problem}; once more from the beginning")
                part.begin({})
                problem = _from_server(url, part, wanted, downloads)
        except PermanentError as error:
            problem = str(error)
        if not problem:
            return []
        problems.append((safe_url(url), problem))
        if number < len(wanted.urls):
            say(f"{name}: {safe_url(url)}: {problem}; trying {safe_url(wanted.urls[number])}")
    return problems


def _link_to(path: Path, part: Part, wanted: Download) -> str:
    """Link to a file of this machine; returns what is wrong with the file."""
    if not path.is_file():
        raise PermanentError("no such file")
    found = measure(path, wanted)
    if problem := checksum_mismatch(found, wanted):
        return problem
    write_record(part.final, path, found, wanted, {"url": str(path.absolute())})
    link(path.absolute(), part.final)
    say(f"{part.final}: a link to {path.absolute()}, which is checked but not copied")
    return ""


def _from_server(url: str, part: Part, wanted: Download, downloads: Downloads) -> str:
    """Fetch from one url, and resume whenever the connection is cut; returns what is wrong with the whole file."""
    fruitless, most, name = 0, part.size, part.final.name
    while True:
        try:
            transfer(url, part, wanted)
            return _finish(part, wanted)
        except RetryableError as error:
            fruitless = 0 if part.size > most else fruitless + 1
            most = max(most, part.size)
            if fruitless > downloads.retries:
                tries = "one try" if fruitless == 1 else f"{fruitless} tries"
                raise PermanentError(f"{error}; given up after {tries} that brought nothing new") from None
            pause = max(error.wait, min(LONGEST_PAUSE, downloads.backoff * 2 ** max(0, fruitless - 1)))
            say(f"{name}: {safe_url(url)}: {error}; {size_text(part.size)} are here; again in {pause:g} s")
            time.sleep(pause)


def _explanation(part: Part, wanted: Download, problems: list[tuple[str, str]]) -> str:
    """What every url answered, and what to do."""
    name = part.final.name
    lines = [f"{part.final}: could not be fetched:", *(f"  {url}: {problem}" for url, problem in problems)]
    if found := part.rejected:
        digests = ", ".join(f"{key} {found[key]}" for key in ("md5", "sha256") if key in found)
        expected = ", ".join(f"{key} {value}" for key, value in expected_checks(wanted).items())
        lines.append(
            f"{part.path} is that file, {found['bytes']} bytes, {digests}; expected {expected}. If it is the right "
            f"one, correct downloads.files.{name}, and it is used as it is. Otherwise name another url, or delete it "
            "to try again."
        )
    else:
        lines.append(f"Name another url under downloads.files.{name}, or put the file where one of them points.")
        if part.size:
            lines.append(f"The {size_text(part.size)} that have arrived are kept; the same command goes on after them.")
    return "\n".join(lines)
