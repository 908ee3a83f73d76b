"""What happens once, before a run's first job."""

import os
from pathlib import Path

from speechladder.alignment.check import check_mfa_command
from speechladder.fetch.download import check_room
from speechladder.io.processes import RUNNER
from speechladder.settings import Settings
from speechladder.units.encoders.s3prl_environment import check_s3prl
from speechladder.workflow.checks import check_hubs
from speechladder.workflow.leftovers import cancel_leftovers
from speechladder.workflow.lock import hold_lock
from speechladder.workflow.record import check_same_corpus, write_record
from speechladder.workflow.sources import missing

RESULTS = Path("results")


def start(settings: Settings, home: Path, conda: bool, lock: str, replace: bool = False) -> None:
    """Check what only the machine and the network can tell, then take the run's folder.

    The lock keeps a second run out of the folder until this one ends. results/ must hold no other corpus, unless the
    user asked to `replace` it or this run is itself a job of a run. Every model must be there or at its hub, the
    commands of aligner and encoder must exist, and downloads must fit the disk. Cluster jobs that an earlier run left
    are cancelled. Then the settings are recorded in results/run.json. `home` is the checkout; `conda` says whether jobs
    run in the environments of their rules. Raises UserError.
    """
    hold_lock(lock)
    check_same_corpus(RESULTS, settings, replace or RUNNER in os.environ)
    check_hubs(settings)
    check_mfa_command(settings.alignment, conda=conda)
    check_s3prl(settings.units, home, conda=conda)
    check_room(missing(settings), settings.downloads)
    cancel_leftovers(Path.cwd())
    write_record(RESULTS, settings)
