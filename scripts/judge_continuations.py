"""Judge what all rungs said, in one process: -> continuation/judged.parquet and continuation/quality.json."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from speechladder.command import script
from speechladder.settings import Continuation, add_options, from_options


@script
def main() -> None:
    """Parse, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rungs", nargs="+", required=True, help="rungs that went on speaking")
    parser.add_argument(
        "--heard", nargs="+", required=True, type=Path, help="continuation/{rung}/heard.parquet, same order"
    )
    parser.add_argument("--prompts-file", required=True, type=Path, help="continuation/prompts.parquet")
    parser.add_argument("--reference", required=True, type=Path, help="continuation/reference.parquet")
    parser.add_argument("--judge-folder", nargs="?", type=Path, help="continuation/judge, of the judge `run`")
    parser.add_argument("--out", required=True, type=Path, help="continuation/judged.parquet to write")
    parser.add_argument("--quality", required=True, type=Path, help="continuation/quality.json to write")
    parser.add_argument("--seed", type=int, default=0, help="the run's seed, for the floor. Default: 0")
    add_options(parser, Continuation)
    args = parser.parse_args()
    settings = from_options(args, Continuation)
    if len(args.rungs) != len(args.heard):
        parser.error("--rungs and --heard belong together, one of each per rung")
    from speechladder.continuation.asr import normaliser
    from speechladder.continuation.asr.text import wer
    from speechladder.continuation.judge.table import judge_continuations

    heard = dict(zip(args.rungs, args.heard))
    judge_continuations(
        heard,
        args.prompts_file,
        args.reference,
        args.judge_folder,
        args.out,
        args.quality,
        settings,
        args.seed,
        normaliser(settings),
        wer,
    )


if __name__ == "__main__":
    main()
