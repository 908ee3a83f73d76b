"""Items encoded among other items of their voice: units.item_context.

A word of sWUGGY is heard alone. An encoder with context may code it otherwise than the same word in a sentence, and a
language model of sentences has never read such units. With context, an item stands between other items of its voice,
and only its own frames become units. Both items of a pair have the same context, so that they differ in nothing else.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechladder.constants import HOP, SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.columns import batches
from speechladder.io.errors import UserError
from speechladder.io.tables import ITEMS, read_table
from speechladder.units.decode import Job, Wave, read_wave


@dataclass
class ItemContext:
    """Puts items between others of their voice, and finds their frames again.

    Attributes:
        path: table of items
        seconds: least seconds of other items before an item, and after it
    """

    path: Path
    seconds: float
    _frames: dict[str, slice] = field(default_factory=dict)

    def around(self, items: Iterable[tuple[Job, Wave]]) -> Iterator[tuple[Job, Wave]]:
        """Yield each item with its context. Raise UserError naming a voice that speaks no other item."""
        voices = self._voices()
        table = read_table(self.path, ITEMS, ["item", "id"])
        ids = dict(zip(table["item"].to_pylist(), table["id"].to_pylist()))
        for job, wave in items:
            others = [samples for name, samples in voices[job.speaker].items() if name != ids[job.id]]
            if not others:
                raise UserError(
                    f"{self.path}, item '{job.id}': the voice {job.speaker} speaks no other item that could be its "
                    "context; set units.item_context: 0"
                )
            before, after = self._fill(others), self._fill(others[::-1])
            first = len(before) // HOP
            self._frames[job.id] = slice(first, first + frame_count(wave.length))
            yield job, Wave.of(np.concatenate([before, wave.samples, after]))

    def cut(self, job: Job, units: np.ndarray) -> np.ndarray:
        """The item's own frames, (rows, frames), of the units of the item in its context."""
        return units[:, self._frames.pop(job.id)]

    def _fill(self, others: list[np.ndarray]) -> np.ndarray:
        """The items in turn, until they last `seconds`; each fills whole frames, so that frames stay where they are."""
        chosen: list[np.ndarray] = []
        while sum(map(len, chosen)) < self.seconds * SAMPLE_RATE:
            chosen.append(others[len(chosen) % len(others)])
        return np.concatenate(chosen)

    def _voices(self) -> dict[str, dict[str, np.ndarray]]:
        """Voice -> id -> the samples of a right item, of as many ids as can fill both contexts.

        An item that cannot be read is no context; `extract.item_waves` names it.
        """
        found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
        held: dict[str, int] = defaultdict(int)
        for batch in batches(self.path, ITEMS, ["item", "id", "voice", "correct", "seconds", "audio"], 256):
            for row in batch.to_pylist():
                voice, of = row["voice"], found[row["voice"]]
                enough = len(of) > 2 and held[voice] > 2 * self.seconds * SAMPLE_RATE
                if not row["correct"] or row["id"] in of or enough:
                    continue
                wave = read_wave(Job(row["item"], voice, row["audio"] or b"", row["seconds"]))
                if isinstance(wave, Wave):
                    of[row["id"]] = np.pad(wave.samples, (0, -wave.length % HOP))
                    held[voice] += wave.length
        return found
