"""Amounts as words: money, times of day, units of measure."""

import re

from speechladder.corpora.text.numbers import NUMBER, QUANTITY, cardinal, quantity, ranges
from speechladder.corpora.text.signs import RANGE

# sign -> one, many, a hundredth, hundredths
_MONEY = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "\u00a3": ("pound", "pounds", "penny", "pence"),
    "\u20ac": ("euro", "euros", "cent", "cents"),
    "\u00a5": ("yen", "yen", "sen", "sen"),
    "\u20b9": ("rupee", "rupees", "paisa", "paise"),
}
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion"}
_SUM = re.compile(
    rf"(?:\b(US|AU?|CA?|NZ|HK))?([$\u00a3\u20ac\u00a5\u20b9]) ?({QUANTITY})(?: ?{RANGE} ?[$\u00a3\u20ac]?({NUMBER}))?"
    r"(?: ?(hundred|thousand|million|billion|trillion)\b|(k|mn?|bn)\b)?",
    re.IGNORECASE | re.ASCII,
)
_NOTE = re.compile(r"[ -](?:notes?|bills?|coins?|pieces?|fine|tickets?|prize|reward|bet)\b")
_SIGN_AFTER = re.compile(rf"({QUANTITY}) ?([$\u00a3\u20ac\u20b9])(?![0-9])")
_HUNDREDTHS = re.compile(rf"({QUANTITY}) ?(?:(\u00a2|cts\b\.?)|(?<! )(p)\b)", re.ASCII)
# pounds, shillings and pence, as books write them: 3l. 10s. 6d.
_AND = r"[.,;]? ?(?:and )?"
_POUNDS = rf"(?:\u00a3 ?(?P<sign>{NUMBER})(?: ?l\b)?|(?P<old>{NUMBER}) ?l\.)"
_SHILLINGS = r"(?P<s>[0-9]+) ?s\b"
_PENCE = rf"(?P<d>{QUANTITY}) ?d\b"
_OLD = re.compile(
    rf"(?:(?<![\w.]){_POUNDS}{_AND}(?:{_SHILLINGS}(?:{_AND}{_PENCE})?|{_PENCE.replace('<d>', '<d2>')})\.?"
    rf"|\b{_SHILLINGS.replace('<s>', '<s2>')}{_AND}{_PENCE.replace('<d>', '<d3>')}\.?)(?![a-z])",
    re.ASCII,
)
_COLONS = re.compile(r"\u00a3 ?([0-9,]+):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_LONE = re.compile(rf"(?<![\w.])({QUANTITY}) ?([ls])\.|(?<![\w.])({QUANTITY})/-(?!\w)", re.ASCII)
_DATIVE = re.compile(r"(?i)\b(?:his|her|their|my|your|our|the|early|late|mid)[ -]$")  # "in his 20s. and" is an age
_LONE_PENCE = re.compile(rf"(?<![\w.])({QUANTITY}) ?d\b(\.)?", re.ASCII)
_MONTH = "jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec"

_HALF_DAY = r"([ap])\.? ?m\b\.?"
_CLOCK = re.compile(
    rf"(?<![\w:.,])([01]?[0-9]|2[0-4])(?::([0-5][0-9])(?::([0-5][0-9]))?(?: ?{_HALF_DAY})?|\.([0-5][0-9]) ?{_HALF_DAY})"
    r"(?! ?o'clock)(?![:\w])",
    re.IGNORECASE | re.ASCII,
)
_HOUR = re.compile(rf"(?<![\w:.,])([0-9]{{1,2}}) ?{_HALF_DAY}(?!\w)", re.IGNORECASE | re.ASCII)
_ERA = re.compile(r"(?<=[0-9]) ?(BCE?|CE|AD)\b|\b(AD) ?(?=[0-9])", re.ASCII)
_ODDS = re.compile(r"(?<![\w:.])([0-9]+):([0-9])(?![\w:])")
_VERSE = re.compile(r"[A-Z][a-z]+\.? $")  # a book of the Bible
_NOON = 12

_FEET = ("foot", "feet")
_UNITS: dict[str, tuple[str, str]] = {
    **{
        short: (long, f"{long}s")
        for short, long in (
            ("mm", "millimeter"),
            ("cm", "centimeter"),
            ("m", "meter"),
            ("km", "kilometer"),
            ("mg", "milligram"),
            ("g", "gram"),
            ("kg", "kilogram"),
            ("ml", "milliliter"),
            ("l", "liter"),
            ("oz", "ounce"),
            ("lb", "pound"),
            ("lbs", "pound"),
            ("yd", "yard"),
            ("yds", "yard"),
            ("mi", "mile"),
            ("gal", "gallon"),
            ("qt", "quart"),
            ("ha", "hectare"),
            ("hr", "hour"),
            ("hrs", "hour"),
            ("min", "minute"),
            ("mins", "minute"),
            ("sec", "second"),
            ("secs", "second"),
            ("kw", "kilowatt"),
            ("kwh", "kilowatt hour"),
            ("mb", "megabyte"),
            ("gb", "gigabyte"),
            ("kb", "kilobyte"),
            ("tb", "terabyte"),
            ("db", "decibel"),
        )
    },
    **{
        short: (long, long)
        for short, long in (
            ("cc", "cc"),
            ("cwt", "hundredweight"),
            ("hz", "hertz"),
            ("khz", "kilohertz"),
            ("mhz", "megahertz"),
            ("ghz", "gigahertz"),
            ("hp", "horsepower"),
            ("mph", "miles per hour"),
            ("kph", "kilometers per hour"),
            ("km/h", "kilometers per hour"),
            ("km/hr", "kilometers per hour"),
            ("m/s", "meters per second"),
        )
    },
    "ft": _FEET,
    "in": ("inch", "inches"),
    "st": ("stone", "stone"),
}
_NAMES = "|".join(sorted((unit for unit in _UNITS if unit not in ("in", "st")), key=len, reverse=True))
_INCHES = r"in(?:\.(?= [a-z]|[,;)]|$)|(?<=[0-9]in)\b)"
_MEASURE = re.compile(
    rf"({QUANTITY})(?:(?P<hyphen>-)| *)(?:(?P<sq>sq|cu)\.? ?)?"
    rf"(?:(?P<unit>{_NAMES})\b|(?P<inch>{_INCHES})|(?P<stone>(?<=[0-9])st)\b)(?P<dot>\.(?= ?[a-z0-9,;:]))?",
    re.IGNORECASE | re.ASCII,
)
_HEIGHT = re.compile(r"(?<![\w.])([0-9]{1,2})'[ -]?([0-9]{1,2}(?:\.[0-9]+)?)(?:\"|'')")
_WIDE = r" ?(?:tall|high|long|wide|deep|thick|by|x)\b"
_INCH_MARK = re.compile(rf"({QUANTITY})(?: ?''|(?<=/[0-9])\"|(?<=/[0-9][0-9])\"|\"(?={_WIDE}))")
_TALL = re.compile(rf"(?<![\w.])([0-9]{{1,3}})'(?={_WIDE})")
_DEGREES = re.compile(rf"({QUANTITY}) ?\u00b0(?: ?([0-9]+)'(?: ?([0-9]+)(?:\"|''))?)?(?: ?([CF])\b)?", re.ASCII)
_SCALE = {"C": " celsius", "F": " fahrenheit", None: ""}

_MINUS = re.compile(r"(?:(?<![\w)\]%.,-])(?<![0-9]['\"])|(?<=[0-9][eE]))-(?=[$\u00a3\u20ac]?\.?[0-9])")
_NO_RANGE = re.compile(r"[0-9]-[0-9]+-|[0-9]{3}-[0-9]{4}\b")  # telephone numbers, dates
_THOUSANDS = re.compile(r"(?<![0-9.,])([0-9]{1,3}) (?=0[0-9]{2}(?![0-9]))")  # 10 000


def spell_amounts(text: str) -> str:
    """Spell out the money, the times of day and the measures of a text that is cleaned; other numbers stay."""
    if not re.search("[0-9]", text):
        return text
    text = re.sub(r"(?<=[0-9])_|_(?=[0-9])", "", text)  # 10_s._ 6_d._, italics of plain-text books
    text = re.sub(r"(?<=[0-9][lsd])\._", ".", text)
    text = _THOUSANDS.sub(r"\1", text)
    text = re.sub(r"([$\u00a3\u20ac])-(?=[0-9])", r"-\1", text)
    text = _MINUS.sub(" minus ", text)
    text = re.sub(r"(?<=[0-9]) ?[-\u2013] ?(?=[0-9.]+ ?=)", " minus ", text)
    text = text if _NO_RANGE.search(text) else ranges(text)
    return _measures(_money(_times(text)))


def _count(number: str, one: str, many: str) -> str:
    said, single = quantity(number)
    return f"{said} {one if single else many}"


def _money(text: str) -> str:
    text = _COLONS.sub(lambda m: f" {_old(m[1], m[2], m[3])} ", text)
    text = _OLD.sub(_old_match, text)
    text = _SUM.sub(_sum, text)
    text = _SIGN_AFTER.sub(lambda m: f" {_count(m[1], *_MONEY[m[2]][:2])} ", text)
    text = _HUNDREDTHS.sub(lambda m: f" {_count(m[1], *(('cent', 'cents') if m[2] else ('penny', 'pence')))} ", text)
    text = _LONE.sub(_lone, text)
    return _LONE_PENCE.sub(_lone_pence, text)


def _old(pounds: str | None, shillings: str | None, pence: str | None) -> str:
    """'3', '10', '6' -> 'three pounds ten shillings and six pence'; what is None or nought is not said."""
    named = ((pounds, "pound", "pounds"), (shillings, "shilling", "shillings"), (pence, "penny", "pence"))
    parts = [_count(number, one, many) for number, one, many in named if number and number.strip("0")]
    if len(parts) > 1 and pence and pence.strip("0"):
        parts[-1] = f"and {parts[-1]}"
    return " ".join(parts)


def _old_match(m: re.Match[str]) -> str:
    return f" {_old(m['sign'] or m['old'], m['s'] or m['s2'], m['d'] or m['d2'] or m['d3'])} "


def _sum(m: re.Match[str]) -> str:
    """'$5' -> 'five dollars', '$5.50' -> 'five dollars and fifty cents', '$1.5 million' -> 'one point five ...'."""
    country, sign, number, end, scale, short = m.groups()
    one, many, part, parts = _MONEY[sign]
    scale = scale or _SCALES.get((short or "").lower())
    if country:
        letters = " ".join(country.lower())
        one, many = f"{letters} {one}", f"{letters} {many}"
    if scale or end:
        said = quantity(number)[0] + (f" to {cardinal(end)}" if end else "")
        return f" {said}{f' {scale}' if scale else ''} {one if _NOTE.match(m.string, m.end()) else many} "
    whole, point, cents = number.partition(".")
    if point and len(cents) == 2:
        said = [_count(whole, one, many)] if whole.strip("0") else []
        said += [_count(cents.lstrip("0"), part, parts)] if cents.strip("0") else []
        return f" {' and '.join(said) or f'zero {many}'} "
    if _NOTE.match(m.string, m.end()):
        many = one
    return f" {_count(number, one, many)} "


def _lone(m: re.Match[str]) -> str:
    """'10s.' -> 'ten shillings', '200l.' -> 'two hundred pounds', '10/-' -> 'ten shillings'."""
    if m[2] == "s" and (len(m[1]) > 3 or _DATIVE.search(m.string[: m.start()])):
        return m[0]
    names = ("pound", "pounds") if m[2] == "l" else ("shilling", "shillings")
    return f" {_count(m[1] or m[3], *names)} "


def _lone_pence(m: re.Match[str]) -> str:
    """'6d.' -> 'six pence'; '2d of May', 'the 3d.' are ordinals."""
    before, after = m.string[: m.start()], m.string[m.end() :]
    may_be_ordinal = re.fullmatch("[0-9]*(?<!1)[23]", m[1])
    dated = re.match(rf"(?i),? (?:of\b|day\b|{_MONTH})", after) or re.search(
        rf"(?i)\b(?:the|{_MONTH})[a-z]*\.? $", before
    )
    if may_be_ordinal and (dated or not m[2]):
        return m[0]
    return f" {_count(m[1], 'penny', 'pence')} "


def _times(text: str) -> str:
    text = _CLOCK.sub(_clock, text)
    text = _HOUR.sub(lambda m: f" {cardinal(m[1].lstrip('0') or '0')} {m[2].lower()} m ", text)
    text = _ERA.sub(lambda m: f" {' '.join((m[1] or m[2]).lower())} ", text)
    return _ODDS.sub(
        lambda m: f" {m[1]} {m[2]} " if _VERSE.search(m.string[: m.start()]) else f"{m[1]}{RANGE}{m[2]}", text
    )


def _clock(m: re.Match[str]) -> str:
    """'10:30' -> 'ten thirty', '10:05' -> 'ten oh five', '10:00' -> "ten o'clock", '5.15 pm' -> 'five fifteen p m'."""
    hour, minutes, half = int(m[1]), m[2] or m[5], m[4] or m[6]
    said = cardinal(str(hour))
    if minutes != "00":
        said += f" {'oh ' if minutes[0] == '0' else ''}{cardinal(minutes.lstrip('0'))}"
    elif not half:
        said += " o'clock" if 0 < hour <= _NOON else " hundred"
    said += f" {cardinal(m[3].lstrip('0') or '0')}" if m[3] else ""
    return f" {said}{f' {half.lower()} m' if half else ''} "


def _measures(text: str) -> str:
    text = _DEGREES.sub(_degrees, text)
    text = _HEIGHT.sub(lambda m: f" {_count(m[1], *_FEET)} {_count(m[2], 'inch', 'inches')} ", text)
    text = _INCH_MARK.sub(lambda m: f" {_count(m[1], 'inch', 'inches')} ", text)
    text = re.sub(r"\b(ft\.?|feet|foot) ([0-9]+) in\b(?!\.)", r"\1 \2in", text)
    text = re.sub(r"\b([0-9]+) ?h ?([0-9]{1,2}) ?m(?:in)?\b", r"\1 hr \2 min", text)
    text = re.sub(r"(?i)(?<=[0-9]) ?(m)\.?(p)\.?(h)\b", " mph", text)
    text = _TALL.sub(lambda m: f" {_count(m[1], *_FEET)} ", text)
    return _MEASURE.sub(_measure, text)


def _degrees(m: re.Match[str]) -> str:
    said = [_count(m[1], "degree", "degrees")]
    said += [_count(m[2], "minute", "minutes")] if m[2] else []
    said += [_count(m[3], "second", "seconds")] if m[3] else []
    return f" {' '.join(said)}{_SCALE[m[4]]} "


def _measure(m: re.Match[str]) -> str:
    """'5 km' -> 'five kilometers', '1 lb.' -> 'one pound', '5-km' -> 'five kilometer'."""
    number, unit = m[1], (m["unit"] or m["inch"] or m["stone"]).lower().rstrip(".")
    if m["stone"] and number.endswith("1") and not number.endswith("11"):
        return m[0]  # '21st' is an ordinal
    if m["unit"] in ("G", "M"):
        return m[0]  # a generation, millions
    said, single = quantity(number)
    power = {"sq": "square ", "cu": "cubic ", "": ""}[(m["sq"] or "").lower()]
    return f" {said} {power}{_UNITS[unit][0 if single or m['hyphen'] else 1]} "
