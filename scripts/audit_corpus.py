#!/usr/bin/env python
"""Hold a corpus against the disk: what each shard kept and left out -> corpus/audit.json and corpus/audit.tsv."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechladder import settings
from speechladder.command import script


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=Path, nargs="+", required=True, help="corpus/cuts.{shard}.jsonl.gz, all shards")
    parser.add_argument(
        "--rejected", type=Path, nargs="+", required=True, help="corpus/rejected.{shard}.jsonl, likewise"
    )
    parser.add_argument("--manifest", type=Path, help="corpus/manifest, where the corpus has manifests")
    parser.add_argument("--out", type=Path, required=True, help="audit.json, the counts")
    parser.add_argument("--list", type=Path, required=True, help="audit.tsv: id, reason and source of each left out")
    settings.add_max_rejected(parser)
    args = parser.parse_args()

    from speechladder.corpora.audit import as_text, audit

    figures = audit(args.cuts, args.rejected, args.out, args.list, args.max_rejected, args.manifest)
    print(as_text(figures))


if __name__ == "__main__":
    main()
