"""One answer of one HTTP server, written behind what has already arrived of a file."""

import email.utils
import re
import shutil
import time
from pathlib import Path
from typing import Any

from speechladder.fetch.partial import CHUNK, Part, asked, misfit, safe_url, size_text, validator
from speechladder.io.errors import UserError
from speechladder.io.progress import progress, say
from speechladder.settings import Download

TIMEOUT = (30, 60)  # seconds: to connect, between two pieces
MARGIN = 0.01  # of disk room beyond what is still to come
LONGEST_WAIT = 3600.0  # seconds that a server may ask for by Retry-After
_AGAIN = (408, 425, 429)  # of 4xx: later it may be otherwise
_WEB_PAGE = "gives a web page in place of the file (a log-in, a question or an error: open it in a browser)"
_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


class AddressError(Exception):
    """This address does not give the file, now or later; the message is why."""


class LineError(Exception):
    """This address may give more of the file at another try; `wait` is what the server asks for, in seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def free_space(folder: Path) -> tuple[Path, int]:
    """(the nearest folder that is there, bytes free on its disk)."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return there, shutil.disk_usage(there).free


def check_disk(folder: Path, needed: float, what: str) -> None:
    """Raise UserError unless `folder` (or where it will be) has room for `needed` bytes and a margin."""
    _, free = free_space(folder)
    if needed * (1 + MARGIN) > free:
        raise UserError(
            f"{folder}: needs {_gigabytes(needed * (1 + MARGIN))} for {what}, has {_gigabytes(free)}; "
            "free some room, or set downloads.folder to a larger disk"
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e9:.2g} GB"


def transfer(url: str, part: Part, wanted: Download, again: bool = False) -> None:
    """Ask `url` for what is missing of `part`, and append it; when this returns, all has arrived.

    `again`: also where the server still has the very file that was refused. Raises AddressError, LineError, and
    UserError where the disk has no room.
    """
    import requests
    import urllib3

    offset = _offset(url, part, wanted)
    if offset and offset == part.origin.get("total"):
        return
    try:
        with requests.get(url, headers=_headers(url, part, offset), stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and offset and _total(response) == offset:
                return
            first, origin = _judge(url, response, offset, part, wanted, again)
            _receive(response, first, origin, part, wanted)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        raise AddressError("is no address") from None
    except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects) as error:
        raise AddressError(_reason(error)) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise LineError(_reason(error)) from None


def _offset(url: str, part: Part, wanted: Download) -> int:
    """From which byte on this address is asked: behind what has arrived, where that can be the same file.

    A server that has said neither ETag nor Last-Modified, or is another one than the part is from, may have another
    file; then only a checksum of the whole can tell.
    """
    if part.origin.get("refused"):
        return 0
    same = part.origin.get("url") == safe_url(url) and validator(part.origin)
    return part.size if same or wanted.md5 or wanted.sha256 else 0


def _headers(url: str, part: Part, offset: int) -> dict[str, str]:
    # identity: the bytes as they lie on the server; with gzip neither ranges nor sizes would be those of the file
    headers = {"Accept-Encoding": "identity", "User-Agent": "speechladder"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if part.origin.get("url") == safe_url(url) and (same := validator(part.origin)):
            headers["If-Range"] = same
    return headers


def _judge(
    url: str, response: Any, offset: int, part: Part, wanted: Download, again: bool
) -> tuple[int, dict[str, Any]]:
    """The first byte of the body within the file, and its origin; raises where the answer is of no use."""
    status, name = response.status_code, part.final.name
    if status in _AGAIN or status >= 500:
        raise LineError(f"the server answers {status} {response.reason}", _retry_after(response))
    if status not in (200, 206, 416):
        raise AddressError(f"the server answers {status} {response.reason}")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and status != 416 and not name.endswith((".html", ".htm")):
        raise AddressError(_WEB_PAGE)
    origin = {
        "url": safe_url(url),
        "etag": response.headers.get("ETag"),
        "last_modified": response.headers.get("Last-Modified"),
        "total": _total(response),
    }
    if wanted.bytes and origin["total"] not in (None, wanted.bytes):
        raise AddressError(f"the server has {origin['total']} bytes, downloads.files.{name}.bytes says {wanted.bytes}")
    if status != 200:
        if status == 206 and offset and _begins(response) == offset and _same(origin, part.origin):
            return offset, origin | {"total": origin["total"] or part.origin.get("total")}
        part.begin({})
        raise LineError("the file on the server is another one than before; from the beginning")
    known = part.known.get(origin["url"], {})
    if known and not again and validator(origin) == known["validator"] and (problem := misfit(known, wanted)):
        raise AddressError(f"the server still has the file that came before: {problem}")
    return 0, origin


def _same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether two answers can be about the same file; those of two addresses are told apart by size alone."""
    sizes = {origin["total"] for origin in (now, before) if origin.get("total")}
    return len(sizes) < 2 and (now["url"] != before.get("url") or validator(now) == validator(before))


def _total(response: Any) -> int | None:
    """The size of the whole file, where the server says it."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None
    found = re.search(r"/(\d+)\s*$", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _begins(response: Any) -> int | None:
    found = re.match(r"\s*bytes\s+(\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _receive(response: Any, first: int, origin: dict[str, Any], part: Part, wanted: Download) -> None:
    """Append the body; raises LineError when it ends early."""
    total, name = origin["total"], part.final.name
    total = wanted.bytes if total is None else total
    if total:
        check_disk(part.final.parent, total - first, f"{name}{' (the rest)' if first else ''}")
    # read1 gives what is there, so that a kill loses no second of a slow line
    data = response.raw.read1(CHUNK, decode_content=False)
    if not data:
        raise AddressError("gives an empty file") if total == 0 else LineError("the connection was cut")
    if not first:
        if _PAGE.match(data[:512]) and not name.endswith((".html", ".htm")):
            raise AddressError(_WEB_PAGE)
        if part.size and not part.origin.get("refused"):
            say(f"{name}: from the beginning; the server does not go on after the {size_text(part.size)} here")
        part.begin(origin)
    elif origin != part.origin:
        part.note(origin)
    if first:
        say(f"{name}: goes on after {size_text(first)}" + (f" of {size_text(total)}" if total else ""))
    with progress(f"fetch {name}", total, "MB/s", 1e-6, done=first, digits=1) as meter:
        while data:
            if total and part.size + len(data) > total:
                raise AddressError(f"sends more than the {total} bytes of the file")
            part.append(data)
            meter.advance(len(data))
            data = response.raw.read1(CHUNK, decode_content=False)
        if total and part.size < total:
            raise LineError(f"the connection was cut after {size_text(part.size)} of {size_text(total)}")
    if not total:
        say(f"{name}: the server does not say its size, nor does {_field(name, wanted)}; taken as whole as it came")


def _field(name: str, wanted: Download) -> str:
    return f"a checksum under downloads.files.{name}" if not asked(wanted) else f"downloads.files.{name}.bytes"


def _retry_after(response: Any) -> float:
    """What Retry-After asks for, in seconds; an hour at most."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        seconds = float(text)
    else:
        at = email.utils.parsedate_tz(text)
        seconds = email.utils.mktime_tz(at) - time.time() if at else 0.0
    return min(max(0.0, seconds), LONGEST_WAIT)


def _reason(error: BaseException) -> str:
    """What went wrong on the line, in words; never the client's own message, which holds the whole URL."""
    chain, one = [], error
    while isinstance(one, BaseException) and one not in chain:
        chain.append(one)
        nested = (getattr(one, "reason", None), *one.args[::-1], one.__cause__, one.__context__)
        one = next((inner for inner in nested if isinstance(inner, BaseException)), None)
    names = {type(inner).__name__ for inner in chain}
    if names & {"IncompleteRead", "InvalidChunkLength", "RemoteDisconnected", "ConnectionResetError"}:
        return "the connection was cut"
    if any("Timeout" in name for name in names):
        return f"no answer within {TIMEOUT[1]} s"
    said = next((inner.strerror for inner in chain if isinstance(inner, OSError) and inner.strerror), "")
    return f"no connection ({said or type(chain[-1]).__name__})"
