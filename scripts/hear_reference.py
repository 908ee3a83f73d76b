"""Hear the true continuations, natural, spoken from text and vocoded: -> continuation/reference.parquet."""

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
    """Parse, hear."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts-file", required=True, type=Path, help="continuation/prompts.parquet")
    parser.add_argument("--units", nargs="?", type=Path, help="continuation/units.parquet, for the resynthesis")
    parser.add_argument("--asr-folder", nargs="?", type=Path, help="continuation/asr, of the asr `pocketsphinx`")
    parser.add_argument("--vocoder-folder", nargs="?", type=Path, help="continuation/vocoder; none: no resynthesis")
    parser.add_argument("--clusters", type=int, help="units.clusters, which the vocoder must have")
    parser.add_argument("--out", required=True, type=Path, help="continuation/reference.parquet")
    parser.add_argument("--seed", type=int, default=0, help="seed of the voice's noise; default: 0")
    add_options(parser, Continuation)
    args = parser.parse_args()
    settings = from_options(args, Continuation)
    from speechladder.continuation import asr
    from speechladder.continuation.hear import hear_reference

    given = args.vocoder_folder if settings.vocoder == "run" else settings.vocoder
    vocoder = None
    if given and args.units:
        from speechladder.continuation.vocoder.load import load

        vocoder = load(given, args.clusters)
    hear_reference(args.prompts_file, asr.load(settings, args.asr_folder), vocoder, args.units, args.out, args.seed)


if __name__ == "__main__":
    main()
