"""Find the utterance or recording that a row's name means.

A name is the id of an utterance, or the id, path or file name of a recording. A corpus has millions of names, so
`Names` keeps sorted 64-bit hashes and says in which shard a name is. Within a shard, whose ids fit in memory, `Owners`
decides in the same order.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

import numpy as np

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash

LONGEST = 240  # bytes of a file name before .flac


def file_name(id: str) -> str:
    """An id as a file name, from which `spellings` recovers it. Raise UserError if it is too long for a file name."""
    name = quote(id, safe=" ,;=+@()[]!'")
    if len(name) > LONGEST:
        raise UserError(f"id {id!r} is too long for the name of a file ({len(name)} bytes, {LONGEST} are possible)")
    return name


def spellings(name: str) -> list[str]:
    """What a row's name may mean, in order: the name itself, or an audio file without its folder and suffix.

    >>> spellings("audio/a%7Cgood.flac")
    ['audio/a%7Cgood.flac', 'a|good', 'a|good.flac']
    """
    last = PurePosixPath(name).name
    return list(dict.fromkeys([name, unquote(re.sub(r"\.[A-Za-z]\w{1,4}$", "", last)), unquote(last)]))


def recording_names(cut: Cut) -> set[str]:
    """The names of a cut's recording: its id, its path, and its file name without the suffix."""
    return {cut.recording, cut.path, PurePosixPath(cut.path).stem}


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
        first, last = (np.searchsorted(self._keys, np.uint64(key), side) for side in ("left", "right"))
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

        Raise UserError if several recordings have this name.
        """
        keys = [stable_hash(spelling) for spelling in spellings(name)]
        for key in keys:
            shards, _ = self._ids.lookup(key)
            if shards:
                return sorted(set(shards)), False
        for key in keys:
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
