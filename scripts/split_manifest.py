#!/usr/bin/env python
"""Deal the cuts of a corpus's manifests to its shards -> corpus/manifest/, within corpus.hours."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechladder import settings
from speechladder.command import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, nargs="+", required=True, help="the manifests (.jsonl.gz, .jsonl)")
    parser.add_argument("--out", type=Path, required=True, help="corpus/manifest, a folder")
    settings.add_options(parser, settings.Corpus)
    args = parser.parse_args()

    from speechladder.corpora.dealing import split_manifests

    summary = split_manifests(args.files, settings.from_options(args, settings.Corpus), args.out)
    for split, row in summary["after"].items():
        print(f"{split}: {row['utterances']:,} utterances, {row['hours']:,.1f} h, {row['speakers']:,} speakers")


if __name__ == "__main__":
    main()
