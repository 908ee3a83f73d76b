"""A shard of cuts -> alignment/{shard}.parquet and alignment/rejected.{shard}.jsonl."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from speechladder.alignment.aligners import Aligned, Answer, load_aligner, request_of
from speechladder.alignment.textgrids import TextGrids
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import work_folder
from speechladder.io.progress import Meter, progress
from speechladder.io.rejects import Rejects
from speechladder.io.spans import as_rows
from speechladder.io.tables import ALIGNMENT, read_table, write_table
from speechladder.settings import Alignment, Corpus

BATCH = 1000  # rows that are lists of Python's before they are a table's: those take a twentieth of the memory


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
    """Align the words and phones of a shard, one row for each cut in their order, or a line of `rejected`.

    Raises UserError where an aligner lacks its input, or more than `max_rejected` of the cuts were rejected.

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
            with _metered(cuts) as meter:
                answers = aligner.align_all(map(request_of, read_cuts(cuts)), meter.advance)
                rows, total = _rows(read_cuts(cuts), answers, aligner.name, rejects)
    write_table(out, rows, ALIGNMENT)
    rejects.write(rejected, total, max_rejected)


def _metered(cuts: Path) -> AbstractContextManager[Meter]:
    return progress(f"align {cuts.name}", sum(cut.duration for cut in read_cuts(cuts)), "h of speech per h")


def _truth_rows(utterances: list[Cut], truth: Path, rejects: Rejects) -> list[dict]:
    known = {row["id"]: row for row in read_table(truth, ALIGNMENT).to_pylist()}
    for cut in utterances:
        if cut.id not in known:
            rejects.add(cut.id, "no truth: the corpus has no times for it", truth)
    return [known[cut.id] for cut in utterances if cut.id in known]


def _rows(cuts: Iterable[Cut], answers: Iterable[Answer], name: str, rejects: Rejects) -> tuple[pa.Table, int]:
    """(a row for each cut that was aligned, number of cuts); the others are rejected with the answer's reason."""
    tables, batch, total = [ALIGNMENT.empty_table()], [], 0
    for cut, (answered, answer) in zip(cuts, answers, strict=True):
        if answered != cut.id:
            raise RuntimeError(f"the aligner answered {answered} when it was asked {cut.id}")
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
    if not settings.textgrids:
        raise UserError("alignment.textgrids: is missing; name the folder, .zip or .tar with the TextGrids")
    with TextGrids(settings.textgrids, (cut.id for cut in read_cuts(cuts))) as known, _metered(cuts) as meter:
        return _rows(read_cuts(cuts), known.align_all(read_cuts(cuts), meter.advance), known.name, rejects)
