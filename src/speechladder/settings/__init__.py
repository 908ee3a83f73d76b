"""Every setting of a run, with its default, its bounds and its meaning: the one source.

`config.yaml`, the JSON schema and `docs/configuration.md` are generated from the models
(`scripts/make_config_docs.py`), the Snakefile validates the user's configuration with `load`, and each script gets its
command-line options from `add_options`, so that a stage run by hand and a stage run by Snakemake read the same names.
"""

from speechladder.settings.lm import DIMENSIONS, EXECUTION_FIELDS, LM, MODELS
from speechladder.settings.loading import load
from speechladder.settings.models import (
    CORPORA,
    PAPER_RUNGS,
    TASKS,
    VERSIONS,
    WORLD_HOURS,
    Alignment,
    Analysis,
    Benchmarks,
    Continuation,
    Corpus,
    Download,
    Downloads,
    Scores,
    Settings,
    Sweep,
    Tokens,
    Units,
    rung_names,
)
from speechladder.settings.options import add_max_rejected, add_options, as_options, from_options, untracked
from speechladder.settings.points import Point
from speechladder.settings.scaling import Scaling
from speechladder.settings.section import Section

__all__ = [
    "CORPORA",
    "DIMENSIONS",
    "EXECUTION_FIELDS",
    "LM",
    "MODELS",
    "PAPER_RUNGS",
    "TASKS",
    "VERSIONS",
    "WORLD_HOURS",
    "Alignment",
    "Analysis",
    "Benchmarks",
    "Continuation",
    "Corpus",
    "Download",
    "Downloads",
    "Point",
    "Scaling",
    "Scores",
    "Section",
    "Settings",
    "Sweep",
    "Tokens",
    "Units",
    "add_max_rejected",
    "add_options",
    "as_options",
    "from_options",
    "load",
    "rung_names",
    "untracked",
]
