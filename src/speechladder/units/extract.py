"""Speech to units, a shard or a benchmark at a time: neither features nor a shard's waveforms are ever held."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.columns import batches, growing_table
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ALIGNMENT, ITEMS, UNITS, read_table
from speechladder.settings import Units
from speechladder.units.codebook import Codebook, load
from speechladder.units.decode import Job, Wave, waves
from speechladder.units.encoder import Encoder, open_encoder
from speechladder.units.normalise import Normaliser
from speechladder.units.stream import Quantiser, units_of

ROWS = 4096  # utterances in a row group, and held before they are written


def _open(units: Units, codebook: Path, speakers: Sequence[Path]) -> tuple[Encoder, Codebook, Quantiser]:
    encoder = open_encoder(units)
    book = load(codebook, encoder.provenance)
    return encoder, book, Quantiser.of(book, Normaliser.matching(book.provenance, speakers), encoder.device)


def metadata(encoder: Encoder, book: Codebook) -> dict[str, str]:
    """What a UNITS table says of itself."""
    about = {"encoder": encoder.hash, "layer": str(encoder.layer), "clusters": str(len(book.centroids))}
    return about if encoder.precision == "fp32" else about | {"precision": encoder.precision}


def workers(units: Units, encoder: Encoder) -> int:
    """Processes that decode: `units.workers`, or as many as feed a GPU."""
    if units.workers is not None:
        return units.workers
    return 0 if encoder.device.type == "cpu" else max(1, min(8, len(os.sched_getaffinity(0)) - 1))


def jobs_of(cuts: Iterable[Cut]) -> Iterator[Job]:
    """Windows of recordings to read."""
    for cut in cuts:
        yield Job(cut.id, cut.speaker, cut.path, cut.duration, cut.start, windowed=True)


def extract_shard(
    cuts: Path,
    alignment: Path,
    codebook: Path,
    out: Path,
    rejected: Path,
    units: Units,
    max_rejected: float,
    speakers: Sequence[Path] = (),
) -> None:
    """Write units/{shard}.parquet, the aligned utterances of a shard in the order of its cuts.

    `speakers`: the statistics that a codebook normalised by speaker needs. Unreadable and too short audio goes to
    `rejected`; UserError above a share of `max_rejected`, and where the codebook is of another encoder.
    """
    encoder, book, quantiser = _open(units, codebook, speakers)
    table = read_table(alignment, ALIGNMENT, columns=["id", "seconds"])
    aligned, total = set(table["id"].to_pylist()), sum(table["seconds"].to_pylist())
    rejects = Rejects()

    def readable() -> Iterator[tuple[Job, Wave]]:
        for job, wave in waves(jobs_of(c for c in read_cuts(cuts) if c.id in aligned), workers(units, encoder)):
            if isinstance(wave, str):
                rejects.add(job.id, wave, job.source)
            else:
                yield job, wave

    with growing_table(out, UNITS.with_metadata(metadata(encoder, book)), ROWS) as rows:
        with progress(f"units {out.stem}", total, "h of speech per h") as meter:
            for job, (found,) in units_of(encoder, [quantiser], readable(), meter):
                rows.append({"id": [job.id], "units": [found]})
        rejects.write(rejected, len(aligned), max_rejected)


def jobs_of_items(path: Path) -> Iterator[Job]:
    """Items (ITEMS) or prompts (PROMPTS), in the order of their table; a few at a time, since an official benchmark is
    gigabytes of audio."""
    for batch in batches(path, ITEMS, ["item", "voice", "seconds", "audio"], 256):
        for row in batch.to_pylist():
            yield Job(row["item"], row["voice"], row["audio"] or b"", row["seconds"])


def extract_items(items: Path, codebook: Path, out: Path, units: Units, speakers: Sequence[Path] = ()) -> None:
    """As `extract_all_items`, of one file."""
    extract_all_items([items], codebook, [out], units, speakers)


def extract_all_items(
    items: Iterable[Path], codebook: Path, out: Iterable[Path], units: Units, speakers: Sequence[Path] = ()
) -> None:
    """Write benchmarks/{task}/units.parquet of each, where `id` is the item. Raises UserError naming an item without
    units: a pair must not lose a member, so nothing is rejected here."""
    encoder, book, quantiser = _open(units, codebook, speakers)
    for path, target in zip(items, out, strict=True):
        total = sum(read_table(path, ITEMS, columns=["item", "seconds"])["seconds"].to_pylist())
        with (
            growing_table(target, UNITS.with_metadata(metadata(encoder, book)), ROWS) as rows,
            progress(f"units {path.parent.name}", total, "h of speech per h") as meter,
        ):
            for job, (found,) in units_of(encoder, [quantiser], item_waves(path, workers(units, encoder)), meter):
                rows.append({"id": [job.id], "units": [found]})


def item_waves(path: Path, count: int) -> Iterator[tuple[Job, Wave]]:
    """The items of a table, decoded by `count` processes. Raises UserError naming one that has no waveform."""
    for job, wave in waves(jobs_of_items(path), count):
        if isinstance(wave, str):
            mend = "leave this pair out of the pairs file" if wave.startswith("too short") else "make the items again"
            raise UserError(f"{path}, item '{job.id}': {wave}; {mend}")
        yield job, wave
