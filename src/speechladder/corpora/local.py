"""Folders in LibriSpeech layout (`speaker/chapter/*.flac` with `*.trans.txt`), LibriSpeech itself included.

The level of chapters may be missing. The audio is read in place.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.draw import SpeakerDraw, hash_order
from speechladder.corpora.filters import length_problem
from speechladder.corpora.folders import (
    AUDIO,
    TRANSCRIPT,
    Entry,
    found_instead,
    one_path_each,
    speaker_of,
    speech_files,
    split_and_place,
    unique_ids,
    usable,
)
from speechladder.corpora.text import TextError, normalise
from speechladder.io.audio import AudioError, audio_info
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.text import text_lines
from speechladder.settings import Corpus

_BLANK = re.compile(r"[ \t]")


class _Unreadable(str):
    """The reason why a transcript line cannot be read."""


def _transcripts(path: Path, stems: set[str], rejects: Rejects) -> dict[str, str]:
    """The `ID TEXT` lines of one file, by id; the text of a line that cannot be read is _Unreadable.

    An id may contain spaces or commas. So the longest name in `stems` with which the line begins is the id.
    """
    out: dict[str, str] = {}
    longest = max(map(len, stems), default=0)
    for number, line, problem in text_lines(path):
        line = line.lstrip()
        if not line:
            continue
        # What precedes a blank is looked up: to compare each line with each name would take the square of the time.
        ends = [found.start() for found in _BLANK.finditer(line, 0, longest + 1)]
        stem = next((line[:end] for end in (len(line), *reversed(ends)) if line[:end] in stems), None)
        if stem is None:
            rejects.mention(line.split()[0], "transcript line without an audio file", f"{path}:{number}")
        elif stem in out:
            rejects.mention(stem, "duplicate transcript line; the first is used", f"{path}:{number}")
        elif problem:
            out[stem] = _Unreadable(f"{problem} ({path}, line {number})")
        else:
            out[stem] = line[len(stem) :].strip()
    return out


def scan_folder(root: Path, field: str = "corpus.path", own_name: bool = False) -> tuple[list[Entry], Rejects]:
    """Every audio file below `root` in the order of its path, and what else there is that cannot be used.

    Hidden files are left alone. `own_name`: the name of `root` itself may state a split too. Raises UserError, which
    begins with `field`, if `root` is no folder or holds no audio file with a transcript.
    """
    if not root.is_dir():
        raise UserError(f"{field}: {root} is not a folder; name one in LibriSpeech layout (speaker/chapter/*.flac)")
    entries, rejects, found = [], Rejects(), False
    folders: dict[Path, list[Path]] = defaultdict(list)
    files = speech_files(root, own_name)
    for path in files:
        if usable(path, root, rejects):
            folders[path.parent].append(path)
    for folder, inside in folders.items():
        audio = [path for path in inside if path.suffix.lower() in AUDIO]
        stems, texts = {path.stem for path in audio}, {}
        for path in inside if audio else ():
            if path.name.endswith(TRANSCRIPT):
                texts |= _transcripts(path, stems, rejects)
                found = True
        split, place = split_and_place(folder, root, own_name)
        speaker = speaker_of(folder, place, stems)
        entries += [_entry(f, speaker, texts.get(f.stem), split, place) for f in audio]
    if not found or not entries:
        raise UserError(
            f"{field}: {root} holds no *{TRANSCRIPT} beside audio files ({' or '.join(AUDIO)}); expected LibriSpeech "
            "layout: speaker/chapter/ID.flac and speaker/chapter/*.trans.txt with lines 'ID TEXT'"
            f"{found_instead(files, rejects)}"
        )
    return entries, rejects


def _entry(path: Path, speaker: str, text: str | None, split: str | None, place: tuple[str, ...]) -> Entry:
    if isinstance(text, _Unreadable):
        return Entry(path.stem, path, speaker, None, split, place, str(text))
    return Entry(path.stem, path, speaker, text, split, place)


def _field(corpus: Corpus) -> str:
    return "corpus.path" if corpus.name == "local" else "corpus.source, corpus.archives"


def _scan_all(corpus: Corpus, roots: Sequence[Path]) -> tuple[list[Entry], Rejects]:
    """As `scan_folder`, for several folders, with unique ids; a folder within another one is read once.

    Raises UserError if a file is linked into two splits too.
    """
    entries, rejects = [], Rejects()
    real: dict[Path, Path] = {}
    for root in roots:
        real.setdefault(root.resolve(), root)
    for place, root in real.items():
        if not real.keys() & set(place.parents):
            found, unmatched = scan_folder(root, _field(corpus), own_name=corpus.name != "local")
            entries += found
            rejects.mentions += unmatched.mentions
    return unique_ids(one_path_each(entries, _field(corpus))), rejects


def _splits(entries: list[Entry], corpus: Corpus) -> dict[Path, str]:
    """The split of each file, by its path.

    A folder's name states the split. If no folder names valid or test, that split is drawn from train by hash. The draw
    takes a count of files rather than a threshold on the hash, so that even a small corpus has at least one utterance
    in each split. Raises UserError if there is nothing to train on.
    """
    splits = {e.path: e.split or "train" for e in entries}
    ids = {e.path: e.id for e in entries}
    named = {e.split for e in entries}
    pool = hash_order((p for p, s in splits.items() if s == "train"), "split", name=ids.__getitem__)
    wanted = {"valid": corpus.valid_fraction, "test": corpus.test_fraction}
    for name, fraction in wanted.items():
        if name not in named:
            count = min(max(1, round(fraction * len(pool))), max(0, len(pool) - 1))
            for path in pool[:count]:
                splits[path] = name
            pool = pool[count:]
    if "train" not in splits.values():
        found = ", ".join(f"{n} of {s}" for s, n in sorted(Counter(splits.values()).items()))
        raise UserError(
            f"{_field(corpus)}: {corpus.path or corpus.name} has no audio files to train on ({found}); give it a "
            "folder train or train-..., or folders whose names state no split"
        )
    return splits


@lru_cache(maxsize=4)
def _header(path: Path) -> tuple[int, int] | str:
    """(samples, sampling rate) of a file, or the reason why it cannot be used."""
    try:
        found = audio_info(path)
    except AudioError as error:
        return str(error)
    return (found.samples, found.rate) if found.held == found.samples else found.truncated_at(found.held)


def _seconds(path: Path) -> float | None:
    header = _header(path)
    return None if isinstance(header, str) else header[0] / header[1]


def _within_hours(entries: list[Entry], splits: dict[Path, str], corpus: Corpus) -> list[Entry]:
    """The entries without those of train that corpus.hours leaves out (`draw.SpeakerDraw`).

    Every shard reads the headers of all train files to know their durations. Utterances that are rejected later count
    too, so that the subset has the same share of rejects as the corpus.
    """
    train = [e for e in entries if splits[e.path] == "train"]
    if corpus.hours is None:
        return entries
    drawn = SpeakerDraw("hours")
    with progress("durations of train", len(train), "files/s") as meter:
        for entry in train:
            drawn.add(entry.id, entry.speaker, _seconds(entry.path) or 0.0)
            meter.advance(1)
    kept = drawn.kept(3600 * corpus.hours)
    if not kept.any():
        raise UserError(f"corpus.hours: {corpus.hours:g} h is less than the shortest utterance of train; raise it")
    lost = {e.path for e, stays in zip(train, kept) if not stays}
    return [e for e in entries if e.path not in lost]


def _cut(entry: Entry, split: str, corpus: Corpus) -> Cut | str:
    """The cut of an entry, or the reason why it cannot be used."""
    if entry.text is None:
        return entry.problem
    try:
        text = normalise(entry.text)
    except TextError as error:
        return str(error)
    if not text:
        return "empty transcript"
    header = _header(entry.path)
    if isinstance(header, str):
        return header
    samples, rate = header
    return length_problem(samples / rate, corpus) or Cut(
        id=entry.id,
        recording=entry.id,
        path=str(entry.path),
        start=0.0,
        duration=samples / rate,
        speaker=entry.speaker,
        split=split,
        text=text,
        original=entry.text,
        sampling_rate=rate,
        num_samples=samples,
    )


def build_local_shard(
    corpus: Corpus, shard: int, cuts: Path, rejected: Path, roots: Sequence[str | Path] | None = None
) -> None:
    """Write the cuts and the rejects of one shard: of the recordings whose hash selects it.

    `roots`: the folders; None means corpus.path. Equal ids have equal hashes, so duplicates are found in the same
    shard, where the first by path is kept. Raises UserError as `scan_folder` does, or if more than corpus.max_rejected
    of the shard is rejected.
    """
    folders = [Path(root).absolute() for root in roots] if roots else [Path(corpus.path or "")]
    entries, rejects = _scan_all(corpus, folders)
    splits = _splits(entries, corpus)
    entries = _within_hours(entries, splits, corpus)
    mine = [e for e in entries if stable_hash("shard", e.id) % corpus.shards == shard]
    rejects.mentions = [
        r | {"mention": True} for r in rejects.mentions if stable_hash("shard", r["id"]) % corpus.shards == shard
    ]
    kept: dict[str, Cut] = {}
    for entry in mine:
        first = kept.get(entry.id)
        cut = _cut(entry, splits[entry.path], corpus) if first is None else f"duplicate id, kept: {first.path}"
        if isinstance(cut, str):
            rejects.add(entry.id, cut, entry.path)
            more = {"split": splits[entry.path], "speaker": entry.speaker, "recording": entry.id}
            rejects.rows[-1] |= more | {"seconds": _seconds(entry.path)}
        else:
            kept[entry.id] = cut
    write_cuts(cuts, kept.values())
    rejects.write(rejected, len(mine), corpus.max_rejected)
