"""`make entry`: the workflow under the contract with other units, and then the entry."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.io.progress import say
from speechladder.leaderboard.contract import FOLDER, NAME
from speechladder.leaderboard.entry import DIAGNOSIS, check_name, make_entry
from speechladder.rungs import registry
from speechladder.settings.tokenizer import parse_units
from speechladder.workflow.presets import HOME, preset_file
from speechladder.workflow.rungs import reads_units

WORK = HOME / ".work" / NAME
_SETTINGS = {"--config", "-C", "--configfile", "--configfiles", "--directory", "-d"}
# options with which snakemake succeeds and leaves what an earlier entry made
_UNFINISHED = {
    *("--dry-run", "--dryrun", "-n", "-np", "-pn", "--touch", "-t", "--until", "-U", "--omit-from", "-O", "--batch"),
    *("--summary", "-S", "--list-rules", "-l", "--unlock", "--rerun-triggers"),
}
DIAGNOSES = HOME / ".work" / "diagnose"  # make diagnose works there


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
    diagnose: str = "diagnose",
) -> None:
    """Make units, train and score the models of an entry under the contract, diagnose its units, and write the entry.

    Speech, alignment and items are made once in `folder`, for all entries. What depends on units or rung is made again
    where it differs from what lies there. External units are diagnosed by the user, who must encode other audio for
    it: their diagnosis is taken if `make diagnose NAME=...` was run before. Raises UserError for a wrong name, rung or
    units before any job, and if Snakemake fails.

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
        diagnose: the preset of the diagnosis, by name or by path; empty leaves it out
    """
    check_name(name)
    registry.get(rung)
    given = parse_units(units) if units.strip() else {}
    if given and not reads_units(rung):
        raise UserError(f"UNITS: the rung {rung} reads no units; leave UNITS= out, or name another RUNG=")
    more = _words(args)
    if (out / name).is_dir():
        say(f"{out / name}: is there already, and will be replaced; another NAME= keeps both")
    targets = [f"results/scores/{rung}/{task}.parquet" for task in TASKS]
    targets += ["results/units/quality.json"] if reads_units(rung) else []
    settings = [f"units={json.dumps(given)}"] if given else []
    snakemake = ["snakemake", "--snakefile", str(HOME / "Snakefile"), "--cores", cores, "--rerun-incomplete"]
    snakemake += more
    _run([*snakemake, "--config", f"rungs={json.dumps([rung])}", *settings, "--", *targets], preset, folder)
    diagnosis = DIAGNOSES / name
    found = diagnosis / "results" / DIAGNOSIS
    if diagnose and reads_units(rung) and given.get("source") != "external":
        words = ["--config", *settings] if settings else []
        _run([*snakemake, *words, "--", f"results/{DIAGNOSIS}"], diagnose, diagnosis)
    elif not found.is_file() and reads_units(rung):
        say(
            f"{found}: no such file, so the entry has no diagnosis; to add one: make diagnose-audio NAME={name}, "
            f"encode that audio too, make diagnose NAME={name} UNITS=..., and make the entry again "
            "(docs/your-tokenizer.md)"
        )
    make_entry(folder / "results", name, rung, contract, out, found if found.is_file() else None)


def _words(args: str) -> list[str]:
    """The words of ARGS=. Raises UserError for those that change settings, or that end before the entry is made."""
    try:
        words = shlex.split(args)
    except ValueError as error:
        raise UserError(f"ARGS={args.strip()}: {error}; close the quotes") from None
    given = {word.partition("=")[0] for word in words}
    if unfit := _SETTINGS & given:
        raise UserError(f"ARGS: {min(unfit)}: the settings are the contract's; UNITS= has those of units, and RUNG=")
    if unfit := _UNFINISHED & given:
        raise UserError(
            f"ARGS: {min(unfit)}: the run would not come to its end, which an entry needs; leave it out. To see its "
            "jobs: snakemake -n --configfile presets/ladder-v1.yaml --directory .work/ladder-v1"
        )
    return words


def _run(command: list[str], preset: str, folder: Path) -> None:
    """Run the workflow in `folder` under a preset. Raises UserError if Snakemake fails."""
    folder.mkdir(parents=True, exist_ok=True)
    where = ["--configfile", str(preset_file(preset).resolve()), "--directory", str(folder)]
    if subprocess.run([command[0], *where, *command[1:]], stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        raise UserError(f"{folder}: snakemake ended with an error (above); no entry was written")
