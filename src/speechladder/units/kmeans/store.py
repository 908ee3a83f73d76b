"""Collect the rows of a sample as they are drawn, in memory or on disk, and write them as safetensors."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.io.tensors import write_rows

_BLOCK = 1 << 24  # bytes read back at once


class Store:
    """Features (frames, dim) float32 that will be written to `path`.

    Beyond `gigabytes`, all rows go to an unnamed file in the folder of `path`, those in memory first. The system
    removes that file when the process ends.
    """

    def __init__(self, path: str | Path, dim: int, gigabytes: float) -> None:
        self.path, self.dim, self.frames = Path(path), dim, 0
        self._most = gigabytes * 1e9
        self._rows: list[np.ndarray] = []
        self._file: Any = None

    @property
    def spilled(self) -> bool:
        """Whether the rows are on disk."""
        return self._file is not None

    def add(self, rows: np.ndarray) -> None:
        """Add rows (n, dim)."""
        self.frames += len(rows)
        self._rows.append(np.ascontiguousarray(rows, dtype="<f4"))
        if self.spilled or 4 * self.frames * self.dim > self._most:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115 - closed by `write`
            for held in self._rows:
                self._file.write(held.data)
            self._rows = []

    def blocks(self) -> Iterator[np.ndarray]:
        """The rows in their order, in blocks."""
        if self._file is None:
            yield from self._rows
            return
        self._file.seek(0)
        while block := self._file.read(max(1, _BLOCK // (4 * self.dim)) * 4 * self.dim):
            yield np.frombuffer(block, "<f4").reshape(-1, self.dim)

    def write(self, provenance: dict[str, Any], labels: np.ndarray | None = None) -> None:
        """Write `features`, and `labels` (frames,) uint8, to `path`. The bytes do not depend on where the rows were."""
        write_rows(self.path, "features", self.blocks(), (self.frames, self.dim), provenance, labels)
        if self._file is not None:
            self._file.close()
