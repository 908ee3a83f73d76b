"""What an aligner gets and what it answers: the types that all aligners share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut
from speechladder.io.audio import AudioError, audio_info, is_silent
from speechladder.io.progress import no_progress
from speechladder.io.spans import Span

SHORTEST = 0.02  # seconds of the shortest phone, so that each phone has a frame at 50 Hz


class AlignmentError(Exception):
    """The utterance cannot be aligned; the message is the reason, which is written to the rejects."""


@dataclass(frozen=True)
class Request:
    """An utterance to be aligned.

    `text` is normalised. `samples` returns (n,) float32 at 16 kHz or raises AudioError; it is called when the samples
    are needed. `source` is the utterance's file if the file is a 16 kHz mono .flac or .wav with this utterance alone.
    `pronunciations` are ARPAbet phones of words, with or without stress; they take precedence over the dictionary.
    """

    id: str
    speaker: str
    text: str
    samples: Callable[[], np.ndarray]
    source: str | None = None
    pronunciations: dict[str, list[str]] | None = None


@dataclass(frozen=True)
class Aligned:
    """An alignment: words without pauses, and phones with SIL, contiguous from 0 to `seconds`; times in seconds."""

    words: list[Span]
    phones: list[Span]
    seconds: float


Answer = tuple[str, Aligned | AlignmentError | AudioError]  # id of the request, its alignment or why there is none


class Aligner(Protocol):
    """Aligns many utterances. It may work on them in any order, but answers in the order of the requests.

    To add an aligner, implement this in a file of its own and return it from `aligners.load_aligner`.
    """

    name: str

    def align_all(
        self, requests: Iterable[Request], advance: Callable[[float], None] = no_progress
    ) -> Iterator[Answer]:
        """Yield (id, alignment or the reason why there is none) for each request, once and in order.

        `advance` is called with the seconds of speech that are done. The reason is returned as an exception, not
        raised. Raises UserError if the aligner itself fails, which ends the stage.
        """
        ...


def request_of(cut: Cut) -> Request:
    """The request to align a cut; its samples are read when they are needed."""
    return Request(cut.id, cut.speaker, cut.text, cut.samples, _whole_file(cut))


def _whole_file(cut: Cut) -> str | None:
    """The cut's file if it is 16 kHz mono and holds this cut alone, so that an aligner can read it without a copy."""
    whole = cut.start == 0 and round(cut.duration * cut.sampling_rate) == cut.num_samples
    if not whole or cut.sampling_rate != SAMPLE_RATE or not Path(cut.path).is_file():
        return None
    try:
        info = audio_info(cut.path)
    except AudioError:
        return None  # the reason is found when the file is read
    return cut.path if info == (cut.num_samples, SAMPLE_RATE, 1, cut.num_samples) else None


def audible_samples(request: Request) -> np.ndarray:
    """The samples of a request, (n,) float32 at 16 kHz.

    Raises AudioError if they cannot be read, AlignmentError if they are silent or the text is empty.
    """
    samples = request.samples()
    if is_silent(samples):
        raise AlignmentError("silent")
    if not request.text.split():
        raise AlignmentError("empty text")
    return samples
