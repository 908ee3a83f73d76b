"""Find the utterance or recording that a row's name means.

A name is the id of an utterance, or the id, the path or the end of the path of a recording. A corpus has millions of
names, so `Names` keeps sorted 64-bit hashes and says in which shard a name is. Within a shard, whose ids fit in memory,
`Owners` decides in the same order.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

import numpy as np

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash

LONGEST = 240  # bytes of a file name before .flac
PARTS = 3  # of a path, by which a recording is found: often speaker, chapter and file


def file_name(id: str) -> str:
    """An id as a file name, from which `spellings` recovers it. Raise UserError if it is too long for a file name."""
    name = quote(id, safe=" ,;=+@()[]!'")
    if len(name) > LONGEST:
        raise UserError(f"id {id!r} is too long for the name of a file ({len(name)} bytes, {LONGEST} are possible)")
    return name


def spellings(name: str) -> list[str]:
    """What a row's name may mean, in order: the name itself, or an audio file.

    Of a file's path, the last three, two and one parts count, without the suffix and then with it. So a path that was
    written on another machine, or for another copy, means the same file. A file's name may be quoted (`file_name`).

    >>> spellings("audio/a%7Cgood.flac")
    ['audio/a%7Cgood.flac', 'audio/a|good', 'a|good', 'audio/a|good.flac', 'a|good.flac']
    """
    parts = [unquote(part) for part in re.split(r"[/\\]", name)]
    bare = [*parts[:-1], re.sub(r"\.[A-Za-z]\w{1,4}$", "", parts[-1])]
    return list(dict.fromkeys([name, *_ends(bare), *_ends(parts)]))


def _ends(parts: Sequence[str]) -> list[str]:
    """The last parts of a path, longest first, joined."""
    return ["/".join(parts[-count:]) for count in range(min(PARTS, len(parts)), 0, -1)]


def recording_names(cut: Cut) -> set[str]:
    """The names of a cut's recording: its id, its path, and the end of its path without the suffix."""
    return {cut.recording, cut.path, *_ends(PurePosixPath(cut.path).with_suffix("").parts)}


class _Table:
    """Sorted hashes of names, each with its shard and the hash of its owner."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, shard: int, pairs: Iterable[tuple[int, int]]) -> None:
        """Add (name, owner) hashes of a shard."""
        rows = np.array(sorted(set(pairs)), np.uint64).reshape(-1, 2)
        self._parts.append(np.column_stack([rows, np.full(len(rows), shard, np.uint64)]))

    def close(self) -> None:
        """Sort the names. Nothing is added later."""
        rows = np.concatenate(self._parts)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        self._keys, self._owners, self._shards = (np.ascontiguousarray(column) for column in rows.T)
        self._shards = self._shards.astype(np.int32)
        self._parts = []

    def lookup(self, key: int) -> tuple[list[int], int]:
        """(shards of a name, number of its owners)."""
        first = last = int(np.searchsorted(self._keys, np.uint64(key)))
        while last < len(self._keys) and self._keys[last] == key:
            last += 1
        return self._shards[first:last].tolist(), len(set(self._owners[first:last].tolist()))


class Names:
    """The shard of every name in a corpus."""

    def __init__(self, cuts: Sequence[str | Path]) -> None:
        """Read all cuts. `first` keeps some ids for messages; `count` is the number of utterances."""
        self.first: list[str] = []
        self.count = 0
        self._ids, self._recordings = _Table(), _Table()
        for shard, path in enumerate(cuts):
            ids: list[int] = []
            names: dict[str, set[str]] = {}
            for cut in read_cuts(path):
                ids.append(stable_hash(cut.id))
                if cut.path not in names:
                    names[cut.path] = recording_names(cut)
                if len(self.first) < 3:
                    self.first.append(cut.id)
            self.count += len(ids)
            self._ids.add(shard, ((key, 0) for key in ids))
            self._recordings.add(
                shard, ((stable_hash(name), stable_hash(owner)) for owner, some in names.items() for name in some)
            )
        self._ids.close()
        self._recordings.close()

    def find(self, name: str) -> tuple[list[int], bool]:
        """(shards that `name` is in, whether it is a recording); no shards if the name is unknown.

        The first of its spellings that is known decides; an utterance's id goes before a recording. Raise UserError if
        several recordings have this name.
        """
        for spelling in spellings(name):
            key = stable_hash(spelling)
            shards, _ = self._ids.lookup(key)
            if shards:
                return sorted(set(shards)), False
            shards, owners = self._recordings.lookup(key)
            if owners > 1:
                raise UserError(f"{name!r} is the name of several recordings; write their ids or absolute paths")
            if shards:
                return sorted(set(shards)), True
        return [], False


class Owners:
    """The cuts of one shard by every name that a row may use."""

    def __init__(self, cuts: Iterable[Cut]) -> None:
        self.cuts = {cut.id: cut for cut in cuts}
        self._paths = {name: cut.path for cut in self.cuts.values() for name in recording_names(cut)}

    def cut(self, name: str) -> str | None:
        """The id of the utterance that a row's name means."""
        return next((s for s in spellings(name) if s in self.cuts), None)

    def recording(self, name: str) -> str | None:
        """The path of the recording that a row's name means."""
        return next((self._paths[s] for s in spellings(name) if s in self._paths), None)


class ItemNames:
    """The items and prompts that rows may belong to, by every name."""

    def __init__(self, items: Mapping[str, Iterable[str]]) -> None:
        """`items` maps a task to its items."""
        self._places: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for task, some in items.items():
            for item in some:
                self._places[f"{task}/{item}"].append((task, item))
                self._places[item].append((task, item))

    def find(self, name: str) -> list[tuple[str, str]]:
        """The (task, item) that a row's name means; several if the name has no task and several tasks have the item."""
        return next((self._places[s] for s in spellings(name) if s in self._places), [])
