# Shared by all stages - the checked settings, and inputs that depend on the corpus.
import functools
import os
import shlex

from speechladder.alignment.mfa import check_mfa
from speechladder.workflow.leftovers import cancel_leftovers
from speechladder.corpora.local import audio_state, transcripts
from speechladder.workflow.caches import RUN, caches
from speechladder.fetch.download import check_room, folder_of
from speechladder.io.errors import UserError
from speechladder.io.processes import RUNNER, die_with_runner, runner
from speechladder.workflow.lock import hold_lock, unlock
from speechladder.workflow.sources import audio_inputs, missing
from speechladder.settings import TASKS, VERSIONS, Point, Units, as_options, untracked
from speechladder.settings.options import DOWNLOADS
from speechladder.units.encoders.s3prl_environment import check_s3prl, interpreter, split_encoder
from speechladder.workflow.config import (
    asr_options,
    check_hubs,
    check_sweep,
    checked,
    continuation_options,
    dial_config,
    hearing_options,
    item_options,
    judge_options,
    reads_units,
    recordings,
    spoken_rungs,
    token_options,
    units_are_heard,
)

die_with_runner()  # this run may itself be a job: rule variability_run starts runs of its own

try:
    S = checked(config, HOME)
except UserError as error:
    raise WorkflowError(str(error)) from None

ENV = HOME / "envs" / "base.yaml"
CONDA = "CONDA" in {method.name for method in workflow.deployment_settings.deployment_method}
# s3prl has an environment of its own, for the jobs that open the encoder: by Snakemake's hand, or by another python.
S3PRL = S.units.source == "s3prl"
UNITS_ENV = HOME / "envs" / "s3prl.yaml" if S3PRL and not S.units.s3prl_python else ENV
SHARDS = [str(n) for n in range(S.corpus.shards)]
WORLD = S.corpus.name == "world"
AUDIO = list(map(ancient, audio_inputs(S)))
# What stands before the alignment of a natural corpus: a report that fails where too much is missing.
AUDIT = [] if WORLD else ancient("results/corpus/audit.json")

# The environment's own interpreter also when snakemake was started by its path; a conda environment, which is activated
# after this, still comes first. Threads that spin instead of sleeping cost a shared machine a factor of sixteen.
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
# in no command, since Snakemake shows one that fails: an address may hold a password
os.environ[DOWNLOADS] = EXPORTS.pop(DOWNLOADS)
os.environ.update(caches(RUN.resolve(), folder_of(S.downloads).resolve()))
# A job that is stopped (scancel, preemption, the end of its time) gets SIGTERM in all its processes: shell and tee stay until
# the stage has ended, since SLURM kills what is left of a job whose shell is gone, and a training is writing its checkpoint.
shell.prefix(
    'set -euo pipefail; trap : TERM; tee() (trap "" TERM; exec tee "$@"); '
    f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH" '
    + " ".join(f"{name}={shlex.quote(str(value))}" for name, value in EXPORTS.items())
    + "; "
)


LOCK = ".snakemake/speechladder.lock"
if "--unlock" in sys.argv:
    try:
        unlock(LOCK)
    except UserError as error:
        raise WorkflowError(str(error)) from None


def start():
    """Keep a second run out of this folder, until this one ends in whatever way; no job without its model, no download
    without room for it, no job of a run that is gone."""
    try:
        check_hubs(S)
        check_mfa(S.alignment, conda=CONDA)
        check_s3prl(S.units, HOME, conda=CONDA)
        check_room(missing(S), S.downloads)
        hold_lock(LOCK)
        cancel_leftovers(Path.cwd())
    except UserError as error:
        raise WorkflowError(str(error)) from None


def over_shards(pattern):
    """The files of all shards as bash writes them, results/x.{0..999}, for `params`: a thousand paths would not fit a
    command line (bash -c takes 128 KB). A function, since Snakemake would take the braces for a wildcard."""
    text = pattern.replace("{}", f"{{0..{S.corpus.shards - 1}}}" if S.corpus.shards > 1 else "0")
    return lambda wildcards: text


def corpus_transcripts(wildcards):
    """The transcripts of a local corpus: a changed one makes the cuts anew."""
    return list(map(str, transcripts(Path(S.corpus.path))))


def corpus_speech(wildcards):
    """The transcripts of a local corpus, or the unpacked folders of LibriSpeech."""
    return corpus_transcripts(wildcards) if S.corpus.name == "local" else audio_inputs(S)


@functools.cache
def corpus_audio():
    """A digest of a local corpus's audio files, too many to be inputs: a changed one makes the cuts anew."""
    return audio_state(Path(S.corpus.path))


def audio(shards):
    """The audio of the world's shards, or the tars and unpacked folders of a downloaded corpus; other speech is read in
    place. Those are only awaited: a tar that was touched is no other speech."""
    return expand("results/corpus/audio/{shard}", shard=shards) if WORLD else AUDIO


def truth(wildcards):
    """The synthesizer's own times; a natural corpus has none."""
    return f"results/corpus/truth.{wildcards.shard}.parquet" if WORLD else []


def vocabulary(wildcards):
    """sWUGGY words of a natural corpus come from its own training text; the world has a lexicon."""
    own = not WORLD and wildcards.task == "swuggy" and not (S.benchmarks.swuggy or S.benchmarks.slm21)
    return expand("results/corpus/cuts.{shard}.jsonl.gz", shard=SHARDS) if own else []


def encoder_files(wildcards):
    """The encoder where it lies on disk: other weights or another front end, other units."""
    given = (split_encoder(S.units.encoder)[1] or "") if S3PRL else S.units.encoder
    folder = HOME / "src/speechladder/assets/hubert-micro" if given == "hubert-micro" else Path(given)
    if S3PRL and folder.is_file():
        return [str(folder)]
    names = ("*.safetensors", "pytorch_model*.bin", "*config.json")
    return sorted(str(path) for name in names for path in folder.glob(name)) if given and folder.is_dir() else []


def no_sweep(wildcards):
    """Why the user's own units have no sweep."""
    raise WorkflowError(
        "results/units_sweep.csv: its points are layers and codebooks of an encoder, and units.source: external has neither; "
        "leave units.source out, or compare tokenizers by a run of each (--directory)"
    )


def init_files(wildcards):
    """The text LM that a warm start begins from, where it lies on disk: other weights, other models."""
    folder = Path(S.lm.init) if S.lm.init else None
    names = ("model*.safetensors", "config.json")
    return sorted(str(path) for name in names for path in folder.glob(name)) if folder and folder.is_dir() else []


def pairs_files(wildcards):
    """The user's own pairs files for a task, if any."""
    return getattr(S.benchmarks, wildcards.task)


def pairs_audio(wildcards):
    """The recordings that those files name."""
    try:
        return recordings(tuple(pairs_files(wildcards)))
    except UserError as error:
        raise WorkflowError(str(error)) from None


def on_disk(model):
    """A model that the configuration names, as an input where it lies on disk (`checked` made that absolute)."""
    return [model] if Path(model).is_absolute() else []


def asr_model(wildcards):
    """What the continuations are heard by."""
    return on_disk(S.continuation.whisper) if S.continuation.asr == "whisper" else "results/continuation/asr"


def vocoder_model(wildcards):
    """What speaks a rung's units; nothing where no unit is spoken."""
    if not units_are_heard(S, getattr(wildcards, "rung", None)):
        return []
    return on_disk(S.continuation.vocoder) if S.continuation.vocoder != "run" else "results/continuation/vocoder"


def prompt_units(wildcards):
    """The prompts' units where the rung, or a rung's resynthesis, needs them: other units touch no rung of text."""
    rung = getattr(wildcards, "rung", None)
    return "results/continuation/units.parquet" if (reads_units(rung) if rung else units_are_heard(S)) else []


def judge_model(wildcards):
    """The text LM that judges."""
    return on_disk(S.continuation.judge_model) if S.continuation.judge == "hf" else "results/continuation/judge"


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
