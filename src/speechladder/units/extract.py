"""Speech to units, a shard or a benchmark at a time; features live only as long as their batch."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from speechladder.corpora.cuts import read_cuts
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.columns import batches
from speechladder.io.errors import UserError
from speechladder.io.progress import Meter, progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ALIGNMENT, ITEMS, UNITS, read_table, write_table
from speechladder.settings import SAMPLE_RATE, Units
from speechladder.units.codebook import Codebook, load
from speechladder.units.encoder import MIN_SAMPLES, Encoder

_WINDOW = 10  # batches read ahead, so that batches are of similar length


def units_of(
    encoder: Encoder, codebook: Codebook, speech: Iterable[tuple[str, np.ndarray]], meter: Meter
) -> Iterator[dict[str, object]]:
    """(id, (samples,) at 16 kHz) -> rows of the UNITS table, in the same order; `meter` counts seconds."""
    window: list[tuple[str, np.ndarray]] = []
    held = 0

    def flush() -> Iterator[dict[str, object]]:
        for (name, samples), features in zip(window, encoder.encode([s for _, s in window]), strict=True):
            yield {"id": name, "units": codebook.assign(features)}
            meter.advance(len(samples) / SAMPLE_RATE)

    for name, samples in speech:
        window.append((name, samples))
        held += len(samples)
        if held >= _WINDOW * encoder.batch_seconds * SAMPLE_RATE or encoder.device.type == "cpu":
            yield from flush()
            window, held = [], 0
    if window:
        yield from flush()


def _load(units: Units, codebook: Path) -> tuple[Encoder, Codebook]:
    encoder = Encoder.load(units.encoder, units.layer, units.batch_seconds)
    return encoder, load(codebook, encoder.provenance)


def _write(out: Path, rows: list[dict[str, object]], encoder: Encoder, codebook: Codebook) -> None:
    write_table(
        out,
        rows,
        UNITS,
        encoder=encoder.hash,
        layer=str(encoder.layer),
        clusters=str(len(codebook.centroids)),
    )


def extract_shard(
    cuts: Path, alignment: Path, codebook: Path, out: Path, rejected: Path, units: Units, max_rejected: float
) -> None:
    """Write units/{shard}.parquet, the aligned utterances of a shard in the order of its cuts.

    Unreadable and too short audio goes to `rejected`; UserError above a share of `max_rejected`, and where the
    codebook is of another encoder.
    """
    encoder, book = _load(units, codebook)
    table = read_table(alignment, ALIGNMENT, columns=["id", "seconds"])
    aligned = set(table["id"].to_pylist())
    rejects = Rejects()

    def speech() -> Iterator[tuple[str, np.ndarray]]:
        for cut in read_cuts(cuts):
            if cut.id not in aligned:
                continue
            try:
                samples = cut.samples()
                if len(samples) < MIN_SAMPLES:
                    raise AudioError(f"too short for a unit: {len(samples)} samples, {MIN_SAMPLES} are one frame")
            except AudioError as error:
                rejects.add(cut.id, str(error), cut.path)
                continue
            yield cut.id, samples

    with progress(f"units {out.stem}", sum(table["seconds"].to_pylist()), "h of speech per h") as meter:
        rows = list(units_of(encoder, book, speech(), meter))
    rejects.write(rejected, len(aligned), max_rejected)
    _write(out, rows, encoder, book)


def extract_items(items: Path, codebook: Path, out: Path, units: Units) -> None:
    """Write benchmarks/{task}/units.parquet, where `id` is the item. Raises UserError naming an item without units.

    A pair must not lose a member, so nothing is rejected here.
    """
    encoder, book = _load(units, codebook)
    table = read_table(items, ITEMS, columns=["item", "seconds"])

    def speech() -> Iterator[tuple[str, np.ndarray]]:
        # a row group at a time: an official benchmark is gigabytes of audio
        for batch in batches(items, ITEMS, ["item", "audio"], 256):
            for row in batch.to_pylist():
                try:
                    samples = read_audio(row["audio"] or b"")
                except AudioError as error:
                    raise UserError(f"{items}, item '{row['item']}': {error}; make the items again") from None
                if len(samples) < MIN_SAMPLES:
                    raise UserError(
                        f"{items}, item '{row['item']}': {len(samples)} samples are too short for a unit "
                        f"({MIN_SAMPLES} are one frame); leave this pair out of the pairs file"
                    )
                yield row["item"], samples

    with progress(f"units {items.parent.name}", sum(table["seconds"].to_pylist()), "h of speech per h") as meter:
        rows = list(units_of(encoder, book, speech(), meter))
    _write(out, rows, encoder, book)
