"""Manifests -> results/corpus/manifest/: the cuts of the run, dealt to shards by hash of their recording.

Two passes. The first reads everything into a few numbers per cut (34 bytes), from which is decided what is a duplicate,
which split a cut belongs to, and which cuts a cap in hours keeps; the second writes those that are kept.
"""

import json
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from speechladder.corpora.cuts import SPLITS
from speechladder.corpora.manifest import (
    BadRecordError,
    BrokenManifestError,
    Record,
    ShardWriter,
    lines,
    parse,
    split_of,
)
from speechladder.corpora.subset import water_fill
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import Meter, progress
from speechladder.settings import Corpus

TRAIN = SPLITS.index("train")
LEFT_OUT, DUPLICATE = 254, 255  # verdicts on a line; any other is the split, as its place in SPLITS
_hash = lru_cache(maxsize=256)(stable_hash)  # cuts of a recording follow each other


class _Survey:
    """What the first pass keeps of every cut, in the order of the manifests.

    The columns as (cuts,): `order` a hash of the id, `recording` and `speaker` hashes of those names (uint64),
    `seconds` (float32), `split` (uint8). `usable` has, per manifest, a byte per line: whether it is a cut. That two of
    eleven million ids share a hash has a probability of 3e-6.
    """

    def __init__(self) -> None:
        self._numbers = {name: array("Q") for name in ("order", "recording", "speaker")}
        self._seconds, self._split = array("f"), bytearray()
        self.usable: list[bytearray] = []

    def add(self, record: Record) -> None:
        order, recording, speaker = self._numbers.values()
        order.append(stable_hash("hours", record.id))
        recording.append(_hash("split", record.recording))
        speaker.append(_hash("speaker", record.speaker))
        self._seconds.append(record.duration)
        self._split.append(SPLITS.index(record.split))

    def columns(self) -> dict[str, np.ndarray]:
        """As numpy arrays, without a copy."""
        numbers = {name: np.frombuffer(values, np.uint64) for name, values in self._numbers.items()}
        return numbers | {
            "seconds": np.frombuffer(self._seconds, np.float32),
            "split": np.frombuffer(self._split, np.uint8),
        }


def split_manifests(manifests: Sequence[str | Path], corpus: Corpus, folder: str | Path) -> dict[str, Any]:
    """Write `folder`: {shard}.jsonl.gz (records) for corpus.shards shards, rejected.jsonl and summary.json; returns the
    summary. Whole or not at all.

    A cut's shard is the hash of its recording, its split what the manifest's name says (`manifest.split_of`). Where no
    manifest gives a split valid or test, whole recordings are drawn for it from train by their hash, about
    corpus.valid_fraction and corpus.test_fraction of the utterances, so that train and valid share no recording.
    Where two cuts have one id the first is kept. corpus.hours cuts train down (`subset.water_fill`), before anything is
    known of the disk. What a manifest says that is no cut is listed with its line and stops nothing; UserError where a
    manifest holds no cut at all, is missing or named twice, or where nothing is left to train on.
    """
    paths = [Path(path) for path in manifests]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file; corpus.manifests names it")
        if paths.count(path) > 1:
            raise UserError(f"corpus.manifests: {path} is named twice")
    size = sum(path.stat().st_size for path in paths)
    with atomic_folder(folder) as out, (out / "rejected.jsonl").open("w") as rejected:
        with progress("manifests, read", size, "MB/s", scale=1e-6) as meter:
            survey, described = _read(paths, rejected, meter)
        verdict, figures = _decide(survey.columns(), corpus)
        with progress("manifests, dealt", size, "MB/s", scale=1e-6) as meter:
            _deal(paths, survey, verdict, corpus.shards, out, rejected, meter)
        summary = {"manifests": described, "shards": corpus.shards, "hours": corpus.hours, **figures}
        write_json(out / "summary.json", summary)
    return summary


def _reject(file: TextIO, row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read(paths: list[Path], rejected: TextIO, meter: Meter) -> tuple[_Survey, list[dict[str, Any]]]:
    """The first pass; what is no cut goes to `rejected`. Also the figures of each manifest."""
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
                f"{path}: no line of it is a cut ({first or 'it is empty'}); corpus.manifests are lhotse cuts as JSON "
                "lines (.jsonl.gz or .jsonl), as LibriHeavy publishes them"
            )
        survey.usable.append(usable)
        described.append(
            {"path": str(path), "split": split, "cuts": cuts, "hours": round(seconds / 3600, 4), "rejected": bad}
        )
    return survey, described


def _records(path: Path, split: str, meter: Meter) -> Iterator[tuple[int, Record | Exception | None]]:
    """Each line as a record, as what is wrong with it, or None where it is blank."""
    number = 0
    try:
        for number, line in lines(path, meter):
            try:
                yield number, parse(line, split) if line.strip() else None
            except BadRecordError as error:
                yield number, error
    except BrokenManifestError as error:
        yield number + 1, error


def _decide(columns: dict[str, np.ndarray], corpus: Corpus) -> tuple[np.ndarray, dict[str, Any]]:
    """What becomes of each cut, (cuts,) uint8, and the figures that the summary has of it."""
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
    twice = ~fresh & kept[first]  # of a cut that the cap leaves out nothing need be said
    verdict[twice] = DUPLICATE
    return verdict, {
        "duplicates": int(twice.sum()),
        "level_seconds": None if level is None or np.isinf(level) else round(level, 3),
        "before": _figures(columns, split, fresh),
        "after": _figures(columns, split, kept),
    }


def _first_of_each(values: np.ndarray) -> np.ndarray:
    """(n,) -> (n,): the place where each value occurs first."""
    at = np.argsort(values, kind="stable")
    new = np.concatenate([[True], values[at[1:]] != values[at[:-1]]])
    first = np.empty(len(values), np.int64)
    first[at] = at[np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))]
    return first


def _draw_splits(split: np.ndarray, recording: np.ndarray, fresh: np.ndarray, corpus: Corpus) -> None:
    """Draw what no manifest gives, in place: recordings in the order of their hash, at least one, never the last."""
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


def _deal(
    paths: list[Path],
    survey: _Survey,
    verdict: np.ndarray,
    shards: int,
    out: Path,
    rejected: TextIO,
    meter: Meter,
) -> None:
    """The second pass: lines that are kept go to their shards, duplicates to `rejected`; the others are not parsed."""
    writer, start = ShardWriter(out, shards), 0
    for path, usable in zip(paths, survey.usable):
        here = np.frombuffer(usable, bool)
        verdicts = np.full(len(here), LEFT_OUT, np.uint8)
        verdicts[here] = verdict[start : start + here.sum()]
        verdicts = verdicts.tobytes()  # a byte is looked up faster than an element of an array
        start += here.sum()
        try:
            for number, line in lines(path, meter):
                code = verdicts[number - 1]
                if code == LEFT_OUT:
                    continue
                record = parse(line, SPLITS[TRAIN if code == DUPLICATE else code])
                if code == DUPLICATE:
                    _reject(rejected, record.left_out("duplicate id: the first is kept", f"{path}:{number}"))
                else:
                    writer.write(_hash("shard", record.recording) % shards, record.line())
        except BrokenManifestError:
            pass  # the first pass listed it
        except (IndexError, BadRecordError):
            raise UserError(f"{path}: changed while it was read; run again") from None
    writer.flush()
