"""One request to one HTTP server, whose answer is appended to what has already arrived of a file."""

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from speechladder.fetch.checksums import CHUNK, checksum_mismatch, expected_checks, has_digest
from speechladder.fetch.disk import check_disk
from speechladder.fetch.partial import Part, validator
from speechladder.io.progress import progress, say, size_text
from speechladder.settings import Download

TIMEOUT = (30, 60)  # seconds: to connect, between two pieces
LONGEST_WAIT = 3600.0  # seconds; a server may ask for more by Retry-After
_BUSY = (408, 425, 429)  # the only 4xx statuses after which another try can succeed
_WEB_PAGE = "gives a web page in place of the file (a log-in, a question or an error: open it in a browser)"
_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


class PermanentError(Exception):
    """This address cannot give the file, now or later; the message says why."""


class RetryableError(Exception):
    """Another try of this address may give more of the file; the server asks for a pause of `wait` seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def safe_url(url: str) -> str:
    """A URL that may be shown and stored: without user, password, query and fragment, which can hold secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def transfer(url: str, part: Part, wanted: Download) -> None:
    """Request what is missing of `part` from `url` and append it. On return the whole file has arrived.

    Raises PermanentError, RetryableError, and UserError if the disk has no room.
    """
    import requests
    import urllib3

    offset = _offset(url, part, wanted)
    if offset and part.complete and not part.rejected:
        return
    try:
        with requests.get(url, headers=_headers(url, part, offset), stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and offset and _extent(response)[1] == offset:
                if part.rejected:
                    raise _unchanged(part.rejected, wanted)
                return
            first, origin = _check(url, response, offset, part, wanted)
            if part.rejected and first == 0 and _same_file(origin, part.origin):
                raise _unchanged(part.rejected, wanted)
            _receive(response, first, origin, part, wanted)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        raise PermanentError("is no address") from None
    except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects) as error:
        raise PermanentError(_reason(error)) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise RetryableError(_reason(error)) from None


def _same_version(url: str, part: Part) -> str | None:
    """The validator of the bytes that have arrived, if they are from this address."""
    return validator(part.origin) if part.origin.get("url") == safe_url(url) else None


def _same_file(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether an address still gives the file that came from it before, by ETag, Last-Modified and size."""
    return now["total"] is not None and all(now[name] == before.get(name) for name in now)


def _unchanged(rejected: dict[str, Any], wanted: Download) -> PermanentError:
    problem = checksum_mismatch(rejected, wanted)
    return PermanentError(f"the server still has the file that came before: {problem}")


def _offset(url: str, part: Part, wanted: Download) -> int:
    """The first byte to request.

    It follows what has arrived if this address has the same file: by its ETag or Last-Modified, or as a checksum will
    tell in the end. Nothing of a rejected file is fetched again while the server still has the same version: it has
    nothing after the last byte (416), or its answer has the same headers as before (200).
    """
    return part.size if _same_version(url, part) or (has_digest(wanted) and not part.rejected) else 0


def _headers(url: str, part: Part, offset: int) -> dict[str, str]:
    # identity: with gzip, neither ranges nor sizes would be those of the file
    headers = {"Accept-Encoding": "identity", "User-Agent": "speechladder"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if version := _same_version(url, part):
            headers["If-Range"] = version
    return headers


def _check(url: str, response: Any, offset: int, part: Part, wanted: Download) -> tuple[int, dict[str, Any]]:
    """(the position of the body's first byte in the file, the origin of the file); raises if the answer is unusable."""
    status, name = response.status_code, part.final.name
    if status in _BUSY or status >= 500:
        raise RetryableError(f"the server answers {status} {response.reason}", _retry_after(response))
    if status not in (200, 206, 416):
        raise PermanentError(f"the server answers {status} {response.reason}")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and status != 416 and not name.endswith((".html", ".htm")):
        raise PermanentError(_WEB_PAGE)
    first, total = _extent(response)
    origin = {
        "url": safe_url(url),
        "etag": response.headers.get("ETag"),
        "last_modified": response.headers.get("Last-Modified"),
        "total": total,
    }
    if wanted.bytes and origin["total"] not in (None, wanted.bytes):
        raise PermanentError(
            f"the server has {origin['total']} bytes, downloads.files.{name}.bytes says {wanted.bytes}"
        )
    if status == 200:
        return 0, origin
    if status == 206 and offset and first == offset and _compatible(origin, part.origin):
        return offset, origin | {"total": total or part.origin.get("total")}
    part.begin({})
    raise RetryableError("the file on the server is another one than before; from the beginning")


def _compatible(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether two answers can be about the same file. Validators of two addresses cannot be compared, sizes can."""
    sizes = {origin["total"] for origin in (now, before) if origin.get("total")}
    return len(sizes) < 2 and (now["url"] != before.get("url") or validator(now) == validator(before))


def _extent(response: Any) -> tuple[int | None, int | None]:
    """(position of the body's first byte in the file, size of the whole file in bytes), as far as the server says."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    found = re.match(r"\s*bytes\s+(?:(\d+)-\d+|\*)/(\d+)?", response.headers.get("Content-Range", ""))
    first, total = found.groups() if found else (None, None)
    return first and int(first), total and int(total)


def _receive(response: Any, first: int, origin: dict[str, Any], part: Part, wanted: Download) -> None:
    """Append the body; raises RetryableError if it ends early."""
    name = part.final.name
    total = wanted.bytes if origin["total"] is None else origin["total"]
    if total:
        check_disk(part.final.parent, total - first, f"{name}{' (the rest)' if first else ''}")
    # read1 returns what is there, so that a kill loses little even on a slow connection
    data = response.raw.read1(CHUNK, decode_content=False)
    if not data:
        raise PermanentError("gives an empty file") if total == 0 else RetryableError("the connection was cut")
    if first:
        part.set_origin(origin)
        say(f"{name}: goes on after {size_text(first)}" + (f" of {size_text(total)}" if total else ""))
    else:
        if _PAGE.match(data[:512]) and not name.endswith((".html", ".htm")):
            raise PermanentError(_WEB_PAGE)
        if part.size and not part.rejected:
            say(f"{name}: from the beginning; the server does not go on after the {size_text(part.size)} here")
        part.begin(origin)
    with progress(f"fetch {name}", total, "MB/s", 1e-6, done=first, digits=1) as meter:
        while data:
            if total and part.size + len(data) > total:
                raise PermanentError(f"sends more than the {total} bytes of the file")
            part.append(data)
            meter.advance(len(data))
            data = response.raw.read1(CHUNK, decode_content=False)
        if total and part.size < total:
            raise RetryableError(f"the connection was cut after {size_text(part.size)} of {size_text(total)}")
    if not total:
        field = "bytes" if expected_checks(wanted) else "a checksum"
        say(f"{name}: the server does not say its size: the file may be cut off; set {field} in downloads.files.{name}")


def _retry_after(response: Any) -> float:
    """The pause that Retry-After asks for, in seconds; at most LONGEST_WAIT."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        return min(Retry().parse_retry_after(response.headers.get("Retry-After", "0")), LONGEST_WAIT)
    except InvalidHeader:
        return 0.0


def _reason(error: Exception) -> str:
    """What went wrong with a connection. The client's own message is not shown: it holds the whole URL."""
    from requests.exceptions import ChunkedEncodingError, Timeout
    from urllib3.exceptions import ProtocolError, ReadTimeoutError

    chain = (error, *error.args)
    if any(isinstance(one, (Timeout, ReadTimeoutError)) for one in chain):
        return f"no answer within {TIMEOUT[1]} s"
    if any(isinstance(one, (ChunkedEncodingError, ProtocolError, ConnectionResetError)) for one in chain):
        return "the connection was cut"
    found = re.search(r"\[Errno -?\d+\] ([\w ]+)", str(error))
    return f"no connection ({found[1] if found else type(error).__name__})"
