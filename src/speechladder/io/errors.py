"""The one exception for what a user can mend."""

import functools
import resource
import sys
from collections.abc import Callable

WORTH_SAYING = 100  # MB


class UserError(Exception):
    """A mistake in the input or the configuration: the message names the file, the field and the fix."""


def script(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap a script's `main`.

    A UserError becomes one message on stderr and exit status 2, without a traceback; and the script does not outlive
    the snakemake that started it. At the end stderr has the peak of its resident memory, which Snakemake's samples may
    miss (children apart); small ones are not worth the line.
    """

    @functools.wraps(main)
    def run() -> None:
        from speechladder.io.lifetime import die_with_runner

        die_with_runner()
        try:
            main()
        except UserError as error:
            print(f"{sys.argv[0].rsplit('/', 1)[-1]}: error: {error}", file=sys.stderr)  # noqa: T201
            sys.exit(2)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
        if peak >= WORTH_SAYING:
            print(f"peak memory {peak:.0f} MB", file=sys.stderr)  # noqa: T201

    return run
