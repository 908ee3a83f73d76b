"""Any folder in LibriSpeech layout, `speaker/chapter/*.flac` with `*.trans.txt`, read in place."""

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


@dataclass(frozen=True)
class Entry:
    """An audio file and its transcript line; `text` is None where there is no line."""

    id: str
    path: Path
    speaker: str
    text: str | None
    split: str | None  # as the folder names it (train-clean-100, dev-other, ...), else None


def _named_split(parts: tuple[str, ...]) -> str | None:
    for part in parts:
        for prefix, split in _NAMED.items():
            if part.lower().startswith(prefix):
                return split
    return None


def _transcripts(path: Path, stems: set[str], rejects: Rejects) -> dict[str, str]:
    """`ID TEXT` lines of one file. An id may hold spaces or commas, so the longest file name that fits is taken."""
    out: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        fits = [stem for stem in stems if line == stem or (line.startswith(stem) and line[len(stem)] in " \t")]
        if not fits:
            rejects.add(line.split()[0], "transcript line without an audio file", f"{path}:{number}")
            continue
        stem = max(fits, key=len)
        if stem in out:
            rejects.add(stem, "duplicate transcript line; the first is used", f"{path}:{number}")
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
    for path in sorted(root.rglob("*")):
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
    rejects.rows = [r for r in rejects.rows if stable_hash("shard", r["id"]) % corpus.shards == shard]
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
