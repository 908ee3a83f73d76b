"""What a plan is made for: a machine, the jobs that are left, and the files and models that are fetched."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.io.hub import is_hub_name
from speechladder.plan.rates import Rates
from speechladder.settings import Settings
from speechladder.workflow.presets import HOME
from speechladder.workflow.rungs import needs_vocoder, spoken_rungs
from speechladder.workflow.sources import missing

# Bytes, published, of files for which the presets give no exact number: Libri-Light's README; the file list of
# LibriHeavy on its hub; a note in ESPnet's recipe (sLM21).
SIZES = {
    "small.tar": 35e9, "medium.tar": 321e9, "large.tar": 3.05e12, "sLM21.dataset.zip": 30.6e9,
    "libriheavy_cuts_small.jsonl.gz": 76.6e6, "libriheavy_cuts_medium.jsonl.gz": 708e6,
    "libriheavy_cuts_large.jsonl.gz": 7.12e9, "libriheavy_cuts_dev.jsonl.gz": 4.79e6,
    "libriheavy_cuts_test_clean.jsonl.gz": 2.31e6, "libriheavy_cuts_test_other.jsonl.gz": 2.45e6,
}  # fmt: skip
# Bytes of models on the hub: the parameters that their cards state, in the precision in which the hub stores them.
HUB_SIZES = {
    "facebook/hubert-base-ls960": 0.38e9, "facebook/hubert-large-ll60k": 1.26e9, "openai/whisper-large-v3": 3.1e9,
    "meta-llama/Llama-3.1-8B": 16.1e9, "EleutherAI/pythia-1.4b": 2.9e9,
}  # fmt: skip
_MACHINE = re.compile(r"^# machine:(.*)$", re.MULTILINE)
_TARGET = re.compile(r"^# target: (\S+)$", re.MULTILINE)
_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)*)", re.MULTILINE)
_WILDCARDS = re.compile(r"^    wildcards: (.*)$", re.MULTILINE)
_CHATTER = re.compile(r"Using workflow|Config|Building DAG|\s*File|host:|Assuming")


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs; `gpu` is a name under 'gpus' of rates.json, None without GPUs."""

    cpus: int
    gpus: int
    gpu: str | None

    def __str__(self) -> str:
        return f"{self.cpus} CPU cores and " + (f"{self.gpus} {self.gpu}" if self.gpus else "no GPU")


def find_machine(
    file: Path | None, rates: Rates, cpus: int | None = None, gpus: int | None = None, gpu: str | None = None
) -> Machine:
    """Return the machine that the options name; what they leave out is as the preset or this machine has it.

    A preset names its machine in a line `# machine: cpus=64 gpus=8 gpu=A100-80GB`. Raise UserError if the line is
    incomplete, if the numbers are out of range, or if the GPU is not in rates.json.
    """
    stated = _MACHINE.search(file.read_text()) if file else None
    values = _pairs(stated[1], " ") if stated else _this_machine(rates)
    options = {"cpus": cpus, "gpus": gpus, "gpu": gpu}
    values |= {name: value for name, value in options.items() if value is not None}
    if gpu is not None and gpus is None and not int(values.get("gpus") or 0):
        values["gpus"] = 1
    try:
        out = Machine(int(values["cpus"]), int(values.get("gpus") or 0), values.get("gpu") or None)
    except (KeyError, ValueError):
        raise UserError(f"{file}: the line '# machine:' needs cpus=N gpus=N gpu=NAME; it has {values}") from None
    if out.cpus < 1 or out.gpus < 0:
        raise UserError(f"--cpus, --gpus: {out.cpus} cores and {out.gpus} GPUs are no machine")
    if out.gpus:
        rates.peak(out.gpu or "", "bf16")  # raises, with the known names, if it is not one of them
    return out


def find_target(files: Sequence[Path]) -> str:
    """Return the target that the last of these presets states in a line `# target: FILE`, else results/table.csv."""
    stated = _TARGET.search(files[-1].read_text()) if files else None
    return stated[1] if stated else "results/table.csv"


def _pairs(text: str, separator: str) -> dict[str, Any]:
    return dict(pair.partition("=")[::2] for pair in text.strip().split(separator) if pair)


def _this_machine(rates: Rates) -> dict[str, Any]:
    """Return this machine's cores, and its GPUs if rates.json knows them by the driver's name."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        names = []
    known = rates.known_gpu(names[0]) if names else None
    return {"cpus": os.cpu_count() or 1, "gpus": len(names) if known else 0, "gpu": known}


class Job(NamedTuple):
    """A job: its rule, and what its cost depends on.

    `name` is the file that it fetches or unpacks, or the model of external.models. `point` is the prefix of its
    point (settings.points): empty for the run itself, units_sweep/layer3-k100-none-seed0/ or scaling/0.25/xs/ for a
    point of the sweep or of the grid.
    """

    rule: str
    rung: str = ""
    name: str = ""
    point: str = ""


class Jobs(NamedTuple):
    """How many there are of each job; `error` is Snakemake's message if it could not build the DAG."""

    counts: Mapping[Job, int] = {}
    error: str = ""


def dry_run(files: Sequence[Path], words: Sequence[str], target: str) -> Jobs:
    """Return the jobs that `snakemake -n` lists in the working directory; of a half-finished run, only the rest.

    Raise UserError if no rule makes `target`.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile"), "-n"]
    command += ["--configfile", *map(str, files)] if files else []
    command += ["--directory", str(Path.cwd())]
    command += ["--config", *words] if words else []
    done = subprocess.run([*command, "--", target], capture_output=True, text=True)
    text = done.stdout + done.stderr
    if f"No rule to produce {target} " in text:
        raise UserError(f"--target: no rule makes {target}; targets are files, which `make stages` lists")
    if done.returncode:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return Jobs(error="\n".join([line for line in lines if not _CHATTER.match(line)][-6:]))
    return Jobs(Counter(parse_jobs(text)))


def parse_jobs(text: str) -> list[Job]:
    """Return the jobs that Snakemake's dry run prints; shards, seeds and tasks do not change a job's cost."""
    lines = ((rule, _WILDCARDS.search(block)) for rule, block in _JOB.findall(text))
    return [job_of(rule, _pairs(line[1], ", ") if line else {}) for rule, line in lines]


def job_of(rule: str, wildcards: Mapping[str, str]) -> Job:
    """Return what the cost of a job with these wildcards depends on."""
    point = wildcards.get("point", "")
    point = f"units_sweep/layer{wildcards['layer']}/" if "layer" in wildcards else point
    point = f"scaling/{wildcards['fraction']}/" if "fraction" in wildcards else point
    name = next((wildcards[kind] for kind in ("file", "archive", "model") if kind in wildcards), "")
    return Job(rule, wildcards.get("rung", ""), name, point)


@dataclass(frozen=True)
class File:
    """A download: its bytes as the preset states or as published, None if neither is known; whether it is there."""

    name: str
    bytes: float | None
    there: bool


def downloads(settings: Settings) -> tuple[File, ...]:
    """Return the files under `downloads`, fetched already or not; none if one that the run needs can be had nowhere."""
    try:
        absent = set(missing(settings))
    except UserError:  # Snakemake's message says which
        return ()
    files = settings.downloads.files.items()
    return tuple(File(name, wanted.bytes or SIZES.get(name), name not in absent) for name, wanted in files)


def hub_models(settings: Settings) -> dict[str, float | None]:
    """Return the models that are fetched from a hub on first use, and their bytes where they are known."""
    c = settings.continuation
    names = [settings.units.encoder] * (settings.units.source != "external") + [settings.lm.init or ""]
    if c.enabled:
        names += [c.whisper] * (c.asr == "whisper") + [c.second_asr or ""]
        names += [c.judge_model] * (c.judge == "hf") + [c.vocoder]
    return {name: HUB_SIZES.get(name) for name in names if is_hub_name(name) and not Path(name).exists()}


def jobs_of_a_new_run(settings: Settings, files: Sequence[File]) -> Counter[Job]:
    """Return the jobs of results/table.csv of a run that has not begun, without most of those that take seconds."""
    s, shards, wanted, spoken = settings, settings.corpus.shards, settings.continuation, spoken_rungs(settings)
    encodes = s.units.source != "external"
    speaker = encodes and s.units.normalisation == "speaker"
    once = ["phone_durations", "select_utterances", "extract_item_units", "make_table"]
    once += ["sample_features", "train_kmeans"] * encodes + ["speaker_statistics", "voice_statistics"] * speaker
    once += ["split_manifest"] * (s.corpus.name == "libriheavy") + ["audit_corpus"] * (s.corpus.name != "world")
    if spoken:
        once += ["make_prompts", "transcribe_reference", "judge_continuations"]
        once += ["train_vocoder"] * (wanted.vocoder == "run" and needs_vocoder(s))
        once += ["train_judge"] * (wanted.judge == "run") + ["transcribe_second"] * bool(wanted.second_asr)
    out = Counter(map(Job, once)) + Counter({Job("make_items"): len(TASKS)})
    out += Counter({Job(rule): shards for rule in ("build_corpus", "align", "extract_units")})
    out += Counter({Job("speak_corpus"): shards * (s.corpus.speech == "synthesized")})
    out += Counter(Job("download", name=file.name) for file in files if not file.there)
    out += Counter(Job("unpack_archive", name=Path(name).name) for name in s.corpus.archives)
    out += Counter(Job(rule, rung) for rung in s.rungs for rule in ("tokenize_rung", "tokenize_items", "score_rung"))
    out += Counter({Job("train_lm", rung): len(s.lm.seeds) for rung in s.rungs})
    return out + Counter(Job(rule, rung) for rung in spoken for rule in ("continue_rung", "transcribe_rung"))
