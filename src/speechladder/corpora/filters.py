"""Reasons why an utterance cannot be used, which hold for every corpus."""

import unicodedata

from speechladder.settings import Corpus


def length_problem(seconds: float, corpus: Corpus) -> str | None:
    """Why an utterance of `seconds` cannot be used, or None."""
    if seconds < corpus.min_seconds:
        return f"too short: {seconds:.2f} s, corpus.min_seconds is {corpus.min_seconds}"
    if seconds > corpus.max_seconds:
        return f"too long: {seconds:.2f} s, corpus.max_seconds is {corpus.max_seconds}"
    return None


def text_problem(original: str, text: str, corpus: Corpus) -> str | None:
    """Why a text cannot be used, or None; `text` is `original` normalised."""
    if not text:
        return "empty text"
    if corpus.english_only and not original.isascii():
        foreign = {c for c in unicodedata.normalize("NFC", original) if c.isalpha() and not c.isascii()}
        if foreign:
            return f"letters that are not English: {' '.join(sorted(foreign))}"
    return None
