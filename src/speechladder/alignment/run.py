"""A shard of cuts -> alignment/{shard}.parquet and alignment/rejected.{shard}.jsonl."""

from pathlib import Path

import numpy as np

from speechladder.alignment.pocketsphinx import Aligner, AlignmentError
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.spans import as_rows
from speechladder.io.tables import ALIGNMENT, read_table, write_table
from speechladder.settings import SAMPLE_RATE, Alignment

MIN_PEAK = 1e-3  # -60 dB of full scale: 33 steps of 16 bit, below which there is no speech to align


def align_shard(
    cuts: Path, truth: Path | None, settings: Alignment, max_rejected: float, out: Path, rejected: Path
) -> None:
    """Align the cuts of a shard, one row of tables.ALIGNMENT for each in their order, or a line of `rejected`.

    Aligner truth takes the rows from the table `truth`; pocketsphinx aligns. Raises UserError when the truth is
    missing or when more than `max_rejected` of the cuts were rejected.
    """
    utterances = list(read_cuts(cuts))
    rejects = Rejects()
    if settings.aligner == "truth":
        if truth is None:
            raise UserError("alignment.aligner: truth needs the truth table of a generated corpus; use pocketsphinx")
        rows = _truth_rows(utterances, truth, rejects)
    else:
        rows = _aligned_rows(utterances, Aligner(settings.beam), rejects, cuts.name)
    write_table(out, rows, ALIGNMENT)
    rejects.write(rejected, len(utterances), max_rejected)


def _truth_rows(utterances: list[Cut], truth: Path, rejects: Rejects) -> list[dict]:
    known = {row["id"]: row for row in read_table(truth, ALIGNMENT).to_pylist()}
    for cut in utterances:
        if cut.id not in known:
            rejects.add(cut.id, "no truth: the corpus has no times for it", truth)
    return [known[cut.id] for cut in utterances if cut.id in known]


def _aligned_rows(utterances: list[Cut], aligner: Aligner, rejects: Rejects, label: str) -> list[dict]:
    rows = []
    with progress(f"align {label}", sum(c.duration for c in utterances), "h of speech per h") as meter:
        for cut in utterances:
            try:
                samples = cut.samples()
                if np.abs(samples).max(initial=0.0) < MIN_PEAK:
                    raise AlignmentError("silent")
                words, phones = aligner.align(samples, cut.text)
            except (AudioError, AlignmentError) as error:
                rejects.add(cut.id, str(error), cut.path)
            else:
                seconds = len(samples) / SAMPLE_RATE
                rows.append(
                    {
                        "id": cut.id,
                        "words": as_rows(words),
                        "phones": as_rows(phones),
                        "seconds": seconds,
                        "aligner": aligner.name,
                    }
                )
            meter.advance(cut.duration)
    return rows
