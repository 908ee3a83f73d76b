"""A recording that the synthesizer speaks: utterances of one speaker one after the other, with silence between them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut
from speechladder.corpora.speak import Spoken
from speechladder.io.audio import encode_flac
from speechladder.io.spans import as_rows

GAP = np.zeros(SAMPLE_RATE // 4, dtype=np.float32)  # silence between utterances of a recording; it is in no cut


class SpokenRecording:
    """A recording while it is spoken: its samples, and its cuts as windows into the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: list[np.ndarray] = []
        self._cuts: list[Cut] = []
        self._samples = 0

    def add(self, cut: Cut, spoken: Spoken) -> dict[str, object]:
        """Append an utterance and a gap; returns the utterance's row of the truth table (tables.ALIGNMENT).

        `cut` says who speaks what. Its file, window and sampling rate are replaced by those of this recording.
        """
        duration = len(spoken.samples) / SAMPLE_RATE
        start, path = self._samples / SAMPLE_RATE, str(self.path)
        self._cuts.append(replace(cut, path=path, start=start, duration=duration, sampling_rate=SAMPLE_RATE))
        self._parts += [spoken.samples, GAP]
        self._samples += len(spoken.samples) + len(GAP)
        words, phones = as_rows(spoken.words), as_rows(spoken.phones)
        return {"id": cut.id, "words": words, "phones": phones, "seconds": duration, "aligner": "truth"}

    def write(self, folder: Path) -> list[Cut]:
        """Write the recording into `folder`; returns its cuts. A recording without utterances writes nothing."""
        if self._parts:
            (folder / self.path.name).write_bytes(encode_flac(np.concatenate(self._parts)))
        return [replace(cut, num_samples=self._samples) for cut in self._cuts]
