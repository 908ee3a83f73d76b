"""LibriHeavy over Libri-Light: the cuts of a manifest shard, each checked against the audio on disk."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.filters import length_problem, words_or_problem
from speechladder.corpora.folders import AUDIO
from speechladder.corpora.manifest import Record, read_records
from speechladder.io.audio import AudioError, audio_info, can_decode, member_path
from speechladder.io.files import read_jsonl, write_jsonl
from speechladder.io.progress import progress
from speechladder.io.tables import INDEX, read_table
from speechladder.settings import Corpus

TOLERANCE = 0.001  # seconds: manifests round to milliseconds
_END = 0.1  # seconds before an end that are decoded, to know whether the audio can be decoded up to that end


class Recordings:
    """Where the recordings are: below folders, and inside tars that are read in place.

    A manifest names download/librilight/small/100/BOOK/FILE.flac. The file is looked for under this path, under
    librilight/small/..., small/... and 100/BOOK/FILE.flac, first in the folders in their order, then in the tars.
    """

    def __init__(self, roots: Sequence[str | Path], indexes: Mapping[str, str | Path]) -> None:
        """`indexes`: the INDEX table of each tar. Raises UserError if a table is missing or has another schema."""
        self._roots = [Path(root).absolute() for root in roots]
        self._tars = [(Path(tar).absolute(), read_table(index, INDEX)) for tar, index in indexes.items()]
        self._members: dict[str, tuple[int, int]] = {}  # name -> tar, row: a tar may have half a million members
        for tar, (_, table) in enumerate(self._tars):
            for row, member in enumerate(table.column("member").to_pylist()):
                if member.lower().endswith(AUDIO):
                    self._members.setdefault(member.removeprefix("./"), (tar, row))
        self._names = ", ".join([*map(str, roots), *indexes]) or "nowhere: no folder and no tar was given"

    def find(self, source: str) -> str | None:
        """The path of a recording, or TAR#OFFSET+SIZE for a member of a tar; None if there is none."""
        parts = PurePosixPath(source).parts
        names = ["/".join(parts[n:]) for n in range(max(1, len(parts) - 2))]
        paths = (root / name for root in self._roots for name in names)
        found = next((str(path) for path in paths if path.is_file()), None)
        member = next((self._members[name] for name in names if name in self._members), None)
        if found or member is None:
            return found
        path, table = self._tars[member[0]]
        return member_path(path, *(table.column(name)[member[1]].as_py() for name in ("offset", "size")))

    def __str__(self) -> str:
        return self._names


@dataclass
class _Audio:
    """The audio of a recording on disk; `problem` is set if nothing of it can be used."""

    path: str
    rate: int = 0
    samples: int = 0
    problem: str | None = None
    _whole: bool | None = None
    _reached: float = 0.0  # seconds up to which the audio is known to decode
    _broken: float = math.inf  # seconds up to which it is known not to decode

    def reaches(self, end: float) -> bool:
        """Whether the audio can be decoded up to `end` seconds.

        The header of a truncated FLAC still states the full length. So the end of the recording is decoded once, and
        the ends of windows only if that fails.
        """
        if self._whole is None:
            self._whole = self._decodes(self.samples / self.rate)
        if self._whole or end <= self._reached:
            return True
        if end >= self._broken:
            return False
        fits = self._decodes(end)
        if fits:
            self._reached = end
        else:
            self._broken = end
        return fits

    def _decodes(self, end: float) -> bool:
        start = max(0.0, end - _END)
        return can_decode(self.path, start, end - start)


class _Shard:
    """Makes cuts of records; lists the records that are left out, and the recordings to mention."""

    def __init__(self, corpus: Corpus, recordings: Recordings) -> None:
        self._corpus, self._recordings = corpus, recordings
        self._audio: dict[str, _Audio] = {}  # each recording is opened once for all its cuts
        self.rejected: list[dict[str, Any]] = []
        self.mentions: list[dict[str, Any]] = []

    def cuts(self, records: Iterator[Record]) -> Iterator[Cut]:
        """Yield the cuts of the records that can be used; the others go to `rejected`."""
        for record in records:
            cut = self._cut(record)
            if isinstance(cut, Cut):
                yield cut
            else:
                audio = self._audio.get(record.source)
                place = audio.path if audio and audio.path else record.source
                self.rejected.append(record.left_out(cut, place))

    def _cut(self, record: Record) -> Cut | str:
        """The cut of a record, or the reason why it cannot be used."""
        which = 0 if self._corpus.text == "book" else 1
        if which >= len(record.texts):
            return "no ASR text: the manifest has one text; set corpus.text to book"
        original = record.texts[which]
        text, reason = words_or_problem(original, self._corpus)
        reason = reason or length_problem(record.duration, self._corpus)
        if reason:
            return reason
        if record.source not in self._audio:
            self._audio[record.source] = self._open(record)
        audio = self._audio[record.source]
        end = record.start + record.duration
        if audio.problem:
            return audio.problem
        length = audio.samples / audio.rate
        if end > length + TOLERANCE or record.start >= length:
            return f"window past the end: it ends at {end:.3f} s, the recording at {length:.3f} s"
        if not audio.reaches(min(end, length)):
            return f"truncated audio: the window ends at {end:.3f} s, where nothing can be decoded"
        return Cut(
            id=record.id,
            recording=record.recording,
            path=audio.path,
            start=record.start,
            duration=min(record.duration, length - record.start),
            speaker=record.speaker,
            split=record.split,
            text=text,
            original=original,
            sampling_rate=audio.rate,
            num_samples=audio.samples,
        )

    def _open(self, record: Record) -> _Audio:
        path = self._recordings.find(record.source)
        if path is None:
            return _Audio("", problem=f"missing recording: not in {self._recordings}")
        try:
            info = audio_info(path)
        except AudioError as error:
            return _Audio(path, problem=str(error))
        audio = _Audio(path, info.rate, info.samples)
        if info.channels > 1:  # a manifest's recordings have one, and the channels of a file are averaged
            audio.problem = f"another channel: the file has {info.channels} channels, the manifest says 1"
        elif audio.rate != record.sampling_rate:
            audio.problem = f"sampling rate: {audio.rate} Hz, the manifest says {record.sampling_rate}"
        elif abs(audio.samples - record.num_samples) > TOLERANCE * audio.rate:
            reason = f"another length: the file has {audio.samples} samples, the manifest says {record.num_samples}"
            row = {"id": record.recording, "reason": reason, "source": path, "mention": True}
            self.mentions.append(row)
        return audio


def build_libriheavy_shard(
    corpus: Corpus, shard: int, manifest: Path, recordings: Recordings, cuts: Path, rejected: Path
) -> None:
    """Write the cuts and the rejects of a shard of `manifest`, the folder that `partition.split_manifests` wrote.

    A record is left out for the first of these reasons that applies: a text that is empty or cannot be spelt,
    too short, too long, missing recording, unreadable, zero-length, another sampling rate than
    the manifest's, window past the end, truncated. A recording whose number of samples differs from the manifest's is
    mentioned in the list. The list of shard 0 also holds the faults of the manifests themselves. No share of rejects
    fails here: the audit of all shards decides that.
    """
    records, found = manifest / f"{shard}.jsonl.gz", _Shard(corpus, recordings)
    size = records.stat().st_size if records.is_file() else 0
    with progress(f"corpus {shard}", size, "MB of manifest/s", scale=1e-6) as meter:
        write_cuts(cuts, found.cuts(read_records(records, meter)))
    listed = read_jsonl(manifest / "rejected.jsonl") if shard == 0 else []
    write_jsonl(rejected, chain(found.mentions, listed, found.rejected))
