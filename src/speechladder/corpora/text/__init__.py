"""The one rule by which every text becomes words: a to z and apostrophes, or a reason why it cannot be spelt.

A reader calls `normalise` and rejects the text with the error's message, or asks `text_problem`. Nothing
that is spoken is dropped: digits, signs and roman numerals become words, and what has no English spelling is an error.
"""

import re

from speechladder.corpora.text.amounts import spell_amounts
from speechladder.corpora.text.characters import TextError, check, clean
from speechladder.corpora.text.numbers import LONGEST, spell_numbers
from speechladder.corpora.text.roman import spell_roman
from speechladder.corpora.text.signs import spell_signs

__all__ = ["EMPTY", "LONGEST", "TextError", "letters", "normalise", "spell_out", "text_problem"]

EMPTY = "empty text"  # the reason for a text without words
_PLAIN = re.compile(r"[A-Za-z ,.;:!?'\"()-]*")  # texts of these characters hold nothing to spell but roman numerals


def spell_out(text: str) -> str:
    """Spell out the digits, signs and roman numerals of a text; its case and its punctuation stay.

    Raise TextError with the reason if a character cannot be spelt.

    >>> spell_out("On 2d of May, at 10:30, Henry VIII paid \\u00a33 10s. 6d.")
    'On second of May, at ten thirty, Henry the eighth paid three pounds ten shillings and six pence'
    """
    if _PLAIN.fullmatch(text):
        return spell_roman(text)
    text = re.sub(" +", " ", clean(text))
    for step in (spell_roman, spell_amounts, spell_numbers, spell_signs):
        text = step(text)
    check(text)
    return re.sub(r"  +", " ", text).strip()


def letters(text: str) -> str:
    """The words of a text that is spelt out: lower case, a to z and apostrophes within words, single spaces."""
    words = (word.strip("'") for word in re.sub(r"[^a-z']+", " ", re.sub("''+", "'", text.lower())).split())
    return " ".join(word for word in words if word)


def normalise(text: str) -> str:
    """Return the words of a text, "" if it has none. Raise TextError with the reason if it cannot be spelt.

    >>> normalise("Mr. O\\u2019Brien\\u2014aged 42\\u2014caf\\u00e9!")
    "mr o'brien aged forty two cafe"
    """
    return letters(spell_out(text))


def text_problem(text: str) -> str | None:
    """The reason why a text cannot be used, or None: it has no words, or cannot be spelt."""
    try:
        return None if normalise(text) else EMPTY
    except TextError as error:
        return str(error)
