"""The alignment of a shard of cuts: alignment/{shard}.parquet and alignment/rejected.{shard}.jsonl."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from speechladder.alignment.aligners import load_aligner
from speechladder.alignment.base import Aligned, Answer, request_of
from speechladder.alignment.check import check_aligner_files
from speechladder.alignment.textgrid_archive import TextGridArchive
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import work_folder
from speechladder.io.progress import Meter, progress
from speechladder.io.rejects import Rejects
from speechladder.io.spans import as_rows
from speechladder.io.tables import ALIGNMENT, read_table, write_table
from speechladder.settings import Alignment, Corpus

BATCH = 1000  # rows held as Python lists before they become a table, which takes a twentieth of the memory


def align_shard(
    cuts: Path,
    alignment: Alignment,
    out: Path,
    rejected: Path,
    truth: Path | None = None,
    models: Path | None = None,
    jobs: int = 1,
    max_rejected: float = Corpus().max_rejected,
) -> None:
    """Align the words and phones of a shard: each cut gets a row, in the order of the cuts, or a line of `rejected`.

    Raises UserError if the aligner lacks an input, or if more than `max_rejected` of the cuts were rejected.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz
        out: alignment/{shard}.parquet to write
        rejected: alignment/rejected.{shard}.jsonl to write
        truth: corpus/truth.{shard}.parquet, for aligner truth
        models: alignment/mfa, for aligner mfa
        jobs: processes of the aligner (pocketsphinx, mfa)
    """
    rejects = Rejects()
    if alignment.aligner == "truth":
        if truth is None:
            raise UserError("alignment.aligner: truth needs the truth table of a generated corpus; use pocketsphinx")
        utterances = list(read_cuts(cuts))
        rows, total = _truth_rows(utterances, truth, rejects), len(utterances)
    elif alignment.aligner == "textgrids":
        rows, total = _from_textgrids(cuts, alignment, rejects)
    else:
        with work_folder(out) as work:
            aligner = load_aligner(alignment, work, jobs, models)
            with _progress(cuts) as meter:
                answers = aligner.align_all(map(request_of, read_cuts(cuts)), meter.advance)
                rows, total = _rows(read_cuts(cuts), answers, aligner.name, rejects)
    write_table(out, rows, ALIGNMENT)
    rejects.write(rejected, total, max_rejected)


def _progress(cuts: Path) -> AbstractContextManager[Meter]:
    return progress(f"align {cuts.name}", sum(cut.duration for cut in read_cuts(cuts)), "h of speech per h")


def _truth_rows(utterances: list[Cut], truth: Path, rejects: Rejects) -> list[dict]:
    known = {row["id"]: row for row in read_table(truth, ALIGNMENT).to_pylist()}
    for cut in utterances:
        if cut.id not in known:
            rejects.add(cut.id, "no truth: the truth table has no row for it", truth)
    return [known[cut.id] for cut in utterances if cut.id in known]


def _rows(cuts: Iterable[Cut], answers: Iterable[Answer], name: str, rejects: Rejects) -> tuple[pa.Table, int]:
    """(table with a row for each aligned cut, number of cuts). Other cuts are rejected for the reason in the answer."""
    tables, batch, total = [ALIGNMENT.empty_table()], [], 0
    for cut, (answered, answer) in zip(cuts, answers, strict=True):
        if answered != cut.id:
            raise RuntimeError(f"the aligner answered {answered} when {cut.id} was expected")
        total += 1
        if isinstance(answer, Aligned):
            batch.append(_row(cut, answer, name))
        else:
            rejects.add(cut.id, str(answer), cut.path)
        if len(batch) == BATCH:
            tables.append(pa.Table.from_pylist(batch, ALIGNMENT))
            batch = []
    return pa.concat_tables([*tables, pa.Table.from_pylist(batch, ALIGNMENT)]).combine_chunks(), total


def _row(cut: Cut, found: Aligned, name: str) -> dict:
    words, phones = as_rows(found.words), as_rows(found.phones)
    return {"id": cut.id, "words": words, "phones": phones, "seconds": found.seconds, "aligner": name}


def _from_textgrids(cuts: Path, settings: Alignment, rejects: Rejects) -> tuple[pa.Table, int]:
    check_aligner_files(settings)
    ids = (cut.id for cut in read_cuts(cuts))
    with TextGridArchive(settings.textgrids, ids) as archive, _progress(cuts) as meter:
        return _rows(read_cuts(cuts), archive.align_all(read_cuts(cuts), meter.advance), archive.name, rejects)
