"""Signs as words, once the numbers beside them are words."""

import re

RANGE = "\x1e"  # stands for the dash of a range, until everything around it is spelt
_SPOKEN = {
    "%": "percent",
    "$": "dollars",
    "\u00a3": "pounds",
    "\u20ac": "euros",
    "\u00a5": "yen",
    "\u20b9": "rupees",
    "\u00a2": "cents",
    "@": "at",
    "+": "plus",
    "=": "equals",
    "\u00b1": "plus or minus",
    "\u00d7": "times",
    "\u00f7": "divided by",
    "\u00a7": "section",
    "\u00b0": "degrees",
    "\u2030": "per mille",
    RANGE: "to",
}
_ANY = re.compile("[" + re.escape("".join(_SPOKEN)) + "]")


def spell_signs(text: str) -> str:
    """Spell out the signs of a text, which is cleaned and has no digits."""
    text = re.sub(r"&c\b", " et cetera", text)
    text = re.sub(r"(?<=\b[A-G])#", " sharp", text)
    return _ANY.sub(lambda match: f" {_SPOKEN[match[0]]} ", text.replace("&", " and "))
