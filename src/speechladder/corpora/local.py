"""Folders in LibriSpeech layout, `speaker/chapter/*.flac` with `*.trans.txt`, read in place; LibriSpeech's own too."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.subset import water_fill
from speechladder.corpora.text import normalise
from speechladder.io.audio import AudioError, audio_info
from speechladder.io.errors import UserError
from speechladder.io.files import files_below
from speechladder.io.hashing import share, stable_hash
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.settings import Corpus

AUDIO = (".flac", ".wav")
_NAMED = {"train": "train", "dev": "valid", "valid": "valid", "test": "test"}
_SPLIT = re.compile(r"(train|dev|valid|test)([-_].*)?", re.IGNORECASE)  # a speaker 'Devon' is no split


@dataclass(frozen=True)
class Entry:
    """An audio file and its transcript line; `text` is None where there is no line."""

    id: str
    path: Path
    speaker: str
    text: str | None
    split: str | None  # as the folder names it (train-clean-100, dev-other, ...), else None


def transcripts(root: Path) -> list[Path]:
    """The *.trans.txt below `root`."""
    return [path for path in files_below(root) if path.name.endswith(".trans.txt")]


def audio_state(root: Path) -> str:
    """A digest of each audio file's path, size and time of change: another file, another digest."""
    files = [(p.relative_to(root).as_posix(), p.stat()) for p in files_below(root) if _is_audio(p)]
    return f"{stable_hash(*(x for name, at in files for x in (name, at.st_size, at.st_mtime_ns))):016x}"


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO and path.is_file()


def _named_split(parts: tuple[str, ...]) -> str | None:
    return next((_NAMED[found[1].lower()] for part in parts if (found := _SPLIT.fullmatch(part))), None)


def _transcripts(path: Path, stems: set[str], rejects: Rejects) -> dict[str, str]:
    """`ID TEXT` lines of one file. An id may hold spaces or commas, so the longest file name that fits is taken."""
    out: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        fits = [stem for stem in stems if line == stem or (line.startswith(stem) and line[len(stem)] in " \t")]
        if not fits:
            rejects.mention(line.split()[0], "transcript line without an audio file", f"{path}:{number}")
            continue
        stem = max(fits, key=len)
        if stem in out:
            rejects.mention(stem, "duplicate transcript line; the first is used", f"{path}:{number}")
        else:
            out[stem] = line[len(stem) :].strip()
    return out


def scan(root: Path, what: str = "corpus.path", own_name: bool = False) -> tuple[list[Entry], Rejects]:
    """Every audio file below `root` in the order of its path, and what does not belong.

    `own_name`: the name of `root` may name a split too. Raises UserError, which begins with `what`, when `root` is no
    folder or holds no audio file with a transcript.
    """
    if not root.is_dir():
        raise UserError(f"{what}: {root} is not a folder; name one in LibriSpeech layout (speaker/chapter/*.flac)")
    entries, rejects, found = [], Rejects(), False
    folders: dict[Path, list[Path]] = {}
    for path in files_below(root):
        if path.suffix.lower() in AUDIO:
            folders.setdefault(path.parent, []).append(path)
    for folder, files in folders.items():
        texts: dict[str, str] = {}
        for transcript in sorted(folder.glob("*.trans.txt")):
            texts |= _transcripts(transcript, {f.stem for f in files}, rejects)
            found = True
        split = _named_split((root.name,) * own_name + folder.relative_to(root).parts)
        speaker = folder.parent.name
        entries += [Entry(f.stem, f, speaker, texts.get(f.stem), split) for f in files]
    if not found or not entries:
        raise UserError(
            f"{what}: {root} holds no *.trans.txt beside audio files ({' or '.join(AUDIO)}); "
            "expected LibriSpeech layout: speaker/chapter/ID.flac and speaker/chapter/*.trans.txt with lines 'ID TEXT'"
        )
    return entries, rejects


def _what(corpus: Corpus) -> str:
    return "corpus.path" if corpus.name == "local" else "corpus.source, corpus.archives"


def _scan_all(corpus: Corpus, roots: Sequence[Path]) -> tuple[list[Entry], Rejects]:
    """As `scan`, of several folders; one that lies in another is read once."""
    entries, rejects = [], Rejects()
    real: dict[Path, Path] = {}
    for root in roots:
        real.setdefault(root.resolve(), root)
    for place, root in real.items():
        if not real.keys() & set(place.parents):
            found, wrong = scan(root, _what(corpus), own_name=corpus.name != "local")
            entries += found
            rejects.mentions += wrong.mentions
    return entries, rejects


def _splits(entries: list[Entry], corpus: Corpus) -> dict[Path, str]:
    """The split of each file: as its folder says; a split that no folder names is drawn from the others by hash.

    A count and not a threshold on the hash, so that a small corpus has at least one utterance in each.
    Raises UserError where there is nothing to train on.
    """
    splits = {e.path: e.split or "train" for e in entries}
    named = {e.split for e in entries}
    pool = sorted((p for p, s in splits.items() if s == "train"), key=lambda p: share("split", p.stem))
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
            f"{_what(corpus)}: {corpus.path or corpus.name} has no audio files to train on ({found}); give it a folder "
            "train, train-..., or folders that name no split"
        )
    return splits


@lru_cache(maxsize=4)
def _header(path: Path) -> tuple[int, int] | str:
    """(samples, sampling rate) of a file, or why it has none."""
    try:
        found = audio_info(path)
    except AudioError as error:
        return str(error)
    return found if found[0] > 0 else "zero-length audio"


def _seconds(path: Path) -> float | None:
    header = _header(path)
    return None if isinstance(header, str) else header[0] / header[1]


def _within_hours(entries: list[Entry], splits: dict[Path, str], corpus: Corpus) -> list[Entry]:
    """The entries without those of train that corpus.hours leaves out (`subset.water_fill`).

    Asks every train file's header how long it is, in each shard anew. What is rejected later counts too, so that a
    subset has the share of rejects that the corpus has.
    """
    train = [e for e in entries if splits[e.path] == "train"]
    if corpus.hours is None:
        return entries
    seconds = np.zeros(len(train))
    with progress("durations of train", len(train), "files/s") as meter:
        for n, entry in enumerate(train):
            seconds[n] = _seconds(entry.path) or 0.0
            meter.advance(1)
    numbers = {speaker: n for n, speaker in enumerate(dict.fromkeys(e.speaker for e in train))}
    speakers = np.array([numbers[e.speaker] for e in train])
    order = np.array([stable_hash("hours", e.id) for e in train], np.uint64)
    kept, _ = water_fill(speakers, order, seconds, 3600 * corpus.hours)
    if not kept.any():
        raise UserError(f"corpus.hours: {corpus.hours:g} h is less than the shortest utterance of train; raise it")
    lost = {e.path for e, stays in zip(train, kept) if not stays}
    return [e for e in entries if e.path not in lost]


def unfit_length(seconds: float, corpus: Corpus) -> str | None:
    """Why an utterance of `seconds` cannot be used, or None."""
    if seconds < corpus.min_seconds:
        return f"too short: {seconds:.2f} s, corpus.min_seconds is {corpus.min_seconds}"
    if seconds > corpus.max_seconds:
        return f"too long: {seconds:.2f} s, corpus.max_seconds is {corpus.max_seconds}"
    return None


def _cut(entry: Entry, split: str, corpus: Corpus) -> Cut | str:
    """The cut of an entry, or the reason why it cannot be used."""
    if entry.text is None:
        return "no transcript"
    text = normalise(entry.text)
    if not text:
        return "empty transcript"
    header = _header(entry.path)
    if isinstance(header, str):
        return header
    samples, rate = header
    return unfit_length(samples / rate, corpus) or Cut(
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


def build_shard(
    corpus: Corpus, shard: int, cuts: Path, rejected: Path, roots: Sequence[str | Path] | None = None
) -> None:
    """Write the cuts and the rejects of one shard: the recordings whose hash falls on it.

    `roots`: the folders, corpus.path if None. Duplicate ids share a hash, so they meet in one shard, where the first by
    path is kept. Raises UserError as `scan` does, or when more than corpus.max_rejected of the shard is rejected.
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
