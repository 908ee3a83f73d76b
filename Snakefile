"""speechladder: downloads -> corpus -> alignment -> units -> rungs -> lm -> benchmarks -> table. Usage: README.md."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# Code, presets and assets are found from here, so that `--directory OTHER` moves only results/.
HOME = Path(workflow.basedir)
sys.path.insert(0, str(HOME / "src"))


configfile: HOME / "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/downloads.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/alignment.smk"
include: "workflow/rules/units_common.smk"
include: "workflow/rules/given_units.smk" if S.units.source == "given" else "workflow/rules/units.smk"
include: "workflow/rules/to_encode.smk"
include: "workflow/rules/rungs.smk"
include: "workflow/rules/lm.smk"
include: "workflow/rules/benchmarks.smk"
include: "workflow/rules/continuation.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/variability.smk"
include: "workflow/rules/scaling.smk"


if S.units.source != "given":

    include: "workflow/rules/sweep_common.smk"
    include: "workflow/rules/units_sweep.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        "results/table.csv",
