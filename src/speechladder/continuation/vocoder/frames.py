"""The units of a table as a vocoder speaks them: 50 a second, whatever the table holds."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.constants import FRAME_RATE
from speechladder.io.errors import UserError
from speechladder.io.tables import UNITS, read_table
from speechladder.units.durations import expand


def read_frames(path: str | Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Return (frames,) uint16 units at 50 Hz by id, of the utterances `wanted` that a table of units has.

    Units with durations are repeated over them; without durations a unit is one frame. Raise UserError if the table's
    metadata has another rate.
    """
    table = read_table(path, UNITS)
    rate = (table.schema.metadata or {}).get(b"rate", b"%d" % FRAME_RATE).decode()
    if float(rate) != FRAME_RATE:
        raise UserError(
            f"{path}: these units have the rate {rate}, and a vocoder speaks {FRAME_RATE} a second; leave the "
            f"resynthesis out, or give units with durations at {FRAME_RATE} Hz (units.rate)"
        )
    table = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(wanted), pa.string())))
    durations = table["durations"] if "durations" in table.schema.names else [pa.scalar(None)] * len(table)
    found = {}
    for name, units, lasting in zip(table["id"].to_pylist(), table["units"], durations):
        # a row is a view of all units of its shard, which the copy lets go
        row = units.values.to_numpy().copy()
        found[name] = expand(row, lasting.values.to_numpy()) if lasting.is_valid else row
    return found
