"""A run planned: its configuration read and checked, hours, jobs and downloads found, stages counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechladder.fetch.download import folder_of
from speechladder.io.errors import UserError
from speechladder.plan.context import Context
from speechladder.plan.hours import hours
from speechladder.plan.inputs import HOME, File, Jobs, Machine, configuration, downloads, dry_run
from speechladder.plan.rates import Rates
from speechladder.plan.stages import Plan, make
from speechladder.settings import Settings, load
from speechladder.workflow.config import checked


@dataclass(frozen=True)
class Report:
    """All that is printed: the plan, where it is from, and the folders that it fills."""

    title: str
    context: Context
    plan: Plan
    jobs: Jobs
    files: list[File]
    downloads_folder: Path
    directory: Path


def plan_run(
    files: Sequence[Path], words: Sequence[str], rates: Rates, machine: Machine, target: str, dry: bool = True
) -> Report:
    """Plan the run of `target` in the working directory with config.yaml, `files` and --config `words`.

    Where the configuration's paths do not stand on this machine the plan goes on with the settings as they are written,
    and says what Snakemake says. Raises UserError for mistakes in the settings themselves, and for hours that nobody
    knows. `dry`: ask Snakemake for the jobs; else those of a run that has not begun.
    """
    config = configuration(files, words)
    settings = load(config, " and ".join(map(str, files)) or "config.yaml")
    try:
        settings, error = checked(config, HOME), ""
    except UserError as found:
        error = str(found)
    jobs = dry_run(files, words, target) if dry and not error else Jobs({}, error or "it was not asked")
    results = Path("results")
    context = Context(settings, hours(settings, results), rates, machine, results)
    fetched = _downloads(settings)
    title = (
        "Plan of " + (", ".join(path.stem for path in files) or "the default run") + ("".join(f" {w}" for w in words))
    )
    return Report(
        title, context, make(context, fetched, jobs), jobs, fetched, folder_of(settings.downloads), Path.cwd()
    )


def _downloads(settings: Settings) -> list[File]:
    try:
        return downloads(settings)
    except UserError:  # of a file that is nowhere; Snakemake's message says which
        return []
