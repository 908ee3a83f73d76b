"""Lines of text files: what ends one, and what a line that is not UTF-8 probably is."""

import gzip

import pytest

from speechladder.alignment.quality import _last
from speechladder.io.text import encoding_problem, text_lines


def lines(path, content: bytes):
    path.write_bytes(content)
    return list(text_lines(path))


def test_lines_end_at_lf_crlf_and_cr_only(tmp_path):
    text = "one\x0btwo\x0cthree\x85four\u2028five\u2029six\x1cseven"
    found = lines(tmp_path / "a.txt", f"{text}\r\nb\rc\nd".encode())
    assert [(line.number, line.text, line.problem) for line in found] == [
        (1, text, None),
        (2, "b", None),
        (3, "c", None),
        (4, "d", None),
    ]


def test_byte_order_marks_and_gzip(tmp_path):
    content = b"\xef\xbb\xbfa\n\xef\xbb\xbfb \xc3\xa9\n"  # two files with marks, one after the other
    assert [line[1:] for line in lines(tmp_path / "a.txt", content)] == [("a", None), ("b \u00e9", None)]
    assert [line.text for line in lines(tmp_path / "a.txt.gz", gzip.compress(content))] == ["a", "b \u00e9"]
    assert lines(tmp_path / "none.txt", b"") == []


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("I don\u2019t like caf\u00e9s".encode("cp1252"), "Windows-1252"),
        ("caf\u00e9".encode("latin-1"), "ISO-8859-1"),
        ("I don\u2019t".encode("mac-roman"), "Mac Roman"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442".encode("cp1251"), "another alphabet"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442".encode("koi8-r"), "another alphabet"),
        ("\u201cquoted\u201d \u2014 text \u2026".encode()[:-2], "damaged UTF-8"),
        ("\ufefftext".encode("utf-16-le"), "UTF-16"),
    ],
)
def test_the_probable_encoding_is_named(line, encoding):
    assert encoding in encoding_problem(line)


def test_a_bad_line_leaves_the_others(tmp_path):
    found = lines(tmp_path / "a.txt", b"good\nid caf\xe9\nalso \xc3\xa9\n")
    assert [line.problem is None for line in found] == [True, False, True]
    assert found[1].problem.startswith("not UTF-8: byte 0xe9 at column 7, probably ISO-8859-1")
    assert found[1].text.startswith("id caf")  # whose line it is can still be told


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named_and_its_ids_are_read(tmp_path, encoding):
    found = lines(tmp_path / "a.txt", "id-1 hello\nid-2 there\n".encode(encoding))
    assert [line.text for line in found if line.text.strip()] == ["id-1 hello", "id-2 there"]
    assert all(encoding[:6].upper() in line.problem for line in found if line.text.strip())


@pytest.mark.parametrize(
    "line", ["LJ1|He paid $5|He paid five dollars", "LJ1|He paid five dollars", "LJ1|He paid five dollars|"]
)
def test_the_text_of_a_line_of_ljspeech_is_read_once(line):
    assert _last(line) == "He paid five dollars"
