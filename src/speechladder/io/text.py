"""Lines of text files of any origin: strict UTF-8, and what a line that is not UTF-8 probably is."""

import codecs
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# in this order, since the mark of UTF-32 begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_BOM = "\ufeff"
_MAC_APOSTROPHE = re.compile(rb"[A-Za-z]\xd5[A-Za-z]")
_WINDOWS = re.compile(rb"[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f]")  # letters and punctuation where ISO-8859-1 has controls
_MOSTLY = 0.5  # share of the letters of a line that are not ASCII, from which on the line is in another alphabet


class Line(NamedTuple):
    """A line of a file, counted from 1, without its end.

    `problem` says why the line cannot be used, or is None. `text` is then for finding out whose line it is, no more.
    """

    number: int
    text: str
    problem: str | None = None


def text_lines(path: str | Path) -> Iterator[Line]:
    """Stream the lines of a file in UTF-8, with a byte order mark or without, compressed by gzip or not.

    Lines end at LF, CR LF or CR; no other separator of Unicode ends one. A line that is not UTF-8 has a problem that
    names the encoding which it probably has. Raises OSError or EOFError if the file cannot be read.
    """
    opener = gzip.open if str(path).lower().endswith(".gz") else open
    with opener(path, "rb") as raw:
        start = raw.read(4)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), None)
    with opener(
        path, "rt", encoding=encoding or "utf-8", errors="replace" if encoding else "surrogateescape"
    ) as handle:
        for number, line in enumerate(handle, 1):
            text = line.rstrip("\r\n").lstrip(_BOM)
            if encoding:
                yield Line(number, text, f"not UTF-8: the file is in {encoding}; save it in UTF-8")
            else:
                yield Line(number, text.replace("\0", ""), _problem(text))


def _problem(text: str) -> str | None:
    if "\0" in text:
        return "not UTF-8: it has bytes of value 0, so it is probably UTF-16 without a mark; save it in UTF-8"
    return None if text.isascii() else encoding_problem(text.encode("utf-8", "surrogateescape"))


def encoding_problem(line: bytes) -> str | None:
    """Why bytes are not UTF-8, with the encoding that they probably have, or None if they are.

    >>> encoding_problem(b"I don\\x92t")
    'not UTF-8: byte 0x92 at column 6, probably Windows-1252; save it in UTF-8'
    """
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode("utf-8")) + 1
        return f"not UTF-8: byte 0x{line[error.start]:02x} at column {column}, {_guess(line)}; save it in UTF-8"
    return None


def _guess(line: bytes) -> str:
    """The probable encoding of a line that is not UTF-8. A line is too short for statistics of letters."""
    if mark := next((name for mark, name in _MARKS if line.startswith(mark)), None):
        return f"probably {mark}"
    high = sum(byte >= 0x80 for byte in line)
    if re.search(rb"(?:[\xc3-\xf4][\x80-\xbf]+)|\xe2\x80", line) and high > 1 and _damaged(line):
        return "probably damaged UTF-8"
    if high > _MOSTLY * sum(byte >= 0x80 or chr(byte).isalpha() for byte in line):
        return "probably an encoding of another alphabet"
    if _MAC_APOSTROPHE.search(line):
        return "probably Mac Roman"
    return "probably Windows-1252" if _WINDOWS.search(line) else "probably ISO-8859-1 or Windows-1252"


def _damaged(line: bytes) -> bool:
    """Whether most characters beyond ASCII are UTF-8, so that only some bytes were lost."""
    kept = line.decode("utf-8", "ignore")
    read = sum(len(c.encode()) for c in kept if not c.isascii())
    return read > sum(byte >= 0x80 for byte in line) / 2
