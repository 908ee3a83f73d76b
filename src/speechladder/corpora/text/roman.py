"""Roman numerals as words, where what stands beside them says that they are numbers."""

import re

from speechladder.corpora.text.numbers import YEARS, cardinal, ordinal, year

_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100, "d": 500, "m": 1000}
_CANONICAL = re.compile("m{0,3}(cm|cd|d?c{0,3})(xc|xl|l?x{0,3})(ix|iv|v?i{0,3})")
_PARTS = """
    chapters? chap ch books? bk volumes? vols? parts? pt acts? scenes? sc cantos? sections? sect articles? art verses?
    psalms? sonnets? plates? figures? figs? tables? appendix lectures? letters? stanzas? staves? numbers? pages? pp
    chaps notes? wars? class types? phase stage title lessons? essays? epistles? odes? idyll elegy eclogue satire
"""
_RULERS = """
    henry louis charles george edward william james richard frederick philip ferdinand francis napoleon alexander
    nicholas peter paul pius leo innocent clement gregory benedict urban boniface sixtus julius adrian celestine eugene
    martin john elizabeth mary catherine anne margaret christian gustavus haakon olaf otto conrad leopold joseph
    maximilian rudolf rudolph sigismund ptolemy antiochus seleucus darius xerxes artaxerxes mithridates philippe henri
    karl carl friedrich wilhelm ludwig alfonso alphonso pedro carlos umberto humbert victor emmanuel constantine
    theodosius justinian valentinian robert malcolm baldwin amadeus ivan vladimir ramses rameses thutmose amenhotep
    edmund stephen harold oscar
"""
_LIKELY = re.compile(r"\b(?:[VXLC]\b|[IVXLCDM]{2}|(?i:[ivxlc]{2,})\b|[ivx]\b)", re.ASCII)
_NAMED = frozenset([*re.sub(r"s\?|\?", "", _PARTS).split(), *_PARTS.replace("?", "").split(), *_RULERS.split(), "the"])
_ROMAN = "[IVXLCDM]+|(?i:[ivxlc]+)"
_AFTER_PART = re.compile(rf"\b((?i:{'|'.join(_PARTS.split())}))(\.? )({_ROMAN})\b(?!['])", re.ASCII)
_AFTER_RULER = re.compile(
    rf"\b((?i:{'|'.join(_RULERS.split())}))( (?:(?i:the) )?)({_ROMAN})(?i:th|st|nd|rd)?\b(?=('s)?([.,:]? ?[0-9])?)",
    re.ASCII,
)
_ALONE = re.compile(
    r"(?<![A-Za-z0-9])([IVX]{2}|[IVXLCDM]{4,}|(?i:ii|[ivxlc]{3,}))((?i:th|st|nd|rd))?(?![A-Za-z0-9]|'+[A-Za-z])",
    re.ASCII,
)
_WORDS = ("mix", "liv", "civ")  # that would be numerals
_BESIDE = re.compile(r",? (?:and|or|to) (?:[A-Z][a-z]+\.? )?[IVX]{2,}\b")  # of "Book I and Book II"
_FIRST = re.compile(r"\bI(?=(?:,|,? and|,? or| to|-|\u2013) ?II\b)", re.ASCII)
_TITLE = re.compile(r"\b(?:king|queen|emperor|empress|pope|tsar|czar|kaiser|prince|duke)s? $", re.IGNORECASE)
# "chap. I shall" ends a sentence too often
_ABBREVIATED = ("ch", "bk", "vol", "vols", "pt", "sc", "sect", "fig", "figs", "pp")
# parts of which there are fifty and a hundred
_WHOLE = ("chapter", "psalm", "sonnet", "canto", "stanza", "letter")


def spell_roman(text: str) -> str:
    """Spell out the roman numerals of a text: 'Chapter IV' -> 'Chapter four', 'Henry VIII' -> 'Henry the eighth'."""
    if not _LIKELY.search(text) and not _is_named(text):
        return text
    text = _AFTER_RULER.sub(_of_ruler, text)
    text = _AFTER_PART.sub(_of_part, text)
    text = _FIRST.sub("one", text)
    return _ALONE.sub(_alone, text)


def _is_named(text: str) -> bool:
    """Whether a part or a ruler stands before an I; asked of every text, so it is quick."""
    before = re.split(r" I\b", text)[:-1]
    return any(
        part[max(0, len(part) - 16) :].rstrip(".").rpartition(" ")[2].lower().strip("(\"'") in _NAMED for part in before
    )


def _value(numeral: str) -> int | None:
    """The value of a numeral in its usual form, or None."""
    lower = numeral.lower()
    if not lower or not _CANONICAL.fullmatch(lower):
        return None
    values = [_VALUES[c] for c in lower]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0]))


def _of_part(match: re.Match[str]) -> str:
    name, gap, numeral = match.groups()
    value, after = _value(numeral), match.string[match.end() :]
    is_war = match.string[: match.start(2)].endswith(("World War", "WORLD WAR"))
    if value is None or (len(numeral) == 1 and not is_war and not _is_number(name, gap, numeral, after)):
        return match[0]
    return f"{name} {cardinal(str(value))}"


def _is_number(name: str, gap: str, numeral: str, after: str) -> bool:
    """Whether one letter after the name of a part is its number; a lone I is mostly the pronoun."""
    if numeral in "vVxX":
        return True
    ends = bool(re.match(r" ?(?:[.:;)\]]|$)", after) or _BESIDE.match(after))
    if numeral not in "iI":
        return name.lower() in _WHOLE and ends
    if gap.startswith("."):
        return name.lower() in _ABBREVIATED
    return ends or (name[0].isupper() and bool(re.match(",? [A-Z][a-z]|,", after)))


def _of_ruler(match: re.Match[str]) -> str:
    name, gap, numeral, possessive, figures = match.groups()
    value = _value(numeral)
    if value is None or (not name[0].isupper() and numeral.isupper() is False and not gap.strip()):
        return match[0]
    if numeral.islower() and (figures or len(numeral) == 1):
        return match[0] if len(numeral) == 1 else f"{name} {cardinal(str(value))}"  # John iii. 16
    if numeral == "I" and not gap.strip():
        of = match.string[match.end() :].startswith(" of ") or _BESIDE.match(match.string, match.end())
        if not (possessive or of or _TITLE.search(match.string[: match.start()])):
            return match[0]
    if len(numeral) == 1 and numeral not in "IVX":
        return match[0]
    if numeral == "X" and name.lower() == "malcolm":
        return match[0]
    return f"{name} the {ordinal(str(value))}"


def _alone(match: re.Match[str]) -> str:
    value = _value(match[1])
    inside = match.string[match.start() - 1 : match.start()] == "'" and re.search(
        "[A-Za-z]'+$", match.string[: match.start()]
    )
    if value is None or match[1].lower() in _WORDS or inside:
        return match[0]
    if match[2] and not match[2].lower().startswith(_suffix(value)):
        return match[0]  # a word: VIST
    if match[2] or match.string[match.end() :].lower().startswith((" century", " centuries")):
        return ordinal(str(value))
    return year(value) if value in YEARS else cardinal(str(value))


def _suffix(value: int) -> str:
    """The suffix of an ordinal: 1 -> 'st', 11 -> 'th'."""
    return "th" if value // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
