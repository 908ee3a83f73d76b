#!/usr/bin/env python
"""What a run would take, before anything is spent: jobs, hours of speech, disk, CPU-hours and GPU-hours of each stage.

Jobs are those that `snakemake -n` counts, so that of a half-finished run the rest is planned. Each figure says on what
it rests; the rates are in benchmarks/rates.json.

    python scripts/plan.py --preset paper
    python scripts/plan.py --preset librispeech-100 --gpus 1 --gpu A100-80GB --config corpus='{hours: 50}'
"""

import argparse
import json
import os
import sys
from pathlib import Path

from speechladder.command import script


@script
def main() -> None:
    """Parse, plan, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", action="append", default=[], help="name or file; later ones go over earlier ones")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as snakemake's")
    parser.add_argument("--directory", type=Path, help="where the run's results are, as snakemake's")
    parser.add_argument("--target", default="results/table.csv", help="default: %(default)s")
    parser.add_argument("--cpus", type=int, help="cores; default: the preset's machine, else this one's")
    parser.add_argument("--gpus", type=int, help="likewise")
    parser.add_argument("--gpu", help="a name under 'gpus' of the rates, such as A100-80GB")
    parser.add_argument("--rates", type=Path, help="in place of benchmarks/rates.json")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()

    from speechladder.plan import inputs
    from speechladder.plan.rates import FILE, Rates
    from speechladder.plan.report import plan_run
    from speechladder.plan.table import as_json, as_text

    files = [inputs.preset(name).resolve() for name in args.preset]
    rates = Rates.load(args.rates or FILE)
    machine = inputs.machine(files[-1] if files else None, rates, args.cpus, args.gpus, args.gpu)
    if args.directory:
        args.directory.mkdir(parents=True, exist_ok=True)
        os.chdir(args.directory)
    report = plan_run(files, args.config, rates, machine, args.target)
    try:
        print(json.dumps(as_json(report), indent=2) if args.json else as_text(report), flush=True)
    except BrokenPipeError:  # of `| head`; Python would try again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
