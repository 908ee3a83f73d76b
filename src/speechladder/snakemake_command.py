"""The `snakemake` command of this environment: Snakemake's own, with targets allowed behind `--config key=value`.

Snakemake's option takes any number of words: `snakemake --config corpus='{path: X}' results/table.csv` reads
the target as one more (broken) setting. A setting always holds '=', a target of ours never does: that tells them apart.
"""

import os
import sys


def targets_last(argv: list[str]) -> list[str]:
    """Move words without '=' out of the values of --config, behind a closing '--'.

    >>> targets_last(["--cores", "2", "--config", "a=1", "b={c: 2}", "results/table.csv"])
    ['--cores', '2', '--config', 'a=1', 'b={c: 2}', '--', 'results/table.csv']
    """
    if "--" in argv:
        return argv
    kept, targets, inside = [], [], False
    for word in argv:
        if word.startswith("-"):
            inside = word in ("--config", "-C")
        if inside and not word.startswith("-") and "=" not in word:
            targets.append(word)
        else:
            kept.append(word)
    return [*kept, "--", *targets] if targets else argv


def main() -> None:
    """Run Snakemake."""
    from snakemake.cli import main as snakemake

    from speechladder.io.processes import die_with_runner
    from speechladder.workflow.caches import of_snakemake

    os.environ.update(of_snakemake(sys.argv[1:]))
    die_with_runner()  # the runs of the dial are started by a run
    # the Snakefile imports the package of its own checkout, which need not be the one that is installed
    for name in [m for m in sys.modules if m.split(".")[0] == "speechladder"]:
        del sys.modules[name]

    snakemake(targets_last(sys.argv[1:]))
