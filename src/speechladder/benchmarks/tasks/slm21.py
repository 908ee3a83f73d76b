"""zerospeech's sLM21 as the official benchmark of two tasks: sWUGGY and sBLIMP."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from speechladder.benchmarks.tasks.task import OfficialBenchmark
from speechladder.io.rejects import Rejects
from speechladder.settings import Benchmarks

if TYPE_CHECKING:
    from speechladder.benchmarks.spoken import Stimuli

TITLE = "sLM21"


def _read(part: str, settings: Benchmarks, transcripts: Path | None, rejects: Rejects) -> "Stimuli":
    from speechladder.benchmarks.slm21 import read_slm21
    from speechladder.fetch.archives import open_store

    archive = settings.slm21
    return read_slm21(open_store(archive), archive, part, settings.slm21_splits, settings.max_pairs, rejects)


def slm21(part: str, recordings: dict[str, int], seconds: float) -> OfficialBenchmark:
    """sLM21's `part`, "lexical" or "syntactic"; see OfficialBenchmark for the others.

    The numbers of recordings are those of Nguyen et al. 2020 (arXiv 2011.11588), 4 voices included. Their lengths are
    assumed; they agree with the size of the archive.
    """
    return OfficialBenchmark(
        title=TITLE,
        field="slm21",
        read=partial(_read, part),
        recordings=recordings,
        voices=4,
        seconds=seconds,
        splits_field="slm21_splits",
        part=part,
    )
