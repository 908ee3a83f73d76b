#!/usr/bin/env python
"""Unpack a tar or zip, whole or not at all; what may not be written is listed.

With --kept, or downloads.folder in $SPEECHLADDER_DOWNLOADS, it is unpacked there, once, and --out is a link to it.
"""

import argparse
import os
from pathlib import Path

from speechladder import settings
from speechladder.command import script
from speechladder.settings.options import DOWNLOADS


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help=".tar, .tar.gz, .tar.bz2, .tar.xz or .zip")
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    parser.add_argument("--rejected", type=Path, required=True, help="JSON lines of the members left out, with reasons")
    parser.add_argument("--kept", type=Path, help="where it is really unpacked")
    args = parser.parse_args()

    from speechladder.fetch.archives import unpack, unpack_once
    from speechladder.fetch.download import folder_of

    kept = args.kept
    if kept is None and DOWNLOADS in os.environ:
        downloads = settings.Downloads.model_validate_json(os.environ[DOWNLOADS])
        kept = folder_of(downloads) / "unpacked" / args.out.name
    if kept is None:
        unpack(args.archive, args.out, args.rejected)
    else:
        unpack_once(args.archive, kept, args.out, args.rejected)


if __name__ == "__main__":
    main()
