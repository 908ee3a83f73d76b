"""Every setting of a run, with its default, its bounds and its meaning.

`config/config.yaml`, the JSON schema and `docs/configuration.md` are generated from the models
(`scripts/make_config_docs.py`). The workflow validates the user's configuration with `load`. Each script gets its
command-line options from `add_options`, so that a stage run by hand and a stage run by Snakemake read the same names.
Which stage reads which setting is listed in `STAGES`.
"""

from speechladder.settings.benchmarks import Analysis, Benchmarks, Scores
from speechladder.settings.causes import Causes
from speechladder.settings.continuation import Continuation
from speechladder.settings.corpus import CORPORA, WORLD_HOURS, Alignment, Corpus, Download, Downloads
from speechladder.settings.diagnosis import Diagnosis
from speechladder.settings.external import External, ExternalModel
from speechladder.settings.lm import DIMENSIONS, EXECUTION_FIELDS, LM, MODELS
from speechladder.settings.loading import load
from speechladder.settings.options import add_max_rejected, add_options, as_options, from_options, tracked, untracked
from speechladder.settings.points import Point, at, own, where
from speechladder.settings.questions import ARMS, Questions
from speechladder.settings.run import Settings
from speechladder.settings.scaling import Scaling
from speechladder.settings.section import Section
from speechladder.settings.stages import STAGES, options, version, versions
from speechladder.settings.sweep import Sweep
from speechladder.settings.tokens import PAPER_RUNGS, Tokens
from speechladder.settings.units import Units

__all__ = [
    "ARMS",
    "CORPORA",
    "DIMENSIONS",
    "EXECUTION_FIELDS",
    "LM",
    "MODELS",
    "PAPER_RUNGS",
    "STAGES",
    "WORLD_HOURS",
    "Alignment",
    "Analysis",
    "Benchmarks",
    "Causes",
    "Continuation",
    "Corpus",
    "Diagnosis",
    "Download",
    "Downloads",
    "External",
    "ExternalModel",
    "Point",
    "Questions",
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
    "at",
    "from_options",
    "load",
    "options",
    "own",
    "tracked",
    "untracked",
    "version",
    "versions",
    "where",
]
