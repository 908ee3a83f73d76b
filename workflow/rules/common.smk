# Shared by all stages - the checked settings, and inputs that depend on the corpus.
import os
import shlex

from speechladder.io.errors import UserError
from speechladder.io.lifetime import RUNNER, hold_lock
from speechladder.settings import TASKS, VERSIONS, as_options, untracked
from speechladder.workflow import checked, dial_config

try:
    S = checked(config, HOME)
except UserError as error:
    raise WorkflowError(str(error)) from None

ENV = HOME / "envs" / "base.yaml"
SHARDS = [str(n) for n in range(S.corpus.shards)]
WORLD = S.corpus.name == "world"

# The environment's own interpreter also when snakemake was started by its path; a conda environment, which is activated
# after this, still comes first. Threads that spin instead of sleeping cost a shared machine a factor of sixteen.
shell.executable("bash")
EXPORTS = {
    "PYTHONPATH": HOME / "src",
    "SCRIPTS": HOME / "scripts",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": 1,
    "PYTHONUNBUFFERED": 1,
    RUNNER: os.getpid(),
    **untracked(S),
}
shell.prefix(
    f'set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH" '
    + " ".join(f"{name}={shlex.quote(str(value))}" for name, value in EXPORTS.items())
    + "; "
)


def start():
    """Keep a second run out of this folder, until this one ends in whatever way."""
    try:
        hold_lock(".snakemake/speechladder.lock")
    except UserError as error:
        raise WorkflowError(str(error)) from None


def transcripts(wildcards):
    """The transcripts of a local corpus: a changed one makes the cuts anew."""
    return sorted(map(str, Path(S.corpus.path).rglob("*.trans.txt")))


def truth(wildcards):
    """The synthesizer's own times; a natural corpus has none."""
    return f"results/corpus/truth.{wildcards.shard}.parquet" if WORLD else []


def vocabulary(wildcards):
    """sWUGGY words of a natural corpus come from its own training text; the world has a lexicon."""
    own = not WORLD and wildcards.task == "swuggy" and not S.benchmarks.swuggy
    return expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS) if own else []


def encoder_files(wildcards):
    """The encoder's weights where they lie on disk: other weights, other units."""
    folder = (
        HOME / "src/speechladder/assets/hubert-micro" if S.units.encoder == "hubert-micro" else Path(S.units.encoder)
    )
    return sorted(map(str, folder.glob("*.safetensors"))) if folder.is_dir() else []


def pairs_files(wildcards):
    """The user's own pairs files for a task, if any."""
    return getattr(S.benchmarks, wildcards.task)


def dial_words(wildcards):
    """The --config words of one run of the dial."""
    return dial_config(S, int(wildcards.dial))


onstart:
    start()


wildcard_constraints:
    shard=r"\d+",
    seed=r"\d+",
    task="|".join(TASKS),
    rung="|".join(S.rungs),
