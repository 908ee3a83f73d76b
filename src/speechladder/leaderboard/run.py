"""`make entry`: the workflow under the contract with other units, and then the entry."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.leaderboard.contract import FOLDER, NAME
from speechladder.leaderboard.entry import DIAGNOSIS, check_name, make_entry
from speechladder.rungs import registry
from speechladder.settings.tokenizer import parse_units
from speechladder.workflow.presets import HOME, preset_file
from speechladder.workflow.rungs import reads_units

WORK = HOME / ".work" / NAME


def run_entry(
    name: str,
    units: str = "",
    rung: str = "speech-hubert",
    preset: str = NAME,
    contract: Path = FOLDER / f"{NAME}.json",
    folder: Path = WORK,
    out: Path = FOLDER / "entries",
    cores: str = "all",
    args: str = "",
) -> None:
    """Make units, train and score the models of an entry under the contract, and write the entry.

    Speech, alignment and items are made once in `folder`, for all entries. What depends on units or rung is made again
    where it differs from what lies there. Raises UserError for a wrong name, rung or units before any job, and if
    Snakemake fails.

    Args:
        name: name of the entry: small letters, digits and hyphens
        units: settings of units, an encoder, or files of units (UNITS= of make entry); empty takes the default units
        rung: the rung that is trained
        preset: the preset of the contract, by name or by path
        contract: file of the contract
        folder: where the workflow runs
        out: folder of the entries
        cores: of snakemake
        args: more words for snakemake
    """
    check_name(name)
    registry.get(rung)
    given = parse_units(units) if units.strip() else {}
    more = shlex.split(args)
    if unfit := {"--config", "-C", "--configfile", "--configfiles", "--directory", "-d"} & set(more):
        raise UserError(f"ARGS: {min(unfit)}: the settings are the contract's; UNITS= has those of units, and RUNG=")
    targets = [f"results/scores/{rung}/{task}.parquet" for task in TASKS]
    if reads_units(rung):
        targets.append("results/units/quality.json")
        if (HOME / "workflow" / "rules" / "diagnosis.smk").is_file():
            targets.append(f"results/{DIAGNOSIS}")
    settings = [f"rungs={json.dumps([rung])}", *([f"units={json.dumps(given)}"] if given else [])]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(HOME / "Snakefile"),
        "--configfile",
        str(preset_file(preset).resolve()),
    ]
    command += ["--directory", str(folder), "--cores", cores, "--rerun-incomplete", *more]
    command += ["--config", *settings, "--", *targets]
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        raise UserError(f"{folder}: snakemake ended with an error (above); no entry was written")
    if {"-n", "--dry-run", "--dryrun"} & set(more):
        return
    make_entry(folder / "results", name, rung, contract, out)
