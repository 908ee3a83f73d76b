"""A user's mistake as an error of Snakemake."""

import functools
from collections.abc import Callable
from typing import Any

from snakemake.exceptions import WorkflowError, print_exception

from speechladder.io.errors import UserError


class SpeechladderError(WorkflowError):
    """What a UserError says, for Snakemake to print alone.

    Snakemake adds the file and the line where an error was raised, which it takes from the traceback. Of a user's
    mistake that is a line of this workflow, which tells the user nothing.
    """

    __traceback__: Any = property(lambda self: None, lambda self, traceback: None)  # Python keeps its own


class PrintsAlone:
    """`inputs`, whose methods end Snakemake after a UserError that it prints alone.

    Snakemake puts rule, wildcards and traceback around every Exception of an input function; SystemExit passes.
    """

    def __init__(self, inputs: Any) -> None:
        self._inputs = inputs

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inputs, name)
        return prints_alone(found) if callable(found) else found


def prints_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for one function, and for a function that it returns."""

    @functools.wraps(function)  # Snakemake looks at its parameters
    def call(*args: Any, **named: Any) -> Any:
        try:
            found = function(*args, **named)
        except UserError as error:
            print_exception(SpeechladderError(str(error)))
            raise SystemExit(1) from None
        return prints_alone(found) if callable(found) else found

    return call
