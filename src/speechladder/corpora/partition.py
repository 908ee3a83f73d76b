"""Manifests -> results/corpus/manifest/: the cuts of the run, partitioned into shards by a hash of their recording.

There are two passes. The first reads the manifests into a few numbers per cut (34 bytes). They decide which cuts are
duplicates, which split each cut belongs to, and which cuts corpus.hours keeps. The second writes the cuts that are
kept.
"""

import json
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from speechladder.corpora.cuts import SPLITS
from speechladder.corpora.draw import water_fill
from speechladder.corpora.manifest import (
    BadRecordError,
    BrokenManifestError,
    Record,
    ShardWriter,
    parse_record,
    read_lines,
    split_of,
)
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import Meter, progress, say
from speechladder.settings import Corpus

TRAIN = SPLITS.index("train")
LEFT_OUT, DUPLICATE = 254, 255  # verdicts on a cut; any other verdict is the cut's split, as its index in SPLITS
_hash = lru_cache(maxsize=256)(stable_hash)  # the cuts of a recording follow each other


class _Survey:
    """The numbers that the first pass keeps of every cut, in the order of the manifests.

    Columns of shape (cuts,): `order` is a hash of the id, `recording` and `speaker` are hashes of those names (uint64),
    `seconds` is float32, `split` is uint8. `usable` has a bytearray for each manifest with a byte for each line:
    whether the line is a cut. The probability that two of eleven million ids share a hash is 3e-6.
    """

    def __init__(self) -> None:
        self._numbers = {name: array("Q") for name in ("order", "recording", "speaker")}
        self._seconds, self._split = array("f"), bytearray()
        self.usable: list[bytearray] = []

    def add(self, record: Record) -> None:
        """Append the numbers of a cut."""
        order, recording, speaker = self._numbers.values()
        order.append(stable_hash("hours", record.id))
        recording.append(_hash("split", record.recording))
        speaker.append(_hash("speaker", record.speaker))
        self._seconds.append(record.duration)
        self._split.append(SPLITS.index(record.split))

    def columns(self) -> dict[str, np.ndarray]:
        """The columns as numpy arrays, without a copy."""
        numbers = {name: np.frombuffer(values, np.uint64) for name, values in self._numbers.items()}
        return numbers | {
            "seconds": np.frombuffer(self._seconds, np.float32),
            "split": np.frombuffer(self._split, np.uint8),
        }


def split_manifests(files: Sequence[Path], corpus: Corpus, out: Path) -> dict[str, Any]:
    """Partition the cuts of a corpus's manifests into shards, within corpus.hours.

    Returns the summary. The folder `out` is replaced as a whole. It holds {shard}.jsonl.gz (records) for corpus.shards
    shards, rejected.jsonl and summary.json. The hash of a cut's recording decides its shard. The name of the manifest
    decides its split (`manifest.split_of`). If no manifest gives the split valid or test, whole recordings are drawn
    for it from train by their hash, about corpus.valid_fraction and corpus.test_fraction of the utterances, so that
    train and valid share no recording. If two cuts have the same id, the first is kept. corpus.hours then shortens
    train (`draw.water_fill`). All this happens before any audio is opened. A line that is no cut is listed with its
    number and stops nothing. Raises UserError if a manifest holds no cut, is missing or is named twice, or if nothing
    is left to train on.

    Args:
        files: the manifests (.jsonl.gz or .jsonl)
        out: corpus/manifest, a folder to write
    """
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: no such file; corpus.manifests names it")
        if list(files).count(path) > 1:
            raise UserError(f"corpus.manifests: {path} is named twice")
    size = sum(path.stat().st_size for path in files)
    with atomic_folder(out) as folder, (folder / "rejected.jsonl").open("w") as rejected:
        with progress("manifests, read", size, "MB/s", scale=1e-6) as meter:
            survey, described = _read(files, rejected, meter)
        verdict, figures = _decide(survey.columns(), corpus)
        with progress("manifests, written", size, "MB/s", scale=1e-6) as meter:
            _write(files, survey, verdict, corpus.shards, folder, rejected, meter)
        summary = {"manifests": described, "shards": corpus.shards, "hours": corpus.hours, **figures}
        write_json(folder / "summary.json", summary)
    for split, row in summary["after"].items():
        say(f"{split}: {row['utterances']:,} utterances, {row['hours']:,.1f} h, {row['speakers']:,} speakers")
    return summary


def _reject(file: TextIO, row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read(paths: Sequence[Path], rejected: TextIO, meter: Meter) -> tuple[_Survey, list[dict[str, Any]]]:
    """The first pass: (the survey, figures of each manifest). Lines that are no cuts go to `rejected`."""
    survey, described = _Survey(), []
    for path in paths:
        usable, split, first = bytearray(), split_of(path), ""
        cuts, bad, seconds = 0, 0, 0.0
        for number, found in _records(path, split, meter):
            if isinstance(found, Record):
                survey.add(found)
                cuts, seconds = cuts + 1, seconds + found.duration
            elif found is not None:
                name = getattr(found, "id", "") or f"{path.name}:{number}"
                _reject(rejected, {"id": name, "reason": str(found), "source": f"{path}:{number}"})
                bad, first = bad + 1, first or f"line {number}: {found}"
            usable.append(isinstance(found, Record))
        if not cuts:
            raise UserError(
                f"{path}: no line of it is a cut ({first or 'it is empty'}); corpus.manifests must be lhotse cuts as "
                "JSON lines (.jsonl.gz or .jsonl), as LibriHeavy publishes them"
            )
        survey.usable.append(usable)
        described.append(
            {"path": str(path), "split": split, "cuts": cuts, "hours": round(seconds / 3600, 4), "rejected": bad}
        )
    return survey, described


def _records(path: Path, split: str, meter: Meter) -> Iterator[tuple[int, Record | Exception | None]]:
    """Yield (number, record) for each line; a line that is no record has its error instead, a blank line None."""
    number = 0
    try:
        for number, line in read_lines(path, meter):
            try:
                yield number, parse_record(line, split) if line.strip() else None
            except BadRecordError as error:
                yield number, error
    except BrokenManifestError as error:
        yield number + 1, error


def _decide(columns: dict[str, np.ndarray], corpus: Corpus) -> tuple[np.ndarray, dict[str, Any]]:
    """The verdict on each cut, (cuts,) uint8, and the figures of it for the summary."""
    order, seconds, split = columns["order"], columns["seconds"], columns["split"].copy()
    first = _first_of_each(order)
    fresh = first == np.arange(len(order))
    _draw_splits(split, columns["recording"], fresh, corpus)
    kept, level = fresh.copy(), None
    if corpus.hours is not None:
        train = np.flatnonzero(fresh & (split == TRAIN))
        chosen, level = water_fill(columns["speaker"][train], order[train], seconds[train], 3600 * corpus.hours)
        kept[train[~chosen]] = False
    if not (kept & (split == TRAIN)).any():
        hint = "give a manifest of train" if corpus.hours is None else f"raise corpus.hours ({corpus.hours:g})"
        raise UserError(f"corpus.manifests: nothing is left to train on; {hint}")
    verdict = np.where(kept, split, LEFT_OUT).astype(np.uint8)
    twice = ~fresh & kept[first]  # duplicates of a cut that corpus.hours leaves out are not listed
    verdict[twice] = DUPLICATE
    return verdict, {
        "duplicates": int(twice.sum()),
        "level_seconds": None if level is None or np.isinf(level) else round(level, 3),
        "before": _figures(columns, split, fresh),
        "after": _figures(columns, split, kept),
    }


def _first_of_each(values: np.ndarray) -> np.ndarray:
    """(n,) -> (n,): the index at which each value occurs first."""
    at = np.argsort(values, kind="stable")
    new = np.concatenate([[True], values[at[1:]] != values[at[:-1]]])
    first = np.empty(len(values), np.int64)
    first[at] = at[np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))]
    return first


def _draw_splits(split: np.ndarray, recording: np.ndarray, fresh: np.ndarray, corpus: Corpus) -> None:
    """Draw the splits that no manifest gives, in place.

    Recordings are taken in the order of their hash: at least one, and never the last.
    """
    for name, fraction in (("valid", corpus.valid_fraction), ("test", corpus.test_fraction)):
        number = SPLITS.index(name)
        if (split == number).any():
            continue
        train = np.flatnonzero(fresh & (split == TRAIN))
        hashes, which, counts = np.unique(recording[train], return_inverse=True, return_counts=True)
        if len(hashes) > 1:
            nearest = int(np.argmin(np.abs(np.cumsum(counts) - fraction * len(train))))
            split[train[which <= min(nearest, len(hashes) - 2)]] = number


def _figures(columns: dict[str, np.ndarray], split: np.ndarray, chosen: np.ndarray) -> dict[str, dict[str, Any]]:
    out = {}
    for number, name in enumerate(SPLITS):
        here = chosen & (split == number)
        out[name] = {
            "utterances": int(here.sum()),
            "hours": round(float(columns["seconds"][here].sum(dtype=np.float64)) / 3600, 4),
            "speakers": len(np.unique(columns["speaker"][here])),
            "recordings": len(np.unique(columns["recording"][here])),
        }
    return out


def _write(
    paths: Sequence[Path],
    survey: _Survey,
    verdict: np.ndarray,
    shards: int,
    out: Path,
    rejected: TextIO,
    meter: Meter,
) -> None:
    """The second pass: cuts that are kept go to their shards, duplicates to `rejected`; other lines are not parsed."""
    writer, start = ShardWriter(out, shards), 0
    for path, usable in zip(paths, survey.usable):
        here = np.frombuffer(usable, bool)
        verdicts = np.full(len(here), LEFT_OUT, np.uint8)
        verdicts[here] = verdict[start : start + here.sum()]
        verdicts = verdicts.tobytes()  # indexing bytes is faster than indexing an array
        start += here.sum()
        try:
            for number, line in read_lines(path, meter):
                code = verdicts[number - 1]
                if code == LEFT_OUT:
                    continue
                record = parse_record(line, SPLITS[TRAIN if code == DUPLICATE else code])
                if code == DUPLICATE:
                    _reject(rejected, record.left_out("duplicate id: the first is kept", f"{path}:{number}"))
                else:
                    writer.write(_hash("shard", record.recording) % shards, record.line())
        except BrokenManifestError:
            pass  # the first pass has listed it
        except (IndexError, BadRecordError):
            raise UserError(f"{path}: the file changed while it was read; run again") from None
    writer.flush()
