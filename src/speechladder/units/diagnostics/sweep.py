"""One pass of the encoder over some speech for all codebooks of a layer: their figures of quality.

A sweep's points differ in layer, clusters, normalisation, de-duplication and the seed of k-means; what costs is the
encoder, and that knows only the layer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import Units
from speechladder.units.codebook import Codebook, load
from speechladder.units.decode import Wave, waves
from speechladder.units.diagnostics import abx_run
from speechladder.units.diagnostics.quality import frame_phones, quality
from speechladder.units.encoder import Encoder, open_encoder
from speechladder.units.extract import jobs_of, workers
from speechladder.units.normalise import Normaliser
from speechladder.units.stream import Quantiser, units_of


@dataclass(frozen=True)
class Book:
    """A codebook by the name of its point, with the normalisation it was trained under."""

    name: str
    codebook: Codebook
    quantiser: Quantiser


def open_books(encoder: Encoder, paths: Mapping[str, Path], speakers: Iterable[Path]) -> list[Book]:
    """Codebooks by their names. Raises UserError where one is of another layer or of other statistics."""
    books, speakers, normalisers = [], list(speakers), {}
    for name, path in paths.items():
        codebook = load(path, encoder.provenance)
        kind = codebook.provenance.get("normalisation", "none")
        if kind not in normalisers:
            normalisers[kind] = Normaliser.matching(codebook.provenance, speakers)
        quantiser = Quantiser.of(codebook, normalisers[kind], encoder.device)
        books.append(Book(name, codebook, quantiser))
    return books


def drawn(cuts: list[Path], alignments: list[Path], seconds: float, seed: int) -> list[Cut]:
    """Aligned utterances of every split in the order of a hash of seed and id, as units/quality.json draws them."""
    found: list[tuple[int, Cut]] = []
    for path, alignment in zip(cuts, alignments, strict=True):
        aligned = set(read_table(alignment, ALIGNMENT, columns=["id"])["id"].to_pylist())
        found += [(stable_hash("quality", seed, cut.id), cut) for cut in read_cuts(path) if cut.id in aligned]
        found.sort(key=lambda row: (row[0], row[1].id))
        ends = np.cumsum([cut.duration for _, cut in found])
        found = found[: int(np.searchsorted(ends, seconds)) + 1]
    return [cut for _, cut in found]


def _quality(
    books: list[Book],
    encoder: Encoder,
    cuts: list[Cut],
    alignments: list[Path],
    seed: int,
    workers: int,
) -> dict[str, dict[str, Any]]:
    units: dict[str, dict[str, np.ndarray]] = {book.name: {} for book in books}
    speakers: dict[str, str] = {}
    # what cannot be read is listed with its reason by the stage that extracts the run's own units
    readable = ((job, wave) for job, wave in waves(jobs_of(cuts), workers) if isinstance(wave, Wave))
    with progress("quality", sum(cut.duration for cut in cuts), "h of speech per h") as meter:
        for job, found in units_of(encoder, [book.quantiser for book in books], readable, meter):
            speakers[job.id] = job.speaker
            for book, row in zip(books, found, strict=True):
                units[book.name][job.id] = row
    if not speakers:
        raise UserError(f"none of {len(cuts)} utterances can be read, first {cuts[0].path if cuts else 'none at all'}")
    lengths = {name: len(values) for name, values in units[books[0].name].items()}
    labels = frame_phones(alignments, lengths)
    names = list(speakers)
    return {
        book.name: quality(
            [units[book.name][n] for n in names],
            [labels[n] for n in names],
            [speakers[n] for n in names],
            len(book.codebook.centroids),
            seed,
        )
        for book in books
    }


def measure(
    cuts: list[Path],
    alignments: list[Path],
    codebooks: dict[str, Path],
    speakers: list[Path],
    out: Path,
    units: Units,
    minutes: float,
    seed: int,
) -> None:
    """Write the figures of a layer's codebooks on `minutes` of speech: {codebook: figures}, ABX of features and units
    among them (null without `units.abx_minutes`). Raises UserError."""
    encoder = open_encoder(units)
    books = open_books(encoder, codebooks, speakers)
    figures = _quality(
        books, encoder, drawn(cuts, alignments, 60 * minutes, seed), alignments, seed, workers(units, encoder)
    )
    given = abx_run.speech(cuts, alignments, units.abx_minutes, seed) if units.abx_minutes else None
    features = abx_run.encoded(encoder, given) if given else {}
    of_features: dict[str, Any] = {}
    for book in books:
        row = {"empty_clusters_in_sample": book.codebook.provenance["empty_clusters"], "abx": None}
        if given:
            kind, whose = book.quantiser.normaliser.kind, {at: given.cuts[at].speaker for at in features}
            normal = {at: book.quantiser.normaliser.apply(values, whose[at]) for at, values in features.items()}
            if kind not in of_features:
                of_features[kind] = abx_run.of_features(given, normal)
            spoken = {at: book.codebook.assign(values) for at, values in normal.items()}
            row["abx"] = {
                **given.counts,
                "features": of_features[kind],
                "units": abx_run.of_units(given, spoken, book.codebook.centroids),
                "dedup": abx_run.of_units(given, spoken, None, dedup=True),
            }
        figures[book.name] |= row
    write_json(out, figures)
