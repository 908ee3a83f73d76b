# What all rules share: the checked settings, the environment of the jobs, and inputs that many rules read.
import os

from snakemake_logger_plugin_speechladder import announce
from speechladder.fetch.download import downloads_folder
from speechladder.io.errors import UserError
from speechladder.io.processes import RUNNER, die_with_runner, runner
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.settings import untracked, version, versions
from speechladder.settings.causes import CORPORA
from speechladder.settings.options import DOWNLOADS
from speechladder.settings.points import CODEBOOKS, FRACTION, LAYERS, MODELS, SAMPLES
from speechladder.units.encoders.s3prl_environment import interpreter
from speechladder.workflow.caches import RUN, caches
from speechladder.workflow.config import checked
from speechladder.workflow.errors import PrintsAlone, SpeechladderError, prints_alone
from speechladder.workflow.rungs import silent_rungs, spoken_rungs
from speechladder.workflow.external import ExternalInputs
from speechladder.workflow.grids import QuestionInputs, ScalingInputs, SweepInputs
from speechladder.workflow.inputs import Inputs, exported, flags
from speechladder.workflow.lock import unlock
from speechladder.workflow.sources import audio_inputs
from speechladder.workflow.start import start
from speechladder.workflow.subruns import MADE, CausesInputs, synthesized_config, variability_config

die_with_runner()  # this run may itself be a job: rule variability_run starts runs of its own

CONDA = "CONDA" in {method.name for method in workflow.deployment_settings.deployment_method}
# Whether jobs compute here: no executor submits them (Snakemake then counts jobs, not cores), and this is no job of one.
COMPUTES = workflow.resource_settings.nodes is None and workflow.is_main_process and not CONDA

try:
    S = checked(config, HOME, COMPUTES)
except UserError as error:
    raise SpeechladderError(str(error)) from None

# The inputs of jobs (speechladder.workflow.inputs), those of the units sweep, of the scaling grid, of the causes of factor C,
# of the questions and of the models that others trained.
own = Inputs(S, HOME)
inputs, sweep, scaled, caused, questions, outside = map(
    PrintsAlone,
    (own, SweepInputs(own), ScalingInputs(own), CausesInputs(own), QuestionInputs(own), ExternalInputs(own)),
)

ENV = HOME / "envs" / "base.yaml"
# s3prl has an environment of its own for the jobs that open the encoder: Snakemake's, or another python.
UNITS_ENV = HOME / "envs" / "s3prl.yaml" if S.units.source == "s3prl" and not S.units.s3prl_python else ENV
# MFA has an environment of its own, in which every stage that aligns runs.
MFA = S.alignment.aligner == "mfa"
MFA_ENV = HOME / "envs" / "mfa.yaml"
ALIGNER_ENV = MFA_ENV if MFA else ENV
WORLD = S.corpus.name == "world"
EXTERNAL = S.units.source == "external"
FRAMES = not EXTERNAL and S.units.segments == "frame"  # the run makes a unit of each 50 Hz frame
SPOKEN = spoken_rungs(S)
if silent_rungs(S):
    logger.warning(
        f"{', '.join(silent_rungs(S))}: no continuation, since vocoders speak one unit for each 50 Hz frame and these units are "
        f"{'those in units.path' if EXTERNAL else f'segments ({S.units.segments})'}. Their cells in the table stay empty "
        "(docs/your-tokenizer.md, docs/units.md)"
    )
SHARDS = inputs.shards
CUTS = expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS)
ALIGNMENT = expand("results/alignment/{shard}.parquet", shard=SHARDS)
ITEMS = expand("results/benchmarks/{task}/items.parquet", task=TASKS)
# The same for a command line: one word that bash expands.
CUTS_WORD = inputs.over_shards("results/corpus/cuts.{shard}.jsonl.gz")
ALIGNMENT_WORD = inputs.over_shards("results/alignment/{shard}.parquet")
# The audio that the synthesizer spoke, shard by shard, or the tars and unpacked folders of a downloaded corpus, which are only waited for: a
# tar that was touched holds the same speech. Other speech is read in place.
SHARD_AUDIO = "results/corpus/audio/{shard}" if S.corpus.is_synthesized else list(map(ancient, audio_inputs(S)))
AUDIO = expand("results/corpus/audio/{shard}", shard=SHARDS) if S.corpus.is_synthesized else SHARD_AUDIO
# The alignment of a natural corpus waits for the audit, which fails if too much of the corpus is missing.
AUDIT = [] if WORLD else ancient("results/corpus/audit.json")
PROMPTS = "results/continuation/prompts.parquet"
ALIGNER_MODELS = "results/alignment/mfa" if MFA else []
# The split of sLM21 that table.csv has.
SPLIT = f"--split {S.benchmarks.slm21_splits[0]}" if S.benchmarks.slm21 else ""

# Jobs use the interpreter of the environment also when snakemake was started by its path; a conda environment, which is
# activated after this, still comes first. Threads that spin instead of sleeping cost a shared machine a factor of sixteen.
shell.executable("bash")
EXPORTS = {
    "PYTHONPATH": HOME / "src",
    "SCRIPTS": HOME / "scripts",
    "UNITS_PYTHON": interpreter(S.units, HOME, CONDA),
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": 1,
    "PYTHONUNBUFFERED": 1,
    RUNNER: runner(),
    **untracked(S),
}
# Not in the commands, since Snakemake prints a command that fails: an address may hold a password.
os.environ[DOWNLOADS] = EXPORTS.pop(DOWNLOADS)
os.environ.update(caches(RUN.resolve(), downloads_folder(S.downloads).resolve()))
# When a job is stopped (scancel, preemption, the end of its time), all its processes get SIGTERM. The shell and tee ignore it
# until the stage has ended, because SLURM kills the rest of a job whose shell is gone, and a training still writes its checkpoint.
shell.prefix(
    'set -euo pipefail; trap : TERM; tee() (trap "" TERM; exec tee "$@"); '
    f'export {exported({"PATH": Path(sys.executable).parent})}:"$PATH" {exported(EXPORTS)}; '
)


LOCK = ".snakemake/speechladder.lock"
if "--unlock" in sys.argv:
    try:
        unlock(LOCK)
    except UserError as error:
        raise SpeechladderError(str(error)) from None


onstart:
    try:
        dag = workflow.dag_settings
        start(S, HOME, CONDA, LOCK, replace=dag.forceall or "build_corpus" in dag.forcerun)
        announce(workflow, S, log)
    except UserError as error:
        raise SpeechladderError(str(error)) from None


wildcard_constraints:
    shard=r"\d+",
    seed=r"\d+",
    task="|".join(TASKS),
    rung="|".join(dict.fromkeys([*S.rungs, *sweep.rungs, *caused.rungs, *questions.rungs])),
