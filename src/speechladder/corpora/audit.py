"""The audit of a corpus, all shards together: what was kept, what was left out and why, and whether it is too much."""

import re
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from speechladder.corpora.cuts import SPLITS, read_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import atomic, read_json, read_jsonl, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress, table_lines

WORST = 20  # speakers and recordings that are named, those with the most utterances left out
_ON_DISK = ("missing recording", "unreadable audio", "zero-length audio", "truncated audio", "sampling rate")


def reason_kind(reason: str) -> str:
    """A reason without its details, which follow a colon."""
    return reason.partition(": ")[0]


class _Kept:
    """The cuts of a corpus as columns: eleven million cuts take 190 MB."""

    def __init__(self) -> None:
        self.speakers: Counter[str] = Counter()
        self._split, self._recording = bytearray(), array("Q")
        self._seconds, self._recorded = array("f"), array("f")  # seconds of the cut, and of its recording

    def add_shard(self, cuts: Path) -> None:
        """Append the cuts of a shard."""
        for cut in read_cuts(cuts):
            self.speakers[cut.speaker] += 1
            self._split.append(SPLITS.index(cut.split) if cut.split in SPLITS else len(SPLITS))
            self._recording.append(stable_hash(cut.recording))
            self._seconds.append(cut.duration)
            self._recorded.append(cut.num_samples / cut.sampling_rate)

    def __len__(self) -> int:
        return len(self._split)

    def of_recording(self, name: str) -> int:
        """The number of cuts of a recording."""
        return int((np.frombuffer(self._recording, np.uint64) == stable_hash(name)).sum()) if len(self) else 0

    def split(self, number: int) -> tuple[int, float]:
        """Count and hours of a split."""
        here = np.frombuffer(self._split, np.uint8) == number
        seconds = np.frombuffer(self._seconds, np.float32)[here].sum(dtype=np.float64)
        return int(here.sum()), round(float(seconds) / 3600, 4)

    def disk(self) -> dict[str, Any]:
        """The number of recordings that cuts are taken from, and their hours."""
        _, first = np.unique(np.frombuffer(self._recording, np.uint64), return_index=True)
        seconds = np.frombuffer(self._recorded, np.float32)[first].sum(dtype=np.float64)
        return {"recordings": len(first), "hours_of_recordings": round(float(seconds) / 3600, 4)}


class _LeftOut:
    """The counts of the shards' rejected lists."""

    def __init__(self) -> None:
        self.count = 0
        self.by: dict[str, Counter[str]] = {"reason": Counter(), "split": Counter()}
        self.hours: dict[str, Counter[str]] = {"reason": Counter(), "split": Counter()}
        self.speakers: Counter[str] = Counter()
        self.recordings: Counter[str] = Counter()
        self.mentions: Counter[str] = Counter()
        self.on_disk: dict[str, set[str]] = {name: set() for name in _ON_DISK}

    def add_shard(self, rejected: Path, listing: TextIO) -> None:
        """Count the rejects of a shard, and write a line for each to `listing`."""
        for row in read_jsonl(rejected):
            reason = reason_kind(row["reason"])
            if row.get("mention"):
                self.mentions[reason] += 1
                continue
            self.count += 1
            listing.write("\t".join(re.sub(r"[\t\r\n]+", " ", row[name]) for name in ("id", "reason", "source")) + "\n")
            for name, value in (("reason", reason), ("split", row.get("split") or "unknown")):
                self.by[name][value] += 1
                self.hours[name][value] += (row.get("seconds") or 0.0) / 3600  # unknown if the file cannot be read
            if row.get("speaker"):
                self.speakers[row["speaker"]] += 1
            if row.get("recording"):
                self.recordings[row["recording"]] += 1
                if reason in self.on_disk:
                    self.on_disk[reason].add(row["recording"])

    def of(self, name: str, value: str) -> tuple[int, float]:
        """Count and hours of a reason or of a split."""
        return self.by[name][value], round(float(self.hours[name][value]), 4)


def audit_corpus(
    cuts: Sequence[Path],
    rejected: Sequence[Path],
    out: Path,
    list: Path,
    max_rejected: float,
    manifest: Path | None = None,
) -> dict[str, Any]:
    """Audit a corpus: count what each shard kept and left out, list it, print the counts and return them.

    Raises UserError if there is no utterance, or if more than `max_rejected` of them are left out. Snakemake removes
    the outputs of a failed job, so figures and list are then beside them as audit.failed.json and .tsv.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of all shards
        rejected: corpus/rejected.{shard}.jsonl of all shards
        out: corpus/audit.json to write: the counts
        list: corpus/audit.tsv to write: id, reason and source of each utterance that is left out
        manifest: corpus/manifest, if the corpus has manifests; its summary is copied into the counts
    """
    failed = [path.with_name(f"{path.stem}.failed{path.suffix}") for path in (out, list)]
    kept, lost = _Kept(), _LeftOut()
    with atomic(failed[1]) as temporary, temporary.open("w") as file:
        file.write("id\treason\tsource\n")
        with progress("audit", len(cuts), "shards/s") as meter:
            for paths in zip(cuts, rejected, strict=True):
                kept.add_shard(paths[0])
                lost.add_shard(paths[1], file)
                meter.advance(1)
    figures = _all_figures(kept, lost)
    figures["manifest"] = read_json(manifest / "summary.json") if manifest else None
    write_json(failed[0], figures)
    if not len(kept):
        raise UserError(f"corpus: all of {lost.count} utterances are left out{_most(lost)}; {_see(failed[1])}")
    if lost.count > max_rejected * (total := len(kept) + lost.count):
        raise UserError(
            f"corpus: {lost.count:,} of {total:,} utterances ({100 * figures['share']:.1f} %) are left "
            f"out, more than corpus.max_rejected = {max_rejected:g} allows{_most(lost)}; {_see(failed[1])}; "
            "correct the corpus, or raise corpus.max_rejected, and run again"
        )
    for path, name in zip(failed, (out, list)):
        path.replace(name)
    print(audit_text(figures))  # noqa: T201
    return figures


def _see(path: Path) -> str:
    return f"each is listed in {path}, counted in {path.with_suffix('.json').name}"


def _most(lost: _LeftOut) -> str:
    found = ", ".join(f"{n:,} {reason}" for reason, n in _ranked(lost.by["reason"])[:4])
    return f" ({found})" if found else ""


def _all_figures(kept: _Kept, lost: _LeftOut) -> dict[str, Any]:
    total = len(kept) + lost.count
    splits = {}
    for name in (*SPLITS, "unknown"):
        row = (*kept.split([*SPLITS, "unknown"].index(name)), *lost.of("split", name))
        if row[0] or row[2]:
            splits[name] = dict(zip(("utterances", "hours", "rejected", "rejected_hours"), row))
    return {
        "utterances": len(kept),
        "rejected": lost.count,
        "share": round(lost.count / total, 6) if total else None,
        "splits": splits,
        "reasons": {
            reason: dict(zip(("utterances", "hours"), lost.of("reason", reason)))
            for reason, _ in _ranked(lost.by["reason"])
        },
        "mentions": dict(_ranked(lost.mentions)),
        "speakers": {"kept": len(kept.speakers), "worst": _worst(lost.speakers, kept.speakers.__getitem__)},
        "recordings": {"worst": _worst(lost.recordings, kept.of_recording)},
        "disk": kept.disk() | {name: len(found) for name, found in lost.on_disk.items()},
    }


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _worst(counts: Counter[str], kept: Callable[[str], int]) -> list[dict[str, Any]]:
    """The names with the most rejected utterances: how many were rejected, of how many."""
    return [{"name": name, "rejected": n, "of": n + kept(name)} for name, n in _ranked(counts)[:WORST]]


def audit_text(figures: dict[str, Any]) -> str:
    """The counts of the audit as short aligned tables."""
    total = figures["utterances"] + figures["rejected"]
    by_split = [["split", "utterances", "hours", "left out", "hours"]]
    for name, row in figures["splits"].items():
        by_split.append(
            [name, *_cells(row["utterances"], row["hours"]), *_cells(row["rejected"], row["rejected_hours"])]
        )
    by_reason = [["left out because", "utterances", "hours", "% of all"]]
    for reason, row in figures["reasons"].items():
        share = f"{100 * row['utterances'] / total:.2f}"
        by_reason.append([reason, *_cells(row["utterances"], row["hours"]), share])
    noted = [["noted", "times"], *([reason, f"{n:,}"] for reason, n in figures["mentions"].items())]
    return "\n\n".join("\n".join(table_lines(rows)) for rows in (by_split, by_reason, noted) if len(rows) > 1)


def _cells(utterances: int, hours: float) -> tuple[str, str]:
    return f"{utterances:,}", f"{hours:,.2f}"
