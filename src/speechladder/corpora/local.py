"""Any folder in LibriSpeech layout, `speaker/chapter/*.flac` with `*.trans.txt`, read in place."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import soundfile

from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.text import normalise
from speechladder.io.errors import UserError
from speechladder.io.hashing import share, stable_hash
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


def files_below(root: Path) -> list[Path]:
    """Every file below `root`, sorted; linked folders are entered, each folder once, so that a circle ends."""
    out: list[Path] = []
    visited = {root.resolve()}
    for folder, names, files in os.walk(root, followlinks=True):
        inside = []
        for path in sorted((Path(folder, name) for name in names), key=lambda path: (path.is_symlink(), path)):
            real = path.resolve()
            if real not in visited:
                visited.add(real)
                inside.append(path.name)
        names[:] = inside
        out += [Path(folder, name) for name in files]
    return sorted(out)


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


def scan(root: Path) -> tuple[list[Entry], Rejects]:
    """Every audio file below `root` in the order of its path, and what does not belong.

    Raises UserError when `root` is no folder or holds no audio file with a transcript.
    """
    if not root.is_dir():
        raise UserError(f"corpus.path: {root} is not a folder; name one in LibriSpeech layout (speaker/chapter/*.flac)")
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
        split = _named_split(folder.relative_to(root).parts)
        speaker = folder.parent.name
        entries += [Entry(f.stem, f, speaker, texts.get(f.stem), split) for f in files]
    if not found or not entries:
        raise UserError(
            f"corpus.path: {root} holds no *.trans.txt beside audio files ({' or '.join(AUDIO)}); "
            "expected LibriSpeech layout: speaker/chapter/ID.flac and speaker/chapter/*.trans.txt with lines 'ID TEXT'"
        )
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
            f"corpus.path: {corpus.path} has no audio files to train on ({found}); give it a folder train, train-..., "
            "or folders that name no split"
        )
    return splits


def _cut(entry: Entry, split: str, corpus: Corpus) -> Cut | str:
    """The cut of an entry, or the reason why it cannot be used."""
    if entry.text is None:
        return "no transcript"
    text = normalise(entry.text)
    if not text:
        return "empty transcript"
    try:
        info = soundfile.info(str(entry.path))
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        return f"unreadable audio: {error}"
    if info.frames <= 0:
        return "zero-length audio"
    seconds = info.frames / info.samplerate
    if seconds < corpus.min_seconds:
        return f"too short: {seconds:.2f} s, corpus.min_seconds is {corpus.min_seconds}"
    if seconds > corpus.max_seconds:
        return f"too long: {seconds:.2f} s, corpus.max_seconds is {corpus.max_seconds}"
    return Cut(
        id=entry.id,
        recording=entry.id,
        path=str(entry.path),
        start=0.0,
        duration=seconds,
        speaker=entry.speaker,
        split=split,
        text=text,
        original=entry.text,
        sampling_rate=info.samplerate,
        num_samples=info.frames,
    )


def build_shard(corpus: Corpus, shard: int, cuts: Path, rejected: Path) -> None:
    """Write the cuts and the rejects of one shard: the recordings whose hash falls on it.

    Duplicate ids share a hash, so they meet in one shard, where the first by path is kept.
    Raises UserError as `scan` does, or when more than corpus.max_rejected of the shard is rejected.
    """
    root = Path(corpus.path or "")
    entries, rejects = scan(root)
    splits = _splits(entries, corpus)
    mine = [e for e in entries if stable_hash("shard", e.id) % corpus.shards == shard]
    rejects.mentions = [r for r in rejects.mentions if stable_hash("shard", r["id"]) % corpus.shards == shard]
    kept: dict[str, Cut] = {}
    for entry in mine:
        first = kept.get(entry.id)
        cut = _cut(entry, splits[entry.path], corpus) if first is None else f"duplicate id, kept: {first.path}"
        if isinstance(cut, str):
            rejects.add(entry.id, cut, entry.path)
        else:
            kept[entry.id] = cut
    write_cuts(cuts, kept.values())
    rejects.write(rejected, len(mine), corpus.max_rejected)
