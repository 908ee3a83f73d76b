"""The jobs that a run still has to do: those of Snakemake's dry run, or those of a run that has not begun."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.plan.downloads import File
from speechladder.settings import Settings
from speechladder.workflow.presets import HOME
from speechladder.workflow.rungs import needs_vocoder, spoken_rungs

_JOB = re.compile(r"^(?:local)?(?:rule|checkpoint) (\w+):\n((?:    .*\n)*)", re.MULTILINE)
_WILDCARDS = re.compile(r"^    wildcards: (.*)$", re.MULTILINE)
_CHATTER = re.compile(r"Using workflow|Config|Building DAG|\s*File|host:|Assuming")


class Job(NamedTuple):
    """A job: its rule, and what its cost depends on.

    `name` is the file that it fetches or unpacks. `point` is the prefix of its point (settings.points): empty
    for the run itself, units_sweep/layer3-k100-none-seed0/ or scaling/0.25/xs/ for a point of the sweep or of the grid.
    """

    rule: str
    rung: str = ""
    name: str = ""
    point: str = ""


@dataclass(frozen=True)
class Jobs:
    """How many there are of each job; `error` is Snakemake's message if it could not build the DAG."""

    counts: Counter[Job] = field(default_factory=Counter)
    error: str = ""


def dry_run(files: Sequence[Path], words: Sequence[str], target: str) -> Jobs:
    """Return the jobs that `snakemake -n` lists in the working directory; of a half-finished run, only the rest."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile"), "-n"]
    command += ["--configfile", *map(str, files)] if files else []
    command += ["--directory", str(Path.cwd())]
    command += ["--config", *words] if words else []
    done = subprocess.run([*command, "--", target], capture_output=True, text=True)
    text = done.stdout + done.stderr
    if done.returncode:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return Jobs(error="\n".join([line for line in lines if not _CHATTER.match(line)][-6:]))
    return Jobs(Counter(parse_jobs(text)))


def parse_jobs(text: str) -> list[Job]:
    """Return the jobs that Snakemake's dry run prints."""
    out = []
    for rule, block in _JOB.findall(text):
        line = _WILDCARDS.search(block)
        out.append(_job(rule, dict(pair.partition("=")[::2] for pair in line[1].split(", ")) if line else {}))
    return out


def _job(rule: str, wildcards: dict[str, str]) -> Job:
    """Return the job of a rule; shards, seeds and tasks do not change a job's cost."""
    point = wildcards.get("point", "")
    if "layer" in wildcards:
        point = f"units_sweep/layer{wildcards['layer']}/"
    elif "fraction" in wildcards:
        point = f"scaling/{wildcards['fraction']}/"
    rung = wildcards.get("rung", "")
    return Job(rule, rung, wildcards.get("file") or wildcards.get("archive", ""), point)


def jobs_of_a_new_run(settings: Settings, files: Sequence[File]) -> Counter[Job]:
    """Return the jobs of results/table.csv of a run that has not begun, without most of those that take seconds."""
    s, shards = settings, settings.corpus.shards
    natural, encodes = s.corpus.name != "world", s.units.source != "external"
    by_speaker = encodes and s.units.normalisation == "speaker"
    out = Counter({Job("build_corpus"): shards, Job("align"): shards, Job("extract_units"): shards})
    out += Counter(Job("download", name=file.name) for file in files if not file.there)
    out += Counter(Job("unpack_archive", name=Path(name).name) for name in s.corpus.archives)
    out += Counter({Job("phone_durations"): 1, Job("select_utterances"): 1, Job("make_items"): len(TASKS)})
    out += Counter({Job("extract_item_units"): 1, Job("make_table"): 1})
    out += Counter({Job("sample_features"): encodes, Job("train_kmeans"): encodes})
    out += Counter({Job("speaker_statistics"): by_speaker, Job("voice_statistics"): by_speaker})
    out += Counter({Job("split_manifest"): s.corpus.name == "libriheavy", Job("audit_corpus"): natural})
    for rung in s.rungs:
        out += Counter(Job(rule, rung) for rule in ("tokenize_rung", "tokenize_items", "score_rung"))
        out[Job("train_lm", rung)] = len(s.lm.seeds)
    spoken, wanted = spoken_rungs(s), s.continuation
    out += Counter(Job(rule, rung) for rung in spoken for rule in ("continue_rung", "transcribe_rung"))
    if spoken:
        own_vocoder = wanted.vocoder == "run" and needs_vocoder(s)
        out += Counter({Job("train_vocoder"): own_vocoder, Job("train_judge"): wanted.judge == "run"})
        out += Counter(map(Job, ("make_prompts", "transcribe_reference", "judge_continuations")))
    return out
