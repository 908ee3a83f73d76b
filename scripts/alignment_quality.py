#!/usr/bin/env python
"""How good the alignment is: alignment/quality.json of a run, or PocketSphinx against a folder of TextGrids."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from speechladder import settings
from speechladder.command import script
from speechladder.io.errors import UserError
from speechladder.io.files import write_json


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the figures, as JSON")
    run = parser.add_argument_group("a run", "against the truth where there is one")
    for name, what in (
        ("cuts", "corpus/cuts.*.jsonl.gz"),
        ("truth", "corpus/truth.*.parquet (world)"),
        ("alignment", "alignment/*.parquet"),
        ("rejected", "alignment/rejected.*.jsonl"),
    ):
        run.add_argument(f"--{name}", type=Path, nargs="*", default=[], metavar="FILE", help=what)
    folder = parser.add_argument_group("a folder", "against TextGrids, in place of a run")
    folder.add_argument("--reference", type=Path, metavar="DIR", help="folder with the TextGrids")
    folder.add_argument("--audio", type=Path, metavar="DIR", help="folder with .wav or .flac of the same names")
    folder.add_argument("--text", type=Path, metavar="FILE", help="lines name|text; else name.lab beside the audio")
    folder.add_argument("--pattern", default="*.TextGrid", help="which TextGrids (%(default)s)")
    settings.add_options(parser, settings.Alignment)
    args = parser.parse_args()
    if not args.cuts and not (args.reference and args.audio):
        raise UserError("give --cuts and --alignment of a run, or --reference and --audio")

    from speechladder.alignment import quality

    section = settings.from_options(args, settings.Alignment)
    if args.reference:
        figures = quality.compare_textgrids(
            args.reference, args.audio, args.text, quality.Aligner(section.beam), args.pattern
        )
    else:
        figures = quality.alignment_quality(args.cuts, args.truth, args.alignment, args.rejected, section)
    write_json(args.out, figures)


if __name__ == "__main__":
    main()
