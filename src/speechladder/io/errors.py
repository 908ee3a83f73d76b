"""The exception for a mistake that the user can correct, and the hint for a misspelt word."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the input or the configuration: the message names the file, the field and the fix."""


def suggestion(word: str, allowed: Iterable[str], cutoff: float = 0.4) -> str:
    """ "did you mean 'x'? " with the allowed word nearest to `word`; "" if none is near.

    `cutoff`: the least similarity, 0 to 1, of a word that is suggested.
    """
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}? " if near else ""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the error's class if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
