#!/usr/bin/env python
"""Where the files of an uncompressed tar lie, so that each can be read without unpacking any."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True, help="the tar")
    parser.add_argument("--out", type=Path, required=True, help="a table: member, offset, size")
    parser.add_argument("--rejected", type=Path, required=True, help="JSON lines of the members left out, with reasons")
    args = parser.parse_args()

    from speechladder.fetch.archives import write_index

    write_index(args.archive, args.out, args.rejected)


if __name__ == "__main__":
    main()
