"""How often each phone has each unit: units/phone_units.parquet, by which the rung phone-confused draws."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from speechladder.corpora.cuts import read_cuts
from speechladder.io.errors import UserError, paired
from speechladder.io.tables import PHONE_UNITS, write_table
from speechladder.units.diagnostics import external, quality
from speechladder.units.external.load import rate_of

UNIT_IDS = 2**16


def count_phone_units(cuts: list[Path], alignment: list[Path], units: list[Path], out: Path) -> None:
    """Count the frames of each phone (without stress) and unit over the train split.

    Writes a PHONE_UNITS table of the pairs that occur, sorted. A frame has the phone at its centre, and of units with
    durations (external ones, segments) the one that sounds there. One shard is in memory at a time. Raise UserError if
    no train utterance has both units and an alignment, or if external units have no rate.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard
        alignment: alignment/{shard}.parquet of every shard, in the same order
        units: units/{shard}.parquet of every shard, in the same order
        out: units/phone_units.parquet to write
    """
    names: dict[str, int] = {}
    found: Counter[int] = Counter()
    for spoken, aligned, encoded in paired(cuts=cuts, alignment=alignment, units=units):
        train = {cut.id for cut in read_cuts(spoken) if cut.split == "train"}
        by_name = {name: values for name, values in _by_frame(encoded) if name in train and len(values)}
        labels = quality.frame_phones([aligned], {name: len(values) for name, values in by_name.items()})
        for name, of_frames in labels.items():
            phones = np.array([names.setdefault(label, len(names)) for label in of_frames], np.int64)
            pairs, frames = np.unique(phones * UNIT_IDS + by_name[name], return_counts=True)
            found.update(dict(zip(pairs.tolist(), frames.tolist())))
    if not found:
        raise UserError(
            f"no train utterance is both in {units[0]} (...) and in {alignment[0]} (...); run the stages again"
        )
    spelled = list(names)
    rows = sorted((spelled[pair // UNIT_IDS], pair % UNIT_IDS, count) for pair, count in found.items())
    write_table(out, [dict(zip(PHONE_UNITS.names, row)) for row in rows], PHONE_UNITS)


def _by_frame(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(id, (frames,) the unit at each 50 Hz frame) of each utterance of a table of units."""
    if "durations" not in pq.read_schema(path).names:
        return quality.by_frame(path)
    if not rate_of(path):
        raise UserError(f"{path}: units without a rate belong to no phone; set units.rate, or leave out phone-confused")
    return external.by_frame(path)
