#!/usr/bin/env python
"""Transcribe the recordings of Topic-StoryCloze: -> benchmarks/topic/transcripts.jsonl."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from speechladder.command import script
from speechladder.settings import Continuation, add_options, from_options


@script
def main() -> None:
    """Parse, transcribe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storycloze", required=True, type=Path, help="Topic-StoryCloze, a folder, .zip or .tar")
    parser.add_argument("--asr-folder", nargs="?", type=Path, help="continuation/asr, of the asr `pocketsphinx`")
    parser.add_argument("--out", required=True, type=Path, help="benchmarks/topic/transcripts.jsonl")
    add_options(parser, Continuation)
    args = parser.parse_args()
    settings = from_options(args, Continuation)

    from speechladder.continuation import asr
    from speechladder.continuation.transcribe import asr_name, transcribe_stories

    transcribe_stories(args.storycloze, asr.load(settings, args.asr_folder), asr_name(settings), args.out)


if __name__ == "__main__":
    main()
