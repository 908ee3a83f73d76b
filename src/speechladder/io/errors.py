"""The one exception for what a user can mend."""

import functools
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in the input or the configuration: the message names the file, the field and the fix."""


def script(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap a script's `main`: a UserError becomes one message on stderr and exit status 2, without a traceback."""

    @functools.wraps(main)
    def run() -> None:
        try:
            main()
        except UserError as error:
            print(f"{sys.argv[0].rsplit('/', 1)[-1]}: error: {error}", file=sys.stderr)  # noqa: T201
            sys.exit(2)

    return run
