"""Some utterances of the train split and their rows: what the recogniser, the lexicon and the vocoder learn from.

Bounded whatever the corpus, whose cuts are read as a stream: 50,000 hours are eleven million of them.
"""

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.hashing import stable_hash
from speechladder.io.tables import read_table

MOST = 50_000  # utterances; some 150 hours and a million and a half words


def train_sample(cuts: Sequence[str | Path], *key: object, most: int = MOST) -> list[Cut]:
    """At most `most` cuts of the train split, drawn by the hash of `key` and their id, in the order of that draw."""
    train = (cut for path in cuts for cut in read_cuts(path) if cut.split == "train")
    drawn = heapq.nsmallest(most, ((stable_hash(*key, cut.id), cut.id, n, cut) for n, cut in enumerate(train)))
    return [cut for *_, cut in drawn]


def rows_of(tables: Sequence[str | Path], schema: pa.Schema, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows with these ids, by id, holding one table at a time."""
    wanted, found = pa.array(sorted(ids), pa.string()), {}
    for path in tables:
        table = read_table(path, schema)
        found |= {row["id"]: row for row in table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist()}
    return found
