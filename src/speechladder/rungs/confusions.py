"""Phones that are confused with each other as often as their units confuse them."""

from pathlib import Path

import numpy as np

from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.tables import PHONE_UNITS, read_table


class Confusions:
    """Draws the phone that is heard in place of a phone, by a table of phones and units.

    A unit is drawn from P(unit | phone). The phone heard is the one that this unit has most often; of equal ones, the
    first in the alphabet. Over the frames of the table, the heard phone thus equals the true one as often as the phone
    purity of the units says (units/diagnostics/quality.py), but a confusion depends on no context and no speaker.
    """

    def __init__(self, phones: list[str], counts: np.ndarray) -> None:
        """`counts` is (phones, units) int64: the frames of each of the sorted `phones` that have each unit."""
        heard = counts.argmax(axis=0)
        by_phone = np.zeros((len(phones), len(phones)), np.int64)  # true phone, heard phone
        np.add.at(by_phone.T, heard, counts.T)
        self._ends = {phone: np.cumsum(row) for phone, row in zip(phones, by_phone)}
        self._phones = phones

    @classmethod
    def read(cls, path: str | Path) -> "Confusions":
        """The confusions of a PHONE_UNITS table. Raise UserError if it counts no frame."""
        table = read_table(path, PHONE_UNITS)
        if not len(table):
            raise UserError(f"{path}: no frame was counted; delete it and run count_phone_units again")
        phones, rows = np.unique(table.column("phone").to_pylist(), return_inverse=True)
        units = table.column("unit").to_numpy()
        counts = np.zeros((len(phones), int(units.max()) + 1), np.int64)
        np.add.at(counts, (rows, units), table.column("frames").to_numpy())
        return cls(phones.tolist(), counts)

    def heard(self, phone: str, *key: object) -> str:
        """The phone heard in place of `phone` (without stress), drawn by `key`; a phone outside the table stays."""
        ends = self._ends.get(phone)
        if ends is None:
            return phone
        drawn = stable_hash("confusion", *key) % int(ends[-1])
        return self._phones[int(np.searchsorted(ends, drawn, side="right"))]
