"""Hear what the models of one rung said: -> continuation/{rung}/heard.parquet and a folder of examples."""

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
    parser.add_argument("--rung", required=True)
    parser.add_argument("--tokens", required=True, type=Path, help="continuation/{rung}/tokens.parquet")
    parser.add_argument("--prompts-file", required=True, type=Path, help="continuation/prompts.parquet")
    parser.add_argument("--asr-folder", nargs="?", type=Path, help="continuation/asr, of the asr `pocketsphinx`")
    parser.add_argument("--vocoder-folder", nargs="?", type=Path, help="continuation/vocoder, of the vocoder `run`")
    parser.add_argument("--cuts", nargs="*", default=[], type=Path, help="corpus/cuts.{shard}.jsonl.gz: the lexicon")
    parser.add_argument("--alignments", nargs="*", default=[], type=Path, help="alignment/{shard}.parquet: the same")
    parser.add_argument("--clusters", type=int, help="units.clusters, which the vocoder must have")
    parser.add_argument("--out", required=True, type=Path, help="continuation/{rung}/heard.parquet")
    parser.add_argument("--examples-out", required=True, type=Path, help="folder of FLACs and transcripts.json")
    parser.add_argument("--seed", type=int, default=0, help="seed of the voice's noise; default: 0")
    add_options(parser, Continuation)
    args = parser.parse_args()
    settings = from_options(args, Continuation)
    from speechladder.continuation import asr
    from speechladder.continuation.hear import corpus_lexicon, hear_rung
    from speechladder.rungs import registry

    heard, vocoder, lexicon = registry.get(args.rung).heard or "", None, None
    if heard.startswith("unit"):
        from speechladder.continuation.vocoder.load import load

        vocoder = load(args.vocoder_folder if settings.vocoder == "run" else settings.vocoder, args.clusters)
    if heard.startswith("phone") and args.cuts:
        lexicon = corpus_lexicon(args.cuts, args.alignments)
    hear_rung(
        args.rung,
        args.tokens,
        args.prompts_file,
        asr.load(settings, args.asr_folder),
        vocoder,
        lexicon,
        args.out,
        args.examples_out,
        settings,
        args.seed,
    )


if __name__ == "__main__":
    main()
