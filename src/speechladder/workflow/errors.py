"""A user's mistake as an error of Snakemake."""

from typing import Any

from snakemake.exceptions import WorkflowError


class SpeechladderError(WorkflowError):
    """What a UserError says, for Snakemake to print alone.

    Snakemake adds the file and the line where an error was raised, which it takes from the traceback. Of a user's
    mistake that is a line of this workflow, which tells the user nothing.
    """

    __traceback__: Any = property(lambda self: None, lambda self, traceback: None)  # Python keeps its own
