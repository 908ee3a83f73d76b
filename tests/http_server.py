"""A server on loopback that serves a folder, and fails in the ways of real servers."""

import hashlib
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep  # the function itself: a test that replaces time.sleep replaces the client's
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """The faults of one path; counters decrease with every use."""

    cut: list[int] = field(default_factory=list)  # per answer: bytes of the body after which the connection is cut
    busy: int = 0  # number of 503 answers before the first good one
    retry_after: str | None = None  # header of the 503 answers
    status: int | None = None  # status of every answer
    wrong: int = 0  # number of answers with another body of the same length
    no_ranges: bool = False  # sends the whole file whatever range is requested
    page: bool = False  # a web page with status 200
    page_type: str = "text/html; charset=utf-8"
    changing: bool = False  # a new ETag with every answer
    no_validators: bool = False  # neither ETag nor Last-Modified
    no_length: bool = False  # no Content-Length: the file ends with the connection
    weak: bool = False  # W/"..."
    slow: float = 0.0  # bytes per second, in pieces of a twentieth of a second


@dataclass(frozen=True)
class Request:
    """One request and the status of its answer."""

    path: str
    range: str | None
    if_range: str | None
    status: int


class Server:
    """A folder on http://127.0.0.1:PORT with ranges, ETag and Last-Modified; faults by path; a list of requests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.faults = folder, {}
        self.requests: list[Request] = []
        self._lock, self._answers = threading.Lock(), 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.handle_error = lambda *args: None  # clients that are killed reset their connections
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, name: str, userinfo: str = "") -> str:
        """The address of a file of the folder."""
        return f"http://{userinfo}127.0.0.1:{self._http.server_address[1]}/{name}"

    def fault(self, name: str, **fault: object) -> Fault:
        """Give a file a fault."""
        self.faults[name] = Fault(**fault)  # type: ignore[arg-type]
        return self.faults[name]

    def cut(self, name: str, after: int) -> Fault:
        """Cut the next connection that asks for a file after so many bytes of it."""
        return self.fault(name, cut=[after])

    def asked(self, name: str) -> list[Request]:
        """The requests for a file, in order."""
        return [request for request in self.requests if request.path == name]

    def ranges(self, name: str) -> list[str]:
        """The ranges of a file that were requested and sent."""
        return [request.range for request in self.asked(name) if request.range and request.status == 206]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = unquote(urlsplit(handler.path).path).lstrip("/")
        with self._lock:
            self._answers += 1
            number, fault = self._answers, self.faults.get(name, Fault())
            busy, wrong = fault.busy > 0, fault.wrong > 0 and fault.busy <= 0
            fault.busy, fault.wrong = fault.busy - busy, fault.wrong - wrong
            cut = fault.cut.pop(0) if fault.cut and not busy else None
        asked, if_range = handler.headers.get("Range"), handler.headers.get("If-Range")
        path, headers, body = self.folder / name, {}, b""
        if busy:
            status = 503
            headers |= {"Retry-After": fault.retry_after} if fault.retry_after else {}
        elif fault.status:
            status = fault.status
        elif fault.page:
            status, body = (
                200,
                b"<!DOCTYPE html><html><body>Too large to scan for viruses. Download anyway?</body></html>",
            )
            headers["Content-Type"] = fault.page_type
        elif not path.is_file():
            status = 404
        else:
            body = path.read_bytes()
            etag = (
                f'{"W/" if fault.weak else ""}"{hashlib.md5(body).hexdigest()}{f"-{number}" if fault.changing else ""}"'
            )
            modified = handler.date_time_string(int(path.stat().st_mtime))
            if wrong:
                body = bytes(byte ^ 1 for byte in body)
            if not fault.no_validators:
                headers |= {"ETag": etag, "Last-Modified": modified}
            status, body, more = self._range(body, asked, if_range, (etag, modified), fault)
            headers |= {"Content-Type": "application/octet-stream", **more}
        self.requests.append(Request(name, asked, if_range, status))
        handler.send_response(status, HTTPStatus(status).phrase)
        if fault.no_length:
            handler.close_connection = True
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = str(len(body))
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.end_headers()
        self._send(handler, body if cut is None else body[:cut], fault)
        if cut is not None:
            handler.close_connection = True

    @staticmethod
    def _range(
        body: bytes, asked: str | None, if_range: str | None, now: tuple[str, str], fault: Fault
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer to `bytes=FIRST-`."""
        if not asked or fault.no_ranges or (if_range and if_range not in now):
            return 200, body, {} if fault.no_ranges else {"Accept-Ranges": "bytes"}
        first = int(asked.removeprefix("bytes=").rstrip("-"))
        if first >= len(body):
            return 416, b"", {"Content-Range": f"bytes */{len(body)}"}
        return 206, body[first:], {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"}

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, body: bytes, fault: Fault) -> None:
        start = 0
        try:
            while start < len(body):  # a test may change `slow` meanwhile
                end = start + max(1, int(fault.slow / 20)) if fault.slow else len(body)
                handler.wfile.write(body[start:end])
                handler.wfile.flush()
                start = end
                sleep(0.05 if fault.slow else 0)
        except OSError:  # the client has gone
            handler.close_connection = True
