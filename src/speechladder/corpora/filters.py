"""Reasons why an utterance cannot be used, which hold for every corpus."""

import unicodedata

from speechladder.corpora.text import EMPTY, TextError, normalise
from speechladder.corpora.text.characters import not_english
from speechladder.settings import Corpus


def length_problem(seconds: float, corpus: Corpus) -> str | None:
    """Why an utterance of `seconds` cannot be used, or None."""
    if seconds < corpus.min_seconds:
        return f"too short: {seconds:.2f} s, corpus.min_seconds is {corpus.min_seconds}"
    if seconds > corpus.max_seconds:
        return f"too long: {seconds:.2f} s, corpus.max_seconds is {corpus.max_seconds}"
    return None


def words_or_problem(original: str, corpus: Corpus) -> tuple[str, str | None]:
    """The words of a book's text, and why it cannot be used or None; corpus.english_only also refuses accents."""
    if corpus.english_only and not original.isascii():
        foreign = {c for c in unicodedata.normalize("NFC", original) if c.isalpha() and not c.isascii()}
        if foreign:
            return "", not_english(foreign)
    try:
        text = normalise(original)
    except TextError as error:
        return "", str(error)
    return text, None if text else EMPTY
