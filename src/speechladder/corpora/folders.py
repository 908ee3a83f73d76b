"""Folders of speech as people make them: which files are the corpus's, whose speech they hold, and under what ids."""

import filecmp
import os
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speechladder.fetch.members import printable
from speechladder.io.errors import UserError
from speechladder.io.files import files_below
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import say
from speechladder.io.rejects import Rejects

AUDIO, TRANSCRIPT = (".flac", ".wav"), ".trans.txt"
_SPLIT = re.compile(  # train-clean-100, Dev_clean, eval92; a folder of a speaker 'Devon' names no split
    r"((?P<train>train|training)|(?P<valid>dev|valid|validation)|(?P<test>test|testing|eval))\d*([-_].*)?",
    re.IGNORECASE,
)
# Names of folders that say what the files are, not who speaks: wav48 (VCTK), wav, flac_16k, clips (Common Voice).
_OF_FILES = re.compile(r"(wav|flac|audio|clip|recording)s?\d*([-_].*)?", re.IGNORECASE)
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # Python's word for bytes that are not UTF-8 is a surrogate


@dataclass(frozen=True)
class Entry:
    """An audio file and its transcript line; `text` is None if there is no line that can be read."""

    id: str
    path: Path
    speaker: str
    text: str | None
    split: str | None  # as a folder's name states it (train-clean-100, dev-other, ...), else None
    place: tuple[str, ...] = ()  # the folders between the root, or the folder that names the split, and the file
    problem: str = "no transcript"  # why there is no text


def speech_files(root: Path, own_name: bool = False) -> list[Path]:
    """Every file below `root` in the order of its path; by several paths if these name different splits.

    `own_name`: the name of `root` itself may state a split too.
    """
    return files_below(root, lambda folder: split_and_place(folder, root, own_name)[0])


def is_transcript(path: Path) -> bool:
    """Whether the name of a file is that of a transcript, in any case."""
    return path.name.lower().endswith(TRANSCRIPT)


def speech_digest(root: Path) -> str:
    """A digest of the path, size and time of every audio file and transcript below `root`: any change alters it."""
    files = (path for path in speech_files(root) if path.suffix.lower() in AUDIO or is_transcript(path))
    known = [(printable(path.relative_to(root).as_posix()), path.stat()) for path in files if path.is_file()]
    return f"{stable_hash(*(x for name, at in known for x in (name, at.st_size, at.st_mtime_ns))):016x}"


def split_and_place(folder: Path, root: Path, own_name: bool = False) -> tuple[str | None, tuple[str, ...]]:
    """The split that the path of a folder states, or None, and the folders below the one whose name states it."""
    parts = folder.relative_to(root).parts
    names = [(root.name, parts)] if own_name else []
    names += [(part, parts[at:]) for at, part in enumerate(parts, 1)]
    for name, below in names:
        if found := _SPLIT.fullmatch(name):
            return next(split for split, word in found.groupdict().items() if word), below
    return None, parts


def speaker_of(folder: Path, root: Path, place: Sequence[str], stems: Collection[str]) -> str:
    """The speaker of the files `stems` in a folder: SPEAKER/CHAPTER/FILE, or SPEAKER/FILE where there is no chapter.

    `root`, and a folder that stands alone in `place`, may be either. Such a folder is a chapter if its files are named
    after the folder above it, as those of LibriSpeech are (19/198/19-198-0000.flac).
    """
    above = folder.parent.name
    if all(re.match(rf"{re.escape(above)}[\W_]", stem) for stem in stems):
        return above
    return folder.name if folder == root or len(place) == 1 or _OF_FILES.fullmatch(above) else above


def usable(path: Path, root: Path, rejects: Rejects) -> bool:
    """Whether a file can be named and is no broken link; otherwise it is mentioned. Audio is tried when it is read."""
    reason = ""
    if _UNUSABLE.search(path.relative_to(root).as_posix()):
        reason = "a name that is not UTF-8 or has control characters; rename the file or its folder"
    elif path.suffix.lower() not in AUDIO and path.is_symlink() and not path.exists():
        reason = "a broken link"
    if reason:
        rejects.mention(printable(path.name), reason, printable(str(path)))
    return not reason


def one_path_each(entries: Sequence[Entry], field: str) -> list[Entry]:
    """The entries, each file once: a file that links lead to again is taken by the path that names its split.

    Raises UserError, which begins with `field`, if two paths name different splits.
    """
    folders = {folder: os.path.realpath(folder) for folder in {entry.path.parent for entry in entries}}
    paths: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        direct = f"{folders[entry.path.parent]}/{entry.path.name}"  # one look-up for each folder, not for each file
        paths[os.path.realpath(direct) if entry.path.is_symlink() else direct].append(entry)
    out = []
    for same in paths.values():
        named = {entry.split: entry for entry in reversed(same) if entry.split}
        if len(named) > 1:
            one, other = list(named.values())[:2]
            raise UserError(
                f"{field}: {one.path} and {other.path} are one file through a link, in the splits {one.split} and "
                f"{other.split}; remove it from one of them"
            )
        own = [entry for entry in same if len(same) > 1 and not entry.path.is_symlink()]
        out.append(next(iter(named.values()), (own or same)[0]))
    return sorted(out, key=lambda entry: entry.path)


def unique_ids(entries: list[Entry]) -> list[Entry]:
    """The entries with ids that are unique among speakers and chapters.

    The id is the name of the file. Where files of several folders have one name, it is SPEAKER/CHAPTER/NAME, with the
    folder of the split before it where another split has a different file under that id.
    """
    places: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for entry in entries:
        places[entry.id].add(entry.place)
    out = [replace(e, id="/".join((*e.place, e.id))) if len(places[e.id]) > 1 else e for e in entries]
    of_id: dict[str, list[Entry]] = defaultdict(list)
    for entry in out:
        of_id[entry.id].append(entry)
    clashing = {id for id, same in of_id.items() if len({e.split for e in same}) > 1 and _differ(same)}
    out = [replace(e, id=_id_with_split(e)) if e.id in clashing else e for e in out]
    if changed := [entry.id for entry, before in zip(out, entries) if entry is not before]:
        say(f"{len(changed):,} files share their name with files of other folders; their ids are like {changed[0]}")
    return out


def _differ(entries: Sequence[Entry]) -> bool:
    """Whether files hold different bytes; one that cannot be read differs from none."""
    first, *others = [entry.path for entry in entries if entry.path.is_file()] or [entries[0].path]
    return any(not filecmp.cmp(first, path, shallow=False) for path in others)


def _id_with_split(entry: Entry) -> str:
    """The name of a file after its folders: from the one that names its split on, or below the root if none does."""
    folders = entry.path.parent.parts
    count = len(entry.place) + (entry.split is not None)
    return "/".join((*folders[len(folders) - count :], entry.path.stem))
