#!/usr/bin/env python
"""The prompts of the continuation task and their true continuations: -> continuation/prompts.parquet."""

import argparse
from pathlib import Path

from speechladder.command import script
from speechladder.settings import Alignment, Continuation, add_options, from_options


@script
def main() -> None:
    """Parse, cut."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="cuts of a natural corpus; none: the world")
    parser.add_argument("--alignments", type=Path, nargs="*", default=[], help="alignment/{shard}.parquet of the cuts")
    parser.add_argument("--out", type=Path, required=True, help="continuation/prompts.parquet")
    parser.add_argument("--models", type=Path, help="alignment/mfa, for --aligner mfa on the world")
    parser.add_argument("--variability", type=int, default=3, help="which voices: 0 (one, flat) to 3 (many)")
    parser.add_argument("--seed", type=int, default=0)
    add_options(parser, Continuation)
    add_options(parser, Alignment)
    args = parser.parse_args()
    settings, alignment = from_options(args, Continuation), from_options(args, Alignment)

    from speechladder.continuation.prompts import build_prompts

    build_prompts(settings, alignment, args.variability, args.seed, args.out, args.cuts, args.alignments, args.models)


if __name__ == "__main__":
    main()
