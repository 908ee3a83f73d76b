"""Numbers as words: cardinals, ordinals, years, decades, fractions, decimals, digits of telephones, ranges."""

import re
from functools import lru_cache

from speechladder.corpora.text.signs import RANGE

LONGEST = 30  # digits of a number that is read as one number; a longer one has no name and is read digit by digit
NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)"
QUANTITY = rf"(?:(?:[0-9]+[ -] ?)?[0-9]{{1,3}}/[0-9]{{1,3}}(?![0-9/])|{NUMBER}|(?<![\w.])\.[0-9]+)"
YEARS = range(1100, 2100)  # four digits without a comma that are read as a year, unless they count something
_FIRST_YEAR = 1000  # in the words that a year follows, as in "in 1066"
_HALF, _QUARTER = 2, 4


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_DATED = _words(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sept sep oct nov dec year years d anno circa spring winter"
)
_BEFORE_YEAR = _DATED | _words("in since by until till before after from of about")
_NOT_YEAR = _words("number no page pages box line lines verse room nearly over under exactly only")
_COUNTED = _words("men women people persons feet foot children sheep horse head cattle hundred million")
_NO_PLURAL = _words("was is has his its this as us thus plus always perhaps does across besides towards yes")

_TELEPHONE = re.compile(
    r"(?<![\w.,/-])(?:[0-9]{1,3}[ .-])?(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4}(?![\w,/-])"
    r"|(?<=\+)[0-9]{1,3}(?:[ .-][0-9]{1,4}){2,5}(?![\w,/-])"
    r"|(?<![\w.,/-])0[0-9]{2,4} [0-9]{3,4} [0-9]{3,4}(?![\w,/-])"
    r"|(?<![\w.,/-])[0-9]{3}-[0-9]{4}(?<!00)(?![\w,/-])"
)
_SERIES = re.compile(r"(?<![0-9.,])[0-9]+(?:-[0-9]+){2,}(?![0-9])")
_RANGE = re.compile(
    r"(?<=[0-9%])(?: ?\u2013 ?| - )(?=[0-9$\u00a3\u20ac])"
    r"|(?:(?<=[0-9](?:st|nd|rd|th))|(?<=[0-9]s))[-\u2013](?=[0-9]+(?:st|nd|rd|th|s)\b)"
    r"|(?<=[0-9])[-\u2013]'(?=[0-9]{2}\b)"
    r"|(?:(?<=[0-9%])|(?<=[0-9][ap]m))-(?=[0-9$\u00a3\u20ac])(?![0-9]+/[0-9])"
)
_EQUAL = re.compile(r"(?<![\w.,/-])([0-9]+)-\1(?![\w,/-]|\.[0-9])")  # 50-50 is no range
_FREE_CALL = re.compile(r"\b1-(8[0-9]{2}|900)-(?=[A-Z])")  # 1-800-FLOWERS
_DATE = re.compile(r"(?<![\w.,])([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})(?![\w,]|\.[0-9])")
_MIXED = re.compile(r"(?<![0-9.,/])(?:([0-9]+)(?: |-| - ?))?([0-9]{1,3})/([0-9]{1,3})(?:st|nd|rd|th|ths|s)?(?![\w/])")
_POINT = re.compile(r"(?<![\w.])\.([0-9]+)(?![.\w])")
_FORMATS = {
    "4to": "quarto",
    "8vo": "octavo",
    "12mo": "duodecimo",
    "16mo": "sextodecimo",
    "18mo": "octodecimo",
    "24mo": "vicesimo quarto",
    "32mo": "tricesimo secundo",
}
_FORMAT = re.compile(rf"\b({'|'.join(_FORMATS)})\b\.?", re.IGNORECASE | re.ASCII)
_ORDINAL = re.compile(
    r"(?<![0-9.])([0-9]+(?:,[0-9]{3})*)(?:((?i:st|nd|rd|th))|(?<=[23])(d|D(?= OF\b)))(ly|s)?(?![a-z0-9])"
)
_PLURAL = re.compile(r"(?<![0-9.])'?([0-9]+(?:,[0-9]{3})*)(')?s\b", re.IGNORECASE | re.ASCII)
_ANY = re.compile(r"[0-9]+(?:,[0-9]+)*(?:\.[0-9]+)*")


def spell_numbers(text: str) -> str:
    """Spell out every digit that is left in a text, which is cleaned and whose amounts are words."""
    if not re.search("[0-9]", text):
        return text
    text = _FORMAT.sub(lambda m: f" {_FORMATS[m[1].lower()]} ", text)
    text = _TELEPHONE.sub(lambda m: _spaced(_digits(m[0])), text)
    text = _DATE.sub(r"\1 \2 \3", _FREE_CALL.sub(r"1 \1 ", text))
    text = _SERIES.sub(lambda m: m[0].replace("-", " "), text)
    text = _MIXED.sub(_fraction_or_both, text)
    text = _POINT.sub(lambda m: f" point {_digits(m[1])} ", text)
    text = _ORDINAL.sub(lambda m: _spaced(ordinal(m[1]) + (m[4] or "").lower()), text)
    text = _PLURAL.sub(_plural, text)
    text = re.sub(r"(?i)(?:\bno\.|#) ?(?=[0-9])", " number ", re.sub(r"(?i)\bnos\. ?(?=[0-9])", " numbers ", text))
    return _ANY.sub(_number, ranges(text))


def ranges(text: str) -> str:
    """The text with signs.RANGE in place of each dash between two numbers."""
    return _RANGE.sub(RANGE, _EQUAL.sub(r"\1 \1", text))


@lru_cache(maxsize=10_000)
def cardinal(digits: str) -> str:
    """'1,200' -> 'one thousand two hundred', '007' -> 'zero zero seven', '2.50' -> 'two point five zero'."""
    from num2words import num2words

    whole, _, part = digits.replace(",", "").partition(".")
    if len(whole) + len(part) > LONGEST or (len(whole) > 1 and whole.startswith("0")):
        said = _digits(whole)
    else:
        said = _plain(num2words(int(whole or 0)))
    return f"{said} point {_digits(part)}" if part else said


@lru_cache(maxsize=10_000)
def ordinal(digits: str) -> str:
    """'21' -> 'twenty first'."""
    from num2words import num2words

    digits = digits.replace(",", "")
    return _digits(digits) if len(digits) > LONGEST else _plain(num2words(int(digits), to="ordinal"))


@lru_cache(maxsize=1000)
def year(number: int) -> str:
    """1815 -> 'eighteen fifteen'."""
    from num2words import num2words

    return _plain(num2words(number, to="year"))


def quantity(text: str) -> tuple[str, bool]:
    """The words of a text that matches QUANTITY, and whether the thing that it counts is in the singular."""
    found = _MIXED.fullmatch(text)
    if found:
        return _fraction(found), found[1] is None
    if text.startswith("."):
        return f"point {_digits(text[1:])}", False
    return cardinal(text), text == "1"


def plural(word: str) -> str:
    """'twenty' -> 'twenties', 'six' -> 'sixes'."""
    return word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith("x") else "s")


def _plain(words: str) -> str:
    return words.replace("-", " ").replace(",", "")


def _spaced(words: str) -> str:
    return f" {words} "


def _digits(text: str) -> str:
    """Every digit on its own."""
    from num2words import num2words

    return " ".join(num2words(int(digit)) for digit in text if digit.isdigit())


def _fraction(match: re.Match[str]) -> str:
    """'3/4' -> 'three quarters', '2 1/2' -> 'two and a half'."""
    above, below = int(match[2]), int(match[3])
    name = {_HALF: "half", _QUARTER: "quarter"}.get(below) or ordinal(match[3])
    named = {_HALF: "halves"}.get(below) or plural(name)
    if match[1] is None:
        return f"{cardinal(match[2])} {name if above == 1 else named}"
    article = "an" if name.startswith("e") else "a"
    part = f"{article} {name}" if above == 1 else f"{cardinal(match[2])} {named}"
    return f"{cardinal(match[1])} and {part}"


def _fraction_or_both(match: re.Match[str]) -> str:
    """A proper fraction, else the two numbers: '24/7', '9/11'."""
    above, below = int(match[2]), int(match[3])
    if 0 < above < below and match[3][0] != "0" and (above, below) != (9, 11):
        return _spaced(_fraction(match))
    return match[0].replace("/", " ")


def _plural(match: re.Match[str]) -> str:
    """'1770s' -> 'seventeen seventies', '5s' -> 'fives'; "1815's" is a possessive."""
    digits = match[1].replace(",", "")
    said = year(int(digits)) if "," not in match[1] and len(digits) == 4 and int(digits) in YEARS else cardinal(digits)
    if match[2] and not digits.endswith("0"):
        return f" {said}'s"
    first, _, last = said.rpartition(" ")
    return f" {plural(last)}" if first == "one" else f" {first} {plural(last)}"


def _number(match: re.Match[str]) -> str:
    """One number, or the numbers of a list: '1,234' is one, '5,6,7' are three."""
    if re.fullmatch(rf"{NUMBER}", match[0]):
        is_year = re.fullmatch("[0-9]{4}", match[0]) and _is_year(match)
        return _spaced(year(int(match[0])) if is_year else cardinal(match[0]))
    groups = re.findall(r"[0-9]{1,3}(?:,000)+(?![0-9])|[^,]+", match[0])
    if any(group.startswith("0") for group in groups[1:]) and re.fullmatch(
        r"[0-9]{1,2}(,[0-9]{2})*,[0-9]{3}", match[0]
    ):
        return _spaced(cardinal(match[0]))  # as India writes it: 10,00,000
    return _spaced(
        " ".join(
            " point ".join(map(cardinal, group.split("."))) if group.count(".") > 1 else cardinal(group)
            for group in groups
        )
    )


def _is_year(match: re.Match[str]) -> bool:
    """Whether four digits without a comma are a year, by the words beside them: '1200 men' are counted."""
    before = re.findall(r"[A-Za-z]+", match.string[max(0, match.start() - 24) : match.start()])
    last = before[-1].lower() if before else ""
    after = re.match(r"[ -]([a-z]+)", match.string[match.end() :])
    word = after[1] if after else ""
    many = len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word not in _NO_PLURAL
    if last not in _DATED and (many or word in _COUNTED or last in _NOT_YEAR):
        return False
    first = _FIRST_YEAR if last in _BEFORE_YEAR else YEARS.start
    return first <= int(match[0]) < YEARS.stop
