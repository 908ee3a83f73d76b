"""A run planned: its configuration read and checked, its hours, jobs and downloads found, its stages counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechladder.fetch.download import downloads_folder
from speechladder.io.errors import UserError
from speechladder.plan.context import Context
from speechladder.plan.downloads import File, downloads
from speechladder.plan.hours import find_hours
from speechladder.plan.jobs import Jobs, dry_run
from speechladder.plan.machine import Machine
from speechladder.plan.measured import Measured
from speechladder.plan.rates import Rates
from speechladder.plan.stages import Plan, make
from speechladder.settings import Settings, load
from speechladder.workflow.config import checked
from speechladder.workflow.presets import HOME, configuration
from speechladder.workflow.record import check_same_corpus, read_record

RESULTS = Path("results")


@dataclass(frozen=True)
class Report:
    """All that is printed: the plan, what it is made from, and the folders that the run fills."""

    title: str
    context: Context
    plan: Plan
    jobs: Jobs
    downloads_folder: Path
    directory: Path
    conflict: str  # why the run would not start in this folder, if it would not


def plan_run(
    files: Sequence[Path], words: Sequence[str], rates: Rates, machine: Machine, target: str, dry: bool = True
) -> Report:
    """Plan the run of `target` in the working directory with config.yaml, `files` and --config `words`.

    If paths of the configuration do not exist on this machine, the plan counts with the settings as they are written
    and says what Snakemake says. Raise UserError for mistakes in the settings themselves, and for hours that are not
    known. `dry`: ask Snakemake for the jobs; else plan a run that has not begun.
    """
    config = configuration(files, words)
    settings = load(config, " and ".join(map(str, files)) or "config.yaml")
    try:
        settings, error = checked(config, HOME), ""
    except UserError as found:
        error = str(found)
    jobs = dry_run(files, words, target) if dry and not error else Jobs(error=error or "Snakemake was not asked")
    measured = Measured(RESULTS, settings, read_record(RESULTS))
    hours = find_hours(settings, measured)
    context = Context(settings, hours, rates, machine, measured, tuple(_downloads(settings)))
    title = (
        "Plan of " + (", ".join(path.stem for path in files) or "the default run") + ("".join(f" {w}" for w in words))
    )
    plan = make(context, jobs)
    return Report(title, context, plan, jobs, downloads_folder(settings.downloads), Path.cwd(), _conflict(settings))


def _downloads(settings: Settings) -> list[File]:
    try:
        return downloads(settings)
    except UserError:  # a file can be had nowhere: Snakemake's message says which
        return []


def _conflict(settings: Settings) -> str:
    try:
        check_same_corpus(RESULTS, settings)
    except UserError as error:
        return str(error)
    return ""
