"""The exception for a mistake that the user can correct, and what several messages share."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


class UserError(Exception):
    """A mistake in the input or the configuration: the message names the file, the field and the fix."""


def paired(**options: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The values of several options side by side: the files of each shard together, one of every option.

    Raise UserError that names the options if one has more values than another.
    """
    names = [f"--{name.replace('_', '-')}" for name in options]
    counts = [len(values) for values in options.values()]
    if len(set(counts)) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in zip(names, counts))
        raise UserError(f"{names[0]} needs {' and '.join(names[1:])} of the same shards, in the same order; {said}")
    return zip(*options.values(), strict=True)


def suggestion(word: str, allowed: Iterable[str], cutoff: float = 0.4) -> str:
    """ "did you mean 'x'? " with the allowed word nearest to `word`; "" if none is near.

    `cutoff`: the least similarity, 0 to 1, of a word that is suggested.
    """
    words = {each.lower(): each for each in allowed}
    near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=cutoff)
    return f"did you mean {words[near[0]]!r}? " if near else ""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the error's class if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
