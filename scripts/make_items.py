#!/usr/bin/env python
"""Items of one task: pairs generated, read from files or official, spoken, with words and phones in time."""

import argparse
from pathlib import Path

from speechladder.command import script
from speechladder.settings import TASKS, Alignment, Benchmarks, add_max_rejected, add_options, from_options


@script
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--pairs", type=Path, nargs="*", default=[], help="pairs files in place of generated pairs")
    parser.add_argument("--cuts", type=Path, nargs="*", default=[], help="cuts whose training words are sWUGGY's words")
    parser.add_argument("--durations", type=Path, help="alignment/durations.json, for official benchmarks")
    parser.add_argument("--transcripts", type=Path, help="benchmarks/topic/transcripts.jsonl, for --storycloze")
    parser.add_argument("--models", type=Path, help="alignment/mfa, for --aligner mfa")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the aligner; default: 1")
    parser.add_argument("--out", type=Path, required=True, help="benchmarks/{task}/items.parquet")
    parser.add_argument("--rejected", type=Path, required=True, help="JSON lines of what was left out, with reasons")
    parser.add_argument("--about", type=Path, help="JSON: where the items are from, and how they were made")
    parser.add_argument("--variability", type=int, default=3, help="which voices: 0 (one, flat) to 3 (many)")
    add_max_rejected(parser)
    parser.add_argument("--seed", type=int, default=0)
    add_options(parser, Benchmarks)
    add_options(parser, Alignment)
    args = parser.parse_args()
    settings, alignment = from_options(args, Benchmarks), from_options(args, Alignment)

    from speechladder.benchmarks.items import Sources, Speaker, build_items

    build_items(
        task=args.task,
        settings=settings,
        speaker=Speaker(alignment, work=args.out.parent, models=args.models, jobs=args.jobs),
        variability=args.variability,
        seed=args.seed,
        out=args.out,
        rejected=args.rejected,
        max_rejected=args.max_rejected,
        sources=Sources(args.pairs, args.cuts, args.durations, args.transcripts),
        about=args.about,
    )


if __name__ == "__main__":
    main()
