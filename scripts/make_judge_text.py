#!/usr/bin/env python
"""Text that the run's own judge is trained on: -> a folder with train.txt and valid.txt, a document per line."""

import argparse
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Continuation, add_options, from_options


@script
def main() -> None:
    """Parse, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts-file", type=Path, required=True, help="continuation/prompts.parquet")
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="plain text, .txt or .txt.gz")
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="without files: transcripts; none: the world")
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    parser.add_argument("--seed", type=int, default=0)
    add_options(parser, Continuation)
    args = parser.parse_args()
    settings = from_options(args, Continuation)

    from speechladder.continuation.judge_text import write_judge_text

    write_judge_text(settings, args.seed, args.files, args.cuts, args.prompts_file, args.out)


if __name__ == "__main__":
    main()
