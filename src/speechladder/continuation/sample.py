"""A bounded sample of the train split and its rows, from which the recogniser, the lexicon and the vocoder are made.

The cuts are read as a stream, because 50,000 hours are eleven million of them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.draw import Draw
from speechladder.io.tables import read_table

MAX_UTTERANCES = 50_000  # some 150 hours and a million and a half words


def train_sample(cuts: Sequence[str | Path], *key: object, most: int = MAX_UTTERANCES) -> list[Cut]:
    """Return at most `most` cuts of the train split, in the order of the hash of `key` and their id."""
    drawn: Draw[Cut] = Draw(most, *key)
    for cut in (cut for path in cuts for cut in read_cuts(path) if cut.split == "train"):
        drawn.add(cut.id, 1, cut)
    return drawn.items()


def rows_of(tables: Sequence[str | Path], schema: pa.Schema, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the rows with these ids, by id. Only one table is in memory at a time."""
    wanted, found = pa.array(sorted(ids), pa.string()), {}
    for path in tables:
        table = read_table(path, schema)
        found |= {row["id"]: row for row in table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist()}
    return found
