"""The quality of all codebooks of a layer, from one pass of the encoder over some speech.

The points of a sweep differ in layer, clusters, normalisation, de-duplication and the seed of k-means. The encoder
takes most of the time, and depends only on the layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.cuts import aligned_cuts
from speechladder.corpora.cuts import Cut
from speechladder.corpora.draw import Draw
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.progress import progress
from speechladder.settings import Sweep, Units
from speechladder.units.codebook import Codebook, load_codebook
from speechladder.units.decode import Wave, waves
from speechladder.units.diagnostics import abx_run
from speechladder.units.diagnostics.quality import phones_of, quality
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.extract import jobs_of, workers
from speechladder.units.normalise import Normaliser
from speechladder.units.stream import Quantiser, units_of


@dataclass(frozen=True)
class NamedCodebook:
    """A codebook with the name of its point, and the quantiser with the normalisation it was trained with."""

    name: str
    codebook: Codebook
    quantiser: Quantiser


def open_codebooks(encoder: Encoder, paths: Mapping[str, Path], speakers: Iterable[Path]) -> list[NamedCodebook]:
    """Load codebooks by their names. Raise UserError if one has another layer or other statistics."""
    books, speakers, normalisers = [], list(speakers), {}
    for name, path in paths.items():
        codebook = load_codebook(path, encoder.provenance)
        kind = codebook.provenance.get("normalisation", "none")
        if kind not in normalisers:
            normalisers[kind] = Normaliser.matching(codebook.provenance, speakers)
        quantiser = Quantiser.of(codebook, normalisers[kind], encoder.device)
        books.append(NamedCodebook(name, codebook, quantiser))
    return books


def draw_cuts(cuts: list[Path], alignment: list[Path], seconds: float, seed: int) -> list[Cut]:
    """Aligned utterances of every split, in the same order of a hash of seed and id as for units/quality.json."""
    drawn: Draw[Cut] = Draw(seconds, "quality", seed)
    for _, cut in aligned_cuts(cuts, alignment):
        drawn.add(cut.id, cut.duration, cut)
    return drawn.items()


def _quality(
    books: list[NamedCodebook],
    encoder: Encoder,
    cuts: list[Cut],
    alignment: list[Path],
    seed: int,
    workers: int,
) -> dict[str, dict[str, Any]]:
    """The figures of each codebook on the cuts, without ABX."""
    units: dict[str, dict[str, np.ndarray]] = {book.name: {} for book in books}
    speakers: dict[str, str] = {}
    # extract_units of the run's own units lists unreadable utterances with their reason
    readable = ((job, wave) for job, wave in waves(jobs_of(cuts), workers) if isinstance(wave, Wave))
    with progress("quality", sum(cut.duration for cut in cuts), "h of speech per h") as meter:
        for job, found in units_of(encoder, [book.quantiser for book in books], readable, meter):
            speakers[job.id] = job.speaker
            for book, row in zip(books, found, strict=True):
                units[book.name][job.id] = row
    if not speakers:
        raise UserError(f"none of {len(cuts)} utterances can be read, first {cuts[0].path if cuts else 'none at all'}")
    lengths = {name: len(values) for name, values in units[books[0].name].items()}
    labels = phones_of(alignment, lengths)
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


def measure_codebooks(
    cuts: list[Path],
    alignment: list[Path],
    codebooks: dict[str, Path],
    out: Path,
    units: Units,
    speakers: Sequence[Path] = (),
    minutes: float = Sweep().minutes,
    seed: int = 0,
) -> None:
    """Measure the quality of all codebooks of a layer on the same speech, which is encoded once.

    The file maps each codebook to its figures, ABX of features and units among them (null without units.abx_minutes).
    Raise UserError if no utterance can be read, or if a codebook has another layer or other statistics.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard
        alignment: alignment/{shard}.parquet of every shard, in the same order
        codebooks: the centroids.safetensors of each codebook of the layer, by its name
        out: units_sweep/layer{n}/quality.json to write
        speakers: units/speakers.safetensors, needed for normalisation by speaker
        minutes: speech that is measured, in minutes
        seed: seed of the drawing
    """
    encoder = open_encoder(units)
    books = open_codebooks(encoder, codebooks, speakers)
    chosen = draw_cuts(cuts, alignment, 60 * minutes, seed)
    figures = _quality(books, encoder, chosen, alignment, seed, workers(units, encoder))
    abx = {book.name: None for book in books}
    if units.abx_minutes:
        abx = _abx(books, encoder, abx_run.draw_speech(cuts, alignment, units.abx_minutes, seed))
    for book in books:
        empty = book.codebook.provenance["empty_clusters"]
        figures[book.name] |= {"empty_clusters_in_sample": empty, "abx": abx[book.name]}
    write_json(out, figures)


def _abx(books: list[NamedCodebook], encoder: Encoder, speech: abx_run.Speech) -> dict[str, Any]:
    """ABX of each codebook's units and of their features, which are encoded once."""
    features = abx_run.encode_speech(encoder, speech)
    of_features: dict[str, Any] = {}  # by normalisation
    out: dict[str, Any] = {}
    for book in books:
        normaliser = book.quantiser.normaliser
        normal = {at: normaliser.apply(values, speech.cuts[at].speaker) for at, values in features.items()}
        if normaliser.kind not in of_features:
            of_features[normaliser.kind] = abx_run.features_abx(speech, normal)
        spoken = {at: book.codebook.assign(values) for at, values in normal.items()}
        out[book.name] = {
            **speech.counts,
            "features": of_features[normaliser.kind],
            "units": abx_run.units_abx(speech, spoken, book.codebook.centroids),
            "dedup": abx_run.units_abx(speech, spoken, None, dedup=True),
        }
    return out
