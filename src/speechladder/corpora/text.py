"""Text normalisation as in LibriHeavy's recipe: letters and apostrophes alone, with digits spelt out."""

import re
import unicodedata

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'", "\u00b4": "'"})
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:st|nd|rd|th)?\b")
LONGEST = 30  # digits of a number that is read as one number; a longer one has no name and is read digit by digit
_SIGNS = {
    "&": " and ",
    "%": " percent ",
    "$": " dollars ",
    "\u00a3": " pounds ",
    "\u00e6": "ae",
    "\u0153": "oe",
    "\u00df": "ss",
}


def _spell(match: re.Match[str]) -> str:
    """'21st' -> 'twenty first', '1,200' -> 'one thousand two hundred'."""
    from num2words import num2words

    digits = match.group().replace(",", "")
    if sum(map(str.isdigit, digits)) > LONGEST:
        return f" {' '.join(num2words(int(digit)) for digit in digits if digit.isdigit())} "
    if digits[-2:] in ("st", "nd", "rd", "th"):
        return f" {num2words(int(float(digits[:-2])), to='ordinal')} "
    return f" {num2words(float(digits) if '.' in digits else int(digits))} "


def normalise(text: str) -> str:
    """Normalise a text: lower case, a-z and apostrophes within words, single spaces.

    Digits are spelt out; accents and other signs are dropped.

    >>> normalise("Mr. O\u2019Brien\u2014aged 42\u2014caf\u00e9!")
    "mr o'brien aged forty two cafe"
    """
    text = text.lower().translate(_APOSTROPHES)
    for sign, spoken in _SIGNS.items():
        text = text.replace(sign, spoken)
    text = _NUMBER.sub(_spell, text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    words = (word.strip("'") for word in re.sub(r"[^a-z']+", " ", text).split())
    return " ".join(word for word in words if word)
