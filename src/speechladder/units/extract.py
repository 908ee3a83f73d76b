"""Turn speech into units, a shard or a benchmark at a time, without holding features or all waveforms in memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.columns import batches, growing_table
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ALIGNMENT, ITEMS, UNITS, read_table
from speechladder.settings import Corpus, Units
from speechladder.units.codebook import Codebook, load_codebook
from speechladder.units.decode import Job, Wave, waves
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.normalise import Normaliser
from speechladder.units.stream import Quantiser, units_of

ROWS = 4096  # utterances in a row group; they are held in memory until they are written


def extract_units(
    units: Units,
    centroids: Path,
    out: list[Path],
    cuts: Path | None = None,
    alignment: Path | None = None,
    rejected: Path | None = None,
    items: Sequence[Path] = (),
    speakers: Sequence[Path] = (),
    max_rejected: float = Corpus().max_rejected,
) -> None:
    """Turn the speech of a shard, or of the items of benchmarks, into units: UNITS tables.

    Raise UserError if an input is missing, and as `extract_shard` and `extract_items` do.

    Args:
        centroids: units/centroids.safetensors
        out: the table to write, one for each input
        cuts: corpus/cuts.{shard}.jsonl.gz; needs --alignment and --rejected
        alignment: alignment/{shard}.parquet; only aligned utterances are encoded
        rejected: units/rejected.{shard}.jsonl to write
        items: benchmarks/{task}/items.parquet or continuation/prompts.parquet, one or more, in place of --cuts
        speakers: units/speakers.safetensors and units/voices.safetensors, needed for normalisation by speaker
    """
    if bool(cuts) == bool(items) or len(out) != len(items or [cuts]):
        raise UserError("give either --cuts or --items, and as many files to --out as there are inputs")
    if items:
        extract_items(items, centroids, out, units, speakers)
    elif cuts and alignment and rejected:
        extract_shard(cuts, alignment, centroids, out[0], rejected, units, max_rejected, speakers)
    else:
        raise UserError("--cuts needs --alignment and --rejected")


def _open(units: Units, centroids: Path, speakers: Sequence[Path]) -> tuple[Encoder, Codebook, Quantiser]:
    encoder = open_encoder(units)
    book = load_codebook(centroids, encoder.provenance)
    return encoder, book, Quantiser.of(book, Normaliser.matching(book.provenance, speakers), encoder.device)


def metadata(encoder: Encoder, book: Codebook) -> dict[str, str]:
    """The metadata of a UNITS table."""
    made_by = encoder.provenance
    about = {"encoder": made_by["sha256"], "layer": str(made_by["layer"]), "clusters": str(len(book.centroids))}
    return about | ({"precision": made_by["precision"]} if "precision" in made_by else {})


def workers(units: Units, encoder: Encoder) -> int:
    """Number of processes that decode audio: `units.workers`, or as many as keep a GPU busy."""
    if units.workers is not None:
        return units.workers
    return 0 if encoder.device.type == "cpu" else max(1, min(8, len(os.sched_getaffinity(0)) - 1))


def jobs_of(cuts: Iterable[Cut]) -> Iterator[Job]:
    """The windows of recordings that the cuts name."""
    for cut in cuts:
        yield Job(cut.id, cut.speaker, cut.path, cut.duration, cut.start, windowed=True)


def extract_shard(
    cuts: Path,
    alignment: Path,
    centroids: Path,
    out: Path,
    rejected: Path,
    units: Units,
    max_rejected: float,
    speakers: Sequence[Path] = (),
) -> None:
    """Write units/{shard}.parquet: the aligned utterances of a shard in the order of its cuts.

    Unreadable and too short audio is listed in `rejected`. Raise UserError if its share exceeds `max_rejected`, or if
    the codebook belongs to another encoder.
    """
    encoder, book, quantiser = _open(units, centroids, speakers)
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
    """Items (ITEMS) or prompts (PROMPTS) in the order of their table.

    They are read in small batches, because an official benchmark has gigabytes of audio.
    """
    for batch in batches(path, ITEMS, ["item", "voice", "seconds", "audio"], 256):
        for row in batch.to_pylist():
            yield Job(row["item"], row["voice"], row["audio"] or b"", row["seconds"])


def extract_items(
    items: Iterable[Path], centroids: Path, out: Iterable[Path], units: Units, speakers: Sequence[Path] = ()
) -> None:
    """Write benchmarks/{task}/units.parquet of each task; `id` is the item.

    Raise UserError naming an item that has no units. Nothing is rejected here, because a pair must not lose a member.
    """
    encoder, book, quantiser = _open(units, centroids, speakers)
    for path, target in zip(items, out, strict=True):
        total = sum(read_table(path, ITEMS, columns=["item", "seconds"])["seconds"].to_pylist())
        with (
            growing_table(target, UNITS.with_metadata(metadata(encoder, book)), ROWS) as rows,
            progress(f"units {path.parent.name}", total, "h of speech per h") as meter,
        ):
            for job, (found,) in units_of(encoder, [quantiser], item_waves(path, workers(units, encoder)), meter):
                rows.append({"id": [job.id], "units": [found]})


def item_waves(path: Path, count: int) -> Iterator[tuple[Job, Wave]]:
    """The items of a table, decoded by `count` processes. Raise UserError naming an item that has no waveform."""
    for job, wave in waves(jobs_of_items(path), count):
        if isinstance(wave, str):
            remedy = "leave this pair out of the pairs file" if wave.startswith("too short") else "make the items again"
            raise UserError(f"{path}, item '{job.id}': {wave}; {remedy}")
        yield job, wave
