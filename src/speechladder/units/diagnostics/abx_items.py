"""ABX on the item files of ZeroSpeech and fastabx: the field's task, on any features or units.

An item file says where each phone or triphone lies: `#file onset offset #phone prev-phone next-phone speaker`, with
spaces between, and seconds. The rules are those of fastabx (Poli et al. 2025, arXiv 2505.02692), which follows ABXpy:
frame i lies at (i + 1/2) / frequency, and an item has the frames from onset to offset, both ends included. Errors are
averaged over contexts and over the speakers of X, then over the speakers of A and B, then over pairs of phones.

`context: within` compares items with the same neighbours, as the triphone task and the phoneme-in-context task do: the
file says whether an item is a phone or a triphone. `context: any` leaves the neighbours out of account.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from speechladder.constants import FRAME_RATE, RECEPTIVE_FIELD
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.errors import UserError, first_line
from speechladder.io.files import files_below, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.settings import Units
from speechladder.units.codebook import Codebook, load_codebook
from speechladder.units.diagnostics import abx
from speechladder.units.encoders.base import Encoder
from speechladder.units.encoders.factory import open_encoder

COLUMNS = ("#file", "onset", "offset", "#phone", "prev-phone", "next-phone", "speaker")
PER_CELL = 10  # most A, B or X of a cell, as in ZeroSpeech 2021
PER_X = 5  # most speakers of X for an A and B, as in ZeroSpeech 2021
_EDGE = 1e-6  # frames; times are decimal


def read_items(path: Path, frequency: float) -> tuple[list[str], list[abx.Token]]:
    """The files of an item file in their order, and its items as tokens, whose `utterance` is the index of the file.

    Raise UserError that names the file, the line and the column if a line is not as it should be.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give an item file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; an item file is text, such as triphone-dev-clean.item") from None
    if not lines or tuple(lines[0].split()) != COLUMNS:
        raise UserError(f"{path}: the first line must be '{' '.join(COLUMNS)}'")
    files: dict[str, int] = {}
    tokens = []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split()
        if len(cells) != len(COLUMNS):
            raise UserError(f"{path}, line {number}: {len(cells)} cells instead of {len(COLUMNS)}; mend the line")
        name, onset, offset, phone, before, after, speaker = cells
        try:
            start, end = float(onset), float(offset)
        except ValueError:
            raise UserError(f"{path}, line {number}: onset '{onset}' and offset '{offset}' must be seconds") from None
        if not 0 <= start < end < float("inf"):
            raise UserError(f"{path}, line {number}: offset {offset} must be after onset {onset}, which is 0 or more")
        first, last = frames_of(start, end, frequency)
        tokens.append(abx.Token(files.setdefault(name, len(files)), first, last, phone, (before, after), speaker))
    if not tokens:
        raise UserError(f"{path}: no items below the first line")
    return list(files), tokens


def frames_of(onset: float, offset: float, frequency: float) -> tuple[int, int]:
    """The first frame, and the one after the last, of those whose middle lies from `onset` to `offset` seconds."""
    return int(np.ceil(onset * frequency - 0.5 - _EDGE)), int(np.floor(offset * frequency - 0.5 + _EDGE)) + 1


def item_abx(
    tokens: Iterable[abx.Token],
    frames: dict[int, np.ndarray],
    cost: abx.Cost,
    context: str = "within",
    per_cell: int = PER_CELL,
    per_x: int = PER_X,
    seed: int = 0,
) -> dict[str, Any]:
    """`within` and `across` in percent (null if there is no cell), and the number of cells and of items left out.

    `frames` maps utterances to (frames, ...). An item is left out if its utterance is missing (`no_frames`), if it has
    no frame (`too_short`) or if it ends after the last frame (`too_late`); fastabx refuses such files. 0 as `per_cell`
    or `per_x` takes all there are.
    """
    kept, left_out = _usable(tokens, frames)
    drawn = _draw(kept, context, per_cell, seed)

    def pieces(token: abx.Token) -> np.ndarray:
        return frames[token.utterance][token.first : token.last]

    chosen = _speakers_of_x(drawn, context, per_x, seed)

    def heard(token: abx.Token, others: list[str]) -> list[str]:
        return [other for other in others if other in chosen[_cell(token, context)]]

    if context == "within":
        found = abx.cell_errors(_by(drawn, "context"), pieces, cost, heard)
    else:
        speakers = _by(drawn, "speaker")
        pairs = (a + b for a, b in combinations(speakers, 2))
        found = {
            "within": abx.cell_errors(speakers, pieces, cost)["within"],
            "across": abx.cell_errors(pairs, pieces, cost, heard)["across"],
        }
    return {**_averaged(found), "items": len(kept), "left_out": left_out}


def _usable(tokens: Iterable[abx.Token], frames: dict[int, np.ndarray]) -> tuple[list[abx.Token], dict[str, int]]:
    kept, left_out = [], {"no_frames": 0, "too_short": 0, "too_late": 0}
    for token in tokens:
        if token.utterance not in frames:
            left_out["no_frames"] += 1
        elif token.last <= token.first:
            left_out["too_short"] += 1
        elif token.last > len(frames[token.utterance]):
            left_out["too_late"] += 1
        else:
            kept.append(token)
    return kept, left_out


def _cell(token: abx.Token, context: str) -> tuple[str, ...]:
    """What the items of one list of A, B or X share: speaker, phone and, if it counts, context."""
    return (token.speaker, token.phone, *(token.context if context == "within" else ()))


def _draw(tokens: Sequence[abx.Token], context: str, per_cell: int, seed: int) -> list[abx.Token]:
    """At most `per_cell` items of each `_cell`, by hash, in the order of the file."""
    cells: dict[Any, list[int]] = defaultdict(list)
    for at, token in enumerate(tokens):
        cells[_cell(token, context)].append(at)

    def order(at: int) -> Any:
        return stable_hash("abx", seed, tokens[at].utterance, tokens[at].first, tokens[at].last)

    chosen = [at for found in cells.values() for at in sorted(found, key=order)[: per_cell or None]]
    return [tokens[at] for at in sorted(chosen)]


def _speakers_of_x(tokens: Sequence[abx.Token], context: str, per_x: int, seed: int) -> dict[Any, set[str]]:
    """The speakers of X, at most `per_x` by hash, for each `_cell` of A."""
    found: dict[Any, set[str]] = defaultdict(set)
    for token in tokens:
        found[_cell(token, context)[1:]].add(token.speaker)

    def drawn(cell: tuple[str, ...]) -> set[str]:
        others = sorted(found[cell[1:]] - {cell[0]}, key=lambda other: stable_hash("abx x", seed, *cell, other))
        return set(others[: per_x or None])

    return {cell: drawn(cell) for cell in {_cell(token, context) for token in tokens}}


def _averaged(cells: dict[str, dict[tuple[Any, str, str], list[float]]]) -> dict[str, Any]:
    """The figures of both kinds; the speakers of X are averaged together with the contexts."""
    out: dict[str, Any] = {}
    for kind, found in cells.items():
        pooled: dict[Any, list[float]] = defaultdict(list)
        for (speaker, p, q), values in found.items():
            pooled[speaker[0] if kind == "across" else speaker, p, q] += values
        out |= {kind: abx.averaged(pooled), f"{kind}_cells": sum(map(len, found.values()))}
    return out


def _by(tokens: Sequence[abx.Token], name: str) -> list[list[abx.Token]]:
    """The items in groups of one speaker, or of one context in which phones contrast."""
    found: dict[Any, list[abx.Token]] = defaultdict(list)
    for token in tokens:
        found[getattr(token, name)].append(token)
    return [group for group in found.values() if len({token.phone for token in group}) > 1 or name == "speaker"]


# --- the command ---


def write_item_abx(
    item: Path,
    out: Path,
    units: Units,
    frames: Path | None = None,
    audio: Path | None = None,
    codebook: Path | None = None,
    frequency: float = FRAME_RATE,
    context: Literal["within", "any"] = "within",
    per_cell: int = PER_CELL,
    per_x: int = PER_X,
    seed: int = 0,
) -> None:
    """Measure ABX within and across speakers on an item file, and write the figures as JSON.

    The representations are read (frames) or made from audio by an encoder at 50 Hz. Figures of two runs compare only if
    the item file and all options but the representations are the same.

    Args:
        item: item file, of phones or triphones
        out: JSON file to write
        frames: folder with FILE.npy for each #file, (frames, dim) of features or (frames,) of units as integers
        audio: folder with FILE.flac or FILE.wav for each #file, at any depth
        codebook: centroids.safetensors; the units and their centroids are measured beside the features
        frequency: frames per second of the representations
        context: within compares items with the same neighbours, any leaves them out of account
        per_cell: most items of a phone by one speaker (in one context); 0 takes all
        per_x: most speakers of X for one A; 0 takes all
        seed: seed of the drawing
    """
    if (frames is None) == (audio is None):
        raise UserError("give either --frames, a folder of *.npy, or --audio, a folder of recordings")
    if audio and frequency != FRAME_RATE:
        raise UserError(
            f"--frequency {frequency:g}: encoders have {FRAME_RATE} frames a second; leave it out with --audio"
        )
    if not frequency > 0 or per_cell < 0 or per_x < 0:
        raise UserError("--frequency must be above 0, --per-cell and --per-x 0 or more")
    files, tokens = read_items(item, frequency)
    encoder = open_encoder(units) if audio else None
    book = _matching(codebook, encoder) if codebook else None
    found = encode_files(audio, files, encoder) if encoder else read_frames(frames, files)
    if not found:
        raise UserError(f"{frames or audio}: none of the {len(files)} files of {item} is there, first '{files[0]}'")
    features = _check_alike(found, files, frames, book)
    figures: dict[str, Any] = {}

    def measure(name: str, values: dict[int, np.ndarray], cost: abx.Cost) -> None:
        figures[name] = item_abx(tokens, values, cost, context, per_cell, per_x, seed)

    measure(*(("features", found, abx.angles) if features else ("units", found, abx.same_or_not)))
    if book:
        if features:
            found = {at: book.assign(values).astype(np.int64) for at, values in found.items()}
            measure("units", found, abx.same_or_not)
        measure("centroids", found, abx.table_cost(abx.angles(book.centroids)))
    about = {"item": item.name, "files": len(files), "context": context, "per_cell": per_cell, "per_x": per_x}
    write_json(out, {**about, "frequency": frequency, "seed": seed, **figures})


def _matching(path: Path, encoder: Encoder | None) -> Codebook:
    """The codebook, of this encoder if there is one. Raise UserError if it needs features normalised as in its run."""
    book = load_codebook(path, encoder.provenance if encoder else None)
    kind = book.provenance.get("normalisation", "none")
    if encoder and kind != "none":
        raise UserError(
            f"{path}: made from features with units.normalisation: {kind}, which are not made here from recordings; "
            "give the features by --frames, normalised alike"
        )
    return book


def _check_alike(
    found: dict[int, np.ndarray], files: Sequence[str], folder: Path | None, book: Codebook | None
) -> bool:
    """Whether the arrays are features, not units. Raise UserError if they differ in kind or do not fit the codebook."""
    features = next(iter(found.values())).ndim == 2
    size = {values.shape[1:] for values in found.values()}
    if len(size) > 1:
        said = ", ".join(str(s[0]) if s else "units" for s in sorted(size))
        raise UserError(f"{folder}: some files have features of another size, or units: {said}; give one kind")
    if book and features and size != {book.centroids.shape[1:]}:
        raise UserError(
            f"{folder}: features of {size.pop()[0]} dimensions, but the codebook has {book.centroids.shape[1]}"
        )
    for at, values in found.items():
        if book and not features and len(values) and not 0 <= values.min() <= values.max() < len(book.centroids):
            raise UserError(
                f"{folder}/{files[at]}.npy: units {values.min()} to {values.max()}, but the codebook has "
                f"{len(book.centroids)}; give the codebook that made them"
            )
    return features


def read_frames(folder: Path, files: Sequence[str]) -> dict[int, np.ndarray]:
    """The arrays of FILE.npy by the index of the file, of those that are there. Raise UserError if one is no array."""
    out = {}
    for at, name in enumerate(files):
        path = folder / f"{name}.npy"
        if not path.is_file():
            continue
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: not readable as a NumPy array ({first_line(error)}); save it with np.save"
            ) from None
        units = values.ndim == 1 and np.issubdtype(values.dtype, np.integer)
        if not units and not (values.ndim == 2 and np.issubdtype(values.dtype, np.floating)):
            said = f"{values.dtype} with {values.ndim} dimensions"
            raise UserError(f"{path}: {said}; features are floats (frames, dim), units integers (frames,)")
        if not np.isfinite(values).all():
            raise UserError(f"{path}: has values that are not finite")
        out[at] = values.astype(np.int64) if units else values.astype(np.float32)
    return out


def encode_files(folder: Path, files: Sequence[str], encoder: Encoder) -> dict[int, np.ndarray]:
    """Features (frames, dim) of the recordings by the index of the file, of those that can be read."""
    paths = {path.stem: path for path in files_below(folder) if path.suffix in (".flac", ".wav")}
    out = {}
    with progress("encode", len(files), "files/s") as meter:
        for at, name in enumerate(files):
            meter.advance(1)
            try:
                samples = read_audio(paths[Path(name).name])
            except (KeyError, AudioError):
                continue
            if len(samples) >= RECEPTIVE_FIELD:
                out[at] = encoder.encode([samples])[0]
    return out
