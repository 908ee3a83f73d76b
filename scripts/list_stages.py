#!/usr/bin/env python
"""List the stages of a run: the rules, the files that each makes (targets to ask for) and the rules that it needs. Runs
nothing. Other words go to snakemake: python scripts/list_stages.py --configfile presets/smoke.yaml (docs/stages.md)."""

import argparse

from speechladder.command import script
from speechladder.workflow.listing import stages, table
from speechladder.workflow.presets import preset_file


@script
def main() -> None:
    """Parse, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", help="a file of presets/, without .yaml")
    args, words = parser.parse_known_args()
    preset = ["--configfile", str(preset_file(args.preset))] if args.preset else []
    print(table(stages([*preset, *words])))


if __name__ == "__main__":
    main()
