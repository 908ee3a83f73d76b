"""What a plan is made of: the run's configuration, the machine, Snakemake's jobs, and downloads."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from speechladder.io.errors import UserError, suggestion
from speechladder.io.hub import is_hub_name
from speechladder.plan.rates import Rates
from speechladder.settings import Settings

HOME = Path(__file__).resolve().parents[3]
PRESETS = HOME / "presets"
MACHINE = re.compile(r"^# machine:(.*)$", re.MULTILINE)

# Bytes that are published where the presets give no exact number: Libri-Light's README; the file list of LibriHeavy on
# its hub; a note in ESPnet's recipe (sLM21).
SIZES = {
    "small.tar": 35e9,
    "medium.tar": 321e9,
    "large.tar": 3.05e12,
    "libriheavy_cuts_small.jsonl.gz": 76.6e6,
    "libriheavy_cuts_medium.jsonl.gz": 708e6,
    "libriheavy_cuts_large.jsonl.gz": 7.12e9,
    "libriheavy_cuts_dev.jsonl.gz": 4.79e6,
    "libriheavy_cuts_test_clean.jsonl.gz": 2.31e6,
    "libriheavy_cuts_test_other.jsonl.gz": 2.45e6,
    "sLM21.dataset.zip": 30.6e9,
}


# Bytes of a hub's models: parameters by their cards, in the precision in which the hub has them.
HUB_SIZES = {
    "facebook/hubert-base-ls960": 0.38e9,
    "facebook/hubert-large-ll60k": 1.26e9,
    "openai/whisper-large-v3": 3.1e9,
    "meta-llama/Llama-3.1-8B": 16.1e9,
    "EleutherAI/pythia-1.4b": 2.9e9,
}
_CHATTER = re.compile(r"Using workflow|Config|Building DAG|\s*File|host:|Assuming")


@dataclass(frozen=True)
class Machine:
    """What the hours on the wall are counted for; `gpu` is a name of rates.json, None without GPUs."""

    cpus: int
    gpus: int
    gpu: str | None

    def __str__(self) -> str:
        return f"{self.cpus} CPU cores and " + (f"{self.gpus} {self.gpu}" if self.gpus else "no GPU")


@dataclass(frozen=True)
class Jobs:
    """Jobs still to be run by rule, as Snakemake counts them; `error` is its message where it could not."""

    counts: dict[str, int]
    error: str = ""


@dataclass(frozen=True)
class File:
    """A download: bytes as the preset states or as published, None where neither is known; whether it is there."""

    name: str
    bytes: float | None
    there: bool


def preset(name: str) -> Path:
    """The file of a preset, by path or by name; raises UserError with the presets there are and the nearest name."""
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    for path in (Path(name).expanduser(), PRESETS / f"{name}.yaml"):
        if path.is_file():
            return path
    hint = suggestion(Path(name).stem, known)
    raise UserError(f"--preset: no preset and no file {name!r}; {hint}presets: {', '.join(known)}")


def configuration(files: Sequence[Path], words: Sequence[str]) -> dict[str, Any]:
    """config/config.yaml, `files` and the KEY=VALUE words of --config, merged in this order as Snakemake does."""
    from snakemake.utils import update_config

    out: dict[str, Any] = {}
    for path in (HOME / "config" / "config.yaml", *files):
        update_config(out, _yaml(path.read_text(), str(path)))
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--config: {word!r} is no KEY=VALUE")
        update_config(out, {key: _yaml(value, f"--config {key}", dict_only=False)})
    return out


def _yaml(text: str, source: str, dict_only: bool = True) -> Any:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not YAML ({' '.join(str(error).split())})") from None
    if dict_only and not isinstance(content, dict):
        raise UserError(f"{source}: no settings in it; a preset is a mapping of sections, see presets/")
    return content


def machine(
    file: Path | None, rates: Rates, cpus: int | None = None, gpus: int | None = None, gpu: str | None = None
) -> Machine:
    """The machine of the options, else of the preset's line `# machine: cpus=64 gpus=8 gpu=A100-80GB`; else this."""
    stated = MACHINE.search(file.read_text()) if file else None
    values: dict[str, Any] = (
        dict(pair.partition("=")[::2] for pair in stated.group(1).split()) if stated else _here(rates)
    )
    given = {"cpus": cpus, "gpus": gpus, "gpu": gpu}
    values |= {name: value for name, value in given.items() if value is not None}
    if gpu is not None and gpus is None and int(values.get("gpus") or 0) == 0:
        values["gpus"] = 1
    try:
        out = Machine(int(values["cpus"]), int(values.get("gpus") or 0), values.get("gpu") or None)
    except (KeyError, ValueError):
        raise UserError(f"{file}: the line '# machine:' needs cpus=N gpus=N gpu=NAME; it has {values}") from None
    if out.cpus < 1 or out.gpus < 0:
        raise UserError(f"--cpus, --gpus: {out.cpus} cores and {out.gpus} GPUs are no machine")
    if out.gpus and not out.gpu:
        raise UserError(f"--gpu: which GPU? known: {', '.join(rates.content['gpus'])}")
    if out.gpus:
        rates.peak(out.gpu, "bf16")
    return out


def _here(rates: Rates) -> dict[str, Any]:
    """This machine's cores, and the GPUs that its driver names and rates.json knows."""
    found: dict[str, Any] = {"cpus": os.cpu_count() or 1, "gpus": 0, "gpu": None}
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        names = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return found
    known = rates.known_gpu(names[0]) if names else None
    return found | ({"gpus": len(names), "gpu": known} if known else {})


def dry_run(files: Sequence[Path], words: Sequence[str], target: str) -> Jobs:
    """Jobs by rule, from `snakemake -n` in the working directory: of a half-finished run what is left of it."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile"), "-n", "--quiet", "rules"]
    command += ["--configfile", *map(str, files)] if files else []
    command += ["--directory", str(Path.cwd())]
    command += ["--config", *words] if words else []
    done = subprocess.run([*command, "--", target], capture_output=True, text=True)
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return Jobs({}, "\n".join([line for line in lines if not _CHATTER.match(line)][-6:]))
    return Jobs(job_stats(done.stdout))


def job_stats(text: str) -> dict[str, int]:
    """Jobs by rule from the table that Snakemake prints; empty where there is nothing to be done."""
    table = re.search(r"^job +count.*\n[- ]+\n((?:[\w-]+ +\d+.*\n)+)", text, re.MULTILINE)
    rows = (line.split() for line in table.group(1).splitlines()) if table else ()
    return {row[0]: int(row[1]) for row in rows if row[0] != "total"}


def hub_models(settings: Settings) -> dict[str, float | None]:
    """The models that are fetched from a hub on first use, and their bytes where they are known."""
    c, given = settings.continuation, [settings.units.encoder] * (settings.units.source != "external")
    given += filter(None, [settings.lm.init])
    if c.enabled:
        given += [c.whisper] * (c.asr == "whisper") + [c.judge_model] * (c.judge == "hf") + [c.vocoder]
    return {name: HUB_SIZES.get(name) for name in given if is_hub_name(name) and not Path(name).exists()}


def downloads(settings: Settings) -> list[File]:
    """The files that the run fetches or has fetched, in the order of the preset.

    Raises UserError as `places` does, for what is neither there nor to be had.
    """
    from speechladder.workflow.sources import missing

    absent = set(missing(settings))
    return [
        File(name, wanted.bytes or SIZES.get(name), name not in absent)
        for name, wanted in settings.downloads.files.items()
    ]
