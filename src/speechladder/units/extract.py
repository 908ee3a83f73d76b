"""Turn speech into units, a shard or a benchmark at a time, without holding features or all waveforms in memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from speechladder.constants import FRAME_RATE
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.columns import batches, growing_table
from speechladder.io.errors import UserError
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, ITEMS, UNITS, read_table
from speechladder.settings import Corpus, Units
from speechladder.units.codebook import Codebook, load_codebook
from speechladder.units.context import ItemContext
from speechladder.units.decode import Job, Wave, waves
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.normalise import Normaliser
from speechladder.units.segments import SegmentQuantiser, aligned_times, collapse, made_of, needs_alignment
from speechladder.units.stream import Quantise, Quantiser, units_of

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

    If units are segments, the tables are EXTERNAL_UNITS, with the duration of each unit in 50 Hz frames.
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
    sample, wanted = book.provenance.get("sample", {}), made_of(units)
    if {name: sample[name] for name in ("segments", "segment_penalty") if name in sample} != wanted:
        was, now = (str(about.get("segments", "frame")) for about in (sample, wanted))
        raise UserError(
            f"{centroids}: the codebook was made from segments of another kind ({was}) than units.segments: {now}, or "
            "with another units.segment_penalty; delete the sample and the codebook and run again"
        )
    return encoder, book, Quantiser.of(book, Normaliser.matching(book.provenance, speakers), encoder.device)


def _quantise(quantiser: Quantiser, units: Units, table: pa.Table, key: str) -> Quantise:
    """What makes units of features, of the utterances or items in `table`; see segments.aligned_times."""
    if units.segments == "frame":
        return quantiser
    times = aligned_times(table, units.segments, key) if needs_alignment(units) else lambda name: None
    return SegmentQuantiser(quantiser, units, times)


def _schema(encoder: Encoder, book: Codebook, units: Units) -> pa.Schema:
    if units.segments == "frame":
        return UNITS.with_metadata(metadata(encoder, book))
    segments = {"rate": f"{FRAME_RATE:g}", "segments": units.segments}
    return EXTERNAL_UNITS.with_metadata(metadata(encoder, book) | segments)


def _row(job: Job, found: np.ndarray, units: Units) -> dict[str, list[Any]]:
    """An utterance as a row of the table; `found` (rows, frames) is what the quantiser made of it."""
    if units.segments == "frame":
        return {"id": [job.id], "units": [found[0]]}
    segments, durations = collapse(found)
    return {"id": [job.id], "units": [segments], "durations": [durations], "seconds": [job.seconds]}


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
    spans = ["words", "phones"] * needs_alignment(units)
    table = read_table(alignment, ALIGNMENT, columns=["id", "seconds", *spans])
    aligned, total = set(table["id"].to_pylist()), sum(table["seconds"].to_pylist())
    rejects, quantise = Rejects(), _quantise(quantiser, units, table, "id")

    def readable() -> Iterator[tuple[Job, Wave]]:
        for job, wave in waves(jobs_of(c for c in read_cuts(cuts) if c.id in aligned), workers(units, encoder)):
            if isinstance(wave, str):
                rejects.add(job.id, wave, job.source)
            else:
                yield job, wave

    with growing_table(out, _schema(encoder, book, units), ROWS) as rows:
        with progress(f"units {out.stem}", total, "h of speech per h") as meter:
            for job, found in units_of(encoder, [quantise], readable(), meter):
                rows.append(_row(job, found, units))
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
        spans = ["words", "phones"] * needs_alignment(units)
        table = read_table(path, ITEMS, columns=["item", "seconds", *spans])
        quantise = _quantise(quantiser, units, table, "item")
        context = ItemContext(path, units.item_context) if units.item_context else None
        speech = item_waves(path, workers(units, encoder))
        total = sum(table["seconds"].to_pylist()) + 2 * units.item_context * len(table)
        with (
            growing_table(target, _schema(encoder, book, units), ROWS) as rows,
            progress(f"units {path.parent.name}", total, "h of speech per h") as meter,
        ):
            for job, found in units_of(encoder, [quantise], context.around(speech) if context else speech, meter):
                rows.append(_row(job, context.cut(job, found) if context else found, units))


def item_waves(path: Path, count: int) -> Iterator[tuple[Job, Wave]]:
    """The items of a table, decoded by `count` processes. Raise UserError naming an item that has no waveform."""
    for job, wave in waves(jobs_of_items(path), count):
        if isinstance(wave, str):
            remedy = "leave this pair out of the pairs file" if wave.startswith("too short") else "make the items again"
            raise UserError(f"{path}, item '{job.id}': {wave}; {remedy}")
        yield job, wave
