"""Utterances as lhotse MonoCuts in JSON lines: a window of a recording, its speaker, split and text.

They are written and read as plain JSON, because importing lhotse imports torch, which most stages that read cuts do not
need (invariant 7). A contract test loads the file with lhotse itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.io.audio import read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl, write_jsonl

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Cut:
    """One utterance.

    `path` is the recording's file. `start` and `duration` are the window in seconds. `text` is normalised, `original`
    is the corpus's own text. `sampling_rate` (Hz) and `num_samples` are those of the whole recording.
    """

    id: str
    recording: str
    path: str
    start: float
    duration: float
    speaker: str
    split: str
    text: str
    original: str
    sampling_rate: int
    num_samples: int

    def samples(self) -> np.ndarray:
        """The window as (n,) float32 at 16 kHz; raises AudioError if it cannot be read."""
        return read_audio(self.path, self.start, self.duration)

    def to_json(self) -> dict[str, Any]:
        """The cut as lhotse writes a MonoCut."""
        return {
            "id": self.id,
            "start": self.start,
            "duration": self.duration,
            "channel": 0,
            "supervisions": [
                {
                    "id": self.id,
                    "recording_id": self.recording,
                    "start": 0.0,
                    "duration": self.duration,
                    "channel": 0,
                    "text": self.text,
                    "language": "English",
                    "speaker": self.speaker,
                    "custom": {"texts": [self.original]},
                }
            ],
            "recording": {
                "id": self.recording,
                "sources": [{"type": "file", "channels": [0], "source": self.path}],
                "sampling_rate": self.sampling_rate,
                "num_samples": self.num_samples,
                "duration": self.num_samples / self.sampling_rate,
                "channel_ids": [0],
            },
            "custom": {"split": self.split},
            "type": "MonoCut",
        }


def from_json(row: dict[str, Any]) -> Cut:
    """The inverse of `Cut.to_json`; raises KeyError or IndexError if a field is missing."""
    supervision, recording = row["supervisions"][0], row["recording"]
    return Cut(
        id=row["id"],
        recording=recording["id"],
        path=recording["sources"][0]["source"],
        start=row["start"],
        duration=row["duration"],
        speaker=supervision["speaker"],
        split=row["custom"]["split"],
        text=supervision["text"],
        original=supervision["custom"]["texts"][0],
        sampling_rate=recording["sampling_rate"],
        num_samples=recording["num_samples"],
    )


def write_cuts(path: str | Path, cuts: Iterable[Cut]) -> None:
    """Write cuts.{shard}.jsonl.gz, atomically."""
    write_jsonl(path, (cut.to_json() for cut in cuts))


def read_cuts(path: str | Path) -> Iterator[Cut]:
    """Stream the cuts of a shard; raises UserError with file, cut and field if a field is missing or malformed."""
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            yield from_json(row)
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(
                f"{path}, cut {number} ({row.get('id', 'no id')}): field {error} is missing or malformed"
            ) from None
