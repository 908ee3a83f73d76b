"""Characters of a text: which stand for others, which are removed, and which cannot be spelt."""

import html
import re
import unicodedata
from collections.abc import Iterable

_APOSTROPHES = "\u2018\u2019\u201a\u201b\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u2032\u00b4`"
_SAME = str.maketrans(
    dict.fromkeys(_APOSTROPHES, "'")
    | {"\u2033": "''"}
    | dict.fromkeys("\u201c\u201d\u201e", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2212\ufe63\uff0d", "-")
    | {"\u02da": "\u00b0", "\u2116": " No. ", "\u2044": "/"}
    | {"\u2122": " ", "\u2120": " "}  # marks of trade, which would decompose to letters
)
# letters without a decomposition whose English spelling is usual; other letters cannot be spelt
_LIGATURES = str.maketrans(
    {"\u00e6": "ae", "\u00c6": "Ae", "\u0153": "oe", "\u0152": "Oe", "\u00df": "ss", "\u1e9e": "SS"}
)
_RAISED = {"\u00b2": "squared", "\u00b3": "cubed"}
_RAISED_DIGITS = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
_UNIT_RAISED = re.compile(r"\b(mm|cm|km|m|ft|in|yd|mi)\.?([\u00b2\u00b3])")
_THOUSANDS = re.compile(r"(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")
_DEGREE = re.compile(r"(?<=[0-9])\u00ba|(?<=[0-9] )\u00ba(?= ?[CF]\b)")  # the ordinal mark in place of the sign
_ENTITY = re.compile(r"&(?:#\w+|[A-Za-z]\w{1,30});")
_FOOTNOTE = re.compile(r"\[(?:[0-9]{1,3}|(?<=\S\[)[A-Za-z])\](?!\w)")  # word[1], word [12], word[A]
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_SILENT = frozenset("\u00a6\u00a8\u00af\u00b8\u00ae\u00a9\u2122\u25cf\u25a0\u25aa\u2605\u2606\u2666\u2756|~")
_UNSPOKEN = frozenset("<>^\\")  # ASCII punctuation of markup and code
_STROKE = 1  # the combining class of strokes: of \u2260, and of a decomposed \u00f8
_SHOWN = 8  # characters that a reason lists


class TextError(ValueError):
    """A text that cannot be spelt; the message is the reason."""


def clean(text: str) -> str:
    """Fold a text towards ASCII: accents, ligatures, quotes, dashes, blanks; remove characters without width.

    A decomposed accent is the same as a composed one. Raise TextError if the text was decoded wrongly, or has what
    nobody speaks: entities of HTML, marks of footnotes.
    """
    _check_markup(text)
    if text.isascii():
        return re.sub(r"[\t-\r\x1c-\x1f]", " ", text).replace("`", "'")
    _check_decoding(text)
    text = _THOUSANDS.sub("", text)
    if "\u00b0" not in text:  # else primes are minutes and seconds of an arc
        text = re.sub(r"(?<=[0-9])\u2032(?! ?[0-9])", " ft ", text)
    text = text.translate({ord(c): _clean(c) for c in set(text)})
    text = re.sub(r"(?<=[0-9])\u00b7(?=[0-9])", ".", text)  # 5.5 in older British books
    text = re.sub(r"\b([Nn])\u00ba", r"\1o.", _DEGREE.sub("\u00b0", text))
    text = _raised(text).translate(_SAME)
    text = unicodedata.normalize("NFKD", text)
    return text.translate({ord(c): None for c in set(text) if _is_accent(c)}).translate(_LIGATURES).translate(_SAME)


def _is_accent(c: str) -> bool:
    """Whether a character is a mark that folds away; a stroke through its letter or sign makes another one of it."""
    return not c.isascii() and unicodedata.category(c) in ("Mn", "Me") and unicodedata.combining(c) != _STROKE


def _clean(c: str) -> str:
    """A character before its decomposition: fractions and roman numerals as digits, blanks, nothing for no width."""
    if c.isascii() and c.isprintable():
        return c
    kind = unicodedata.category(c)
    if c.isspace() or kind in ("Zl", "Zp", "Zs"):
        return " "
    if kind == "Cf":  # soft hyphens, zero-width characters, marks of direction, byte order marks
        return ""
    if kind == "No" and unicodedata.decomposition(c).startswith("<fraction>"):
        return f" {unicodedata.normalize('NFKD', c)} "
    if kind == "Nl" and unicodedata.normalize("NFKD", c).isascii():  # roman numerals, each in one character
        return f" {int(unicodedata.numeric(c))} "
    return c


def _raised(text: str) -> str:
    """Raised digits in words: units, powers. Raise TextError for another one, since a footnote's mark is not spoken."""
    text = _UNIT_RAISED.sub(lambda m: f" {'sq' if m[2] == chr(0xB2) else 'cu'} {m[1]}", text)
    text = re.sub(r"(?<=[0-9)])[\u00b2\u00b3]|(?<=\b[A-Za-z])[\u00b2\u00b3]", lambda m: f" {_RAISED[m[0]]} ", text)
    text = re.sub(f"(?<=[0-9])[{_RAISED_DIGITS}]+", _power, text)
    if left := sorted(set(text) & set(_RAISED_DIGITS)):
        raise TextError(f"raised digits, which may be marks of footnotes: {show(left)}")
    return text


def _power(match: re.Match[str]) -> str:
    from speechladder.corpora.text.numbers import ordinal

    return f" to the {ordinal(str(int(unicodedata.normalize('NFKD', match[0]))))} "


def _check_markup(text: str) -> None:
    """Raise TextError if a text has an entity of HTML, or a mark of a footnote in brackets."""
    found = {entity for entity in _ENTITY.findall(text) if html.unescape(entity) != entity}
    if found:
        raise TextError(f"entities of HTML: {' '.join(sorted(found)[:_SHOWN])}; decode the text (html.unescape)")
    if mark := _FOOTNOTE.search(text):
        raise TextError(f"{mark[0]} may be the mark of a footnote, which is not spoken; take it out")


def _check_decoding(text: str) -> None:
    """Raise TextError if letters were lost, or if UTF-8 was read as Windows-1252."""
    if "\ufffd" in text:
        raise TextError("lost letters: U+FFFD stands for letters that an earlier decoding could not read")
    for run in _NOT_ASCII.findall(text):
        try:
            original = b"".join(map(_byte, run)).decode("utf-8")
        except (UnicodeDecodeError, UnicodeEncodeError):
            continue
        raise TextError(
            f"wrong decoding: {run!a} is {original!a} in UTF-8, read as Windows-1252; decode the text again"
        )
    if any("\x80" <= c <= "\x9f" and c != "\x85" for c in text):
        bad = {c for c in text if "\x80" <= c <= "\x9f" and c != "\x85"}
        raise TextError(f"control characters, probably of Windows-1252 read as ISO-8859-1: {show(bad)}")


def _byte(c: str) -> bytes:
    """The byte of a character in Windows-1252, whose undefined bytes are those of ISO-8859-1."""
    try:
        return c.encode("cp1252")
    except UnicodeEncodeError:
        return c.encode("latin-1")


def check(text: str) -> None:
    """Raise TextError if a spelt-out text still has characters that are neither silent nor a to z."""
    found = {c for c in set(text) if not (c.isascii() and c.isprintable()) or c in _UNSPOKEN} - _SILENT
    kinds: dict[str, set[str]] = {}
    for c in found:
        kinds.setdefault(unicodedata.category(c)[0], set()).add(c)
    if foreign := kinds.get("L", set()) | kinds.get("N", set()) | kinds.get("M", set()):
        raise TextError(not_english(foreign))
    if controls := kinds.get("C"):
        raise TextError(f"control characters: {show(controls)}")
    signs = kinds.get("S", set()) | (found & _UNSPOKEN)
    if signs:
        raise TextError(f"signs that have no words: {show(signs)}")


def not_english(foreign: Iterable[str]) -> str:
    """The reason for letters beyond a to z."""
    return f"letters that are not English: {show(foreign)}"


def show(characters: Iterable[str]) -> str:
    """Characters for a message, sorted: the character itself if it can be printed, and its code point."""
    listed = sorted(characters)
    shown = [f"{c} (U+{ord(c):04X})" if _stands_alone(c) else f"U+{ord(c):04X}" for c in listed[:_SHOWN]]
    return " ".join(shown) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")


def _stands_alone(c: str) -> bool:
    return c.isprintable() and not unicodedata.category(c).startswith("M")
