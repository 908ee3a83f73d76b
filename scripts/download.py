#!/usr/bin/env python
"""Fetch one file: resumed where it was left, checked, and under its name only when it is whole.

The file and its urls are given by options, or, in the workflow, by the section `downloads` in $SPEECHLADDER_DOWNLOADS;
then it is kept in downloads.folder, and --out is a link to it.
"""

import argparse
import json
import os
from pathlib import Path

from speechladder import settings
from speechladder.command import script
from speechladder.io.errors import UserError
from speechladder.settings.options import DOWNLOADS


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", help="name of the file under downloads.files (default: that of --out)")
    parser.add_argument("--out", type=Path, required=True, help="where it is wanted")
    parser.add_argument(
        "--url", action="append", default=[], help="where it is: http(s)://, file:// or a path; again: a mirror"
    )
    parser.add_argument("--md5", help="its MD5")
    parser.add_argument("--sha256", help="its SHA-256")
    parser.add_argument("--bytes", help="its size")
    args = parser.parse_args()

    from speechladder.fetch.download import fetch, link

    name, checks = args.name or args.out.name, {"md5": args.md5, "sha256": args.sha256, "bytes": args.bytes}
    if args.url:
        files = {name: {"urls": args.url, **checks}}
        downloads = settings.load(
            {"downloads": {"folder": str(args.out.parent), "files": files}}, "the options"
        ).downloads
    elif DOWNLOADS in os.environ:
        downloads = settings.load({"downloads": json.loads(os.environ[DOWNLOADS])}, f"${DOWNLOADS}").downloads
    else:
        raise UserError("--url: is missing; name where the file is")
    if name not in downloads.files:
        raise UserError(
            f"--name: {name!r} is not under downloads.files; there are {', '.join(downloads.files) or 'none'}"
        )
    path = fetch(name, downloads.files[name], downloads)
    if path.absolute() != args.out.absolute():
        link(path, args.out)


if __name__ == "__main__":
    main()
