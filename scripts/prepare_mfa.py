#!/usr/bin/env python
"""The Montreal Forced Aligner's dictionary made complete for the words of the corpus -> the folder it is run with."""

import argparse
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="corpus/cuts.{shard}.jsonl.gz, all shards")
    parser.add_argument("--models", type=Path, required=True, help="folder alignment/mfa_models")
    parser.add_argument("--lexicon", type=Path, help="more pronunciations: WORD and its ARPAbet phones a line")
    parser.add_argument("--jobs", type=int, default=1, help="processes of MFA (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder alignment/mfa (mfa_dictionary before training)")
    args = parser.parse_args()

    from speechladder.alignment.mfa.prepare import prepare

    prepare(args.cuts, args.models, args.lexicon, args.out, args.jobs)


if __name__ == "__main__":
    main()
