"""One pass of the encoder over speech for all codebooks of a layer: figures of quality, and units of the corpus.

A sweep's points differ in layer, clusters, normalisation, de-duplication and the seed of k-means; what costs is the
encoder, and that knows only the layer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import ALIGNMENT, ITEMS, UNITS, UTTERANCES, read_table, write_table
from speechladder.settings import SAMPLE_RATE, Units
from speechladder.units import abx_run
from speechladder.units.codebook import Codebook, load
from speechladder.units.encoder import MIN_SAMPLES, Encoder, open_encoder
from speechladder.units.normalise import Normaliser
from speechladder.units.quality import frame_phones, quality


@dataclass(frozen=True)
class Book:
    """A codebook by the name of its point, with the normalisation it was trained under."""

    name: str
    codebook: Codebook
    normaliser: Normaliser

    def units(self, features: np.ndarray, speaker: str) -> np.ndarray:
        """(frames, dim) of an utterance -> (frames,) uint16."""
        return self.codebook.assign(self.normaliser.apply(features, speaker))


def open_books(encoder: Encoder, paths: Iterable[Path], speakers: Iterable[Path]) -> list[Book]:
    """Codebooks by the names of their files. Raises UserError where one is of another layer or of other statistics."""
    books, speakers, normalisers = [], list(speakers), {}
    for path in paths:
        codebook = load(path, encoder.provenance)
        kind = codebook.provenance.get("normalisation", "none")
        if kind not in normalisers:
            normalisers[kind] = Normaliser.matching(codebook.provenance, speakers)
        books.append(Book(path.name.removesuffix(".safetensors"), codebook, normalisers[kind]))
    return books


def encoded(
    encoder: Encoder, speech: Iterable[tuple[Any, str, np.ndarray]], total: float, label: str
) -> Iterator[tuple[Any, str, np.ndarray]]:
    """(what, speaker, (samples,)) -> (what, speaker, (frames, dim)) in order; `total` seconds, for progress."""
    window: list[tuple[Any, str, np.ndarray]] = []

    def flush() -> Iterator[tuple[Any, str, np.ndarray]]:
        found = encoder.encode([samples for *_, samples in window]) if window else []
        for (what, speaker, samples), features in zip(window, found, strict=True):
            meter.advance(len(samples) / SAMPLE_RATE)
            yield what, speaker, features

    with progress(label, total, "h of speech per h") as meter:
        for row in speech:
            window.append(row)
            if sum(len(samples) for *_, samples in window) >= encoder.ahead * SAMPLE_RATE:
                yield from flush()
                window = []
        yield from flush()


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


def _readable(cuts: Iterable[Cut]) -> Iterator[tuple[Cut, str, np.ndarray]]:
    for cut in cuts:
        try:
            samples = cut.samples()
        except AudioError:
            continue  # listed with its reason by the stage that extracts the run's own units
        if len(samples) >= MIN_SAMPLES:
            yield cut, cut.speaker, samples


def _quality(
    books: list[Book],
    encoder: Encoder,
    cuts: list[Cut],
    alignments: list[Path],
    seed: int,
) -> dict[str, dict[str, Any]]:
    units: dict[str, dict[str, np.ndarray]] = {book.name: {} for book in books}
    speakers: dict[str, str] = {}
    for cut, speaker, features in encoded(encoder, _readable(cuts), sum(c.duration for c in cuts), "quality"):
        speakers[cut.id] = speaker
        for book in books:
            units[book.name][cut.id] = book.units(features, speaker)
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
    codebooks: list[Path],
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
    figures = _quality(books, encoder, drawn(cuts, alignments, 60 * minutes, seed), alignments, seed)
    given = abx_run.speech(cuts, alignments, units.abx_minutes, seed) if units.abx_minutes else None
    features = abx_run.encoded(encoder, given) if given else {}
    of_features: dict[str, Any] = {}
    for book in books:
        row = {"empty_clusters_in_sample": book.codebook.provenance["empty_clusters"], "abx": None}
        if given:
            kind, whose = book.normaliser.kind, {at: given.cuts[at].speaker for at in features}
            normal = {at: book.normaliser.apply(values, whose[at]) for at, values in features.items()}
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


def _write(out: Path, rows: dict[str, list[dict[str, Any]]], encoder: Encoder, books: list[Book]) -> None:
    """A UNITS table per codebook, {out}/{codebook}.parquet."""
    with atomic_folder(out) as folder:
        for book in books:
            about = {"encoder": encoder.hash, "layer": str(encoder.layer)}
            about["clusters"] = str(len(book.codebook.centroids))
            write_table(folder / f"{book.name}.parquet", rows[book.name], UNITS, **about)


def extract_shard(
    cuts: Path, utterances: Path, shard: int, codebooks: list[Path], speakers: list[Path], out: Path, units: Units
) -> None:
    """Write {out}/{codebook}.parquet, the units of a shard's utterances that every rung sees (UTTERANCES). Raises
    UserError naming one that cannot be read: the run's own units have it."""
    encoder = open_encoder(units)
    books = open_books(encoder, codebooks, speakers)
    table = read_table(utterances, UTTERANCES, columns=["id", "shard", "seconds"]).to_pylist()
    wanted = {row["id"]: row["seconds"] for row in table if row["shard"] == shard}

    def speech() -> Iterator[tuple[str, str, np.ndarray]]:
        for cut in read_cuts(cuts):
            if cut.id in wanted:
                try:
                    yield cut.id, cut.speaker, cut.samples()
                except AudioError as error:
                    raise UserError(f"{cut.path}, utterance '{cut.id}': {error}; run the units again") from None

    rows: dict[str, list[dict[str, Any]]] = {book.name: [] for book in books}
    for name, speaker, features in encoded(encoder, speech(), sum(wanted.values()), f"units {shard}"):
        for book in books:
            rows[book.name].append({"id": name, "units": book.units(features, speaker)})
    _write(out, rows, encoder, books)


def extract_items(
    items: list[Path], codebooks: list[Path], speakers: list[Path], out: list[Path], units: Units
) -> None:
    """Write {out}/{codebook}.parquet for each table of items, where `id` is the item. Raises UserError naming an item
    without units."""
    encoder = open_encoder(units)
    books = open_books(encoder, codebooks, speakers)
    for path, folder in zip(items, out, strict=True):
        table = read_table(path, ITEMS, columns=["item", "voice", "seconds", "audio"])
        rows: dict[str, list[dict[str, Any]]] = {book.name: [] for book in books}
        for item, voice, features in encoded(
            encoder, _items(path, table), sum(table["seconds"].to_pylist()), str(path)
        ):
            for book in books:
                rows[book.name].append({"id": item, "units": book.units(features, voice)})
        _write(folder, rows, encoder, books)


def _items(path: Path, table: Any) -> Iterator[tuple[str, str, np.ndarray]]:
    for batch in table.to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            try:
                samples = read_audio(row["audio"] or b"")
                if len(samples) < MIN_SAMPLES:
                    raise AudioError(f"{len(samples)} samples, {MIN_SAMPLES} are one frame")
            except AudioError as error:
                raise UserError(f"{path}, item '{row['item']}': {error}; make the items again") from None
            yield row["item"], row["voice"], samples
