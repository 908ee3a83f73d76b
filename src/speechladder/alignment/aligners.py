"""Aligners of many utterances at once: what the shards of a corpus and the items of a benchmark are given to."""

import functools
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from speechladder.alignment import pocketsphinx
from speechladder.alignment.pocketsphinx import AlignmentError
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.spans import Span
from speechladder.settings import Alignment

MIN_PEAK = 1e-3  # -60 dB of full scale: 33 steps of 16 bit, below which there is no speech to align
AHEAD = 2  # utterances read ahead for each process, so that none waits


@dataclass(frozen=True)
class Request:
    """An utterance to be aligned.

    `text` is normalised; `samples` gives (n,) float32 at 16 kHz or raises AudioError, and is called when they are
    needed. `source` is the file where it is a whole 16 kHz mono .flac or .wav. `pronunciations`: ARPAbet of words,
    with or without stress, which go before the dictionary.
    """

    id: str
    speaker: str
    text: str
    samples: Callable[[], np.ndarray]
    source: str | None = None
    pronunciations: dict[str, list[str]] | None = None


@dataclass(frozen=True)
class Aligned:
    """Words without pauses, and phones with SIL, contiguous from 0 to `seconds`; times in seconds."""

    words: list[Span]
    phones: list[Span]
    seconds: float


Answer = tuple[str, Aligned | AlignmentError | AudioError]
Timed = tuple[str, float, Aligned | AlignmentError | AudioError]  # with the seconds of its audio


def unheeded(seconds: float) -> None:
    """What `advance` is where nobody counts."""


class Aligner(Protocol):
    """Aligns utterances in its own order and answers in theirs."""

    name: str

    def align_all(self, requests: Iterable[Request], advance: Callable[[float], None] = unheeded) -> Iterator[Answer]:
        """(id, alignment or the reason why there is none) of each request, once and in order.

        `advance` is told the seconds of speech that are done. Reasons are given, not raised; what is raised
        (UserError) stops all.
        """
        ...


def request_of(cut: Cut) -> Request:
    """A cut as a request, which reads its samples when they are needed."""
    return Request(cut.id, cut.speaker, cut.text, cut.samples, _whole_file(cut))


def _whole_file(cut: Cut) -> str | None:
    """The cut's file where the cut is all of it, and 16 kHz mono: it needs no copy."""
    whole = cut.start == 0 and round(cut.duration * cut.sampling_rate) == cut.num_samples
    if not whole or cut.sampling_rate != SAMPLE_RATE or not Path(cut.path).is_file():
        return None
    try:
        info = soundfile.info(cut.path)
    except (soundfile.LibsndfileError, OSError, RuntimeError):
        return None  # reading it will say why
    return cut.path if (info.channels, info.samplerate, info.frames) == (1, SAMPLE_RATE, cut.num_samples) else None


def heard(request: Request) -> np.ndarray:
    """The samples of a request; raises AudioError or AlignmentError where there is nothing to align."""
    samples = request.samples()
    if np.abs(samples).max(initial=0.0) < MIN_PEAK:
        raise AlignmentError("silent")
    if not request.text.split():
        raise AlignmentError("empty text")
    return samples


class PocketSphinx:
    """pocketsphinx.Aligner for many utterances, `jobs` at a time; each one's alignment depends on nothing else."""

    name = "pocketsphinx"

    def __init__(self, beam: float, jobs: int = 1) -> None:
        self.beam, self.jobs = beam, jobs

    def align_all(self, requests: Iterable[Request], advance: Callable[[float], None] = unheeded) -> Iterator[Answer]:
        """As Aligner says."""
        for name, seconds, answer in self._here(requests) if self.jobs == 1 else self._shared(requests):
            advance(seconds)
            yield name, answer

    def _here(self, requests: Iterable[Request]) -> Iterator[Timed]:
        for request in requests:
            try:
                samples = heard(request)
            except (AudioError, AlignmentError) as error:
                yield request.id, 0.0, error
            else:
                answer = _align(self.beam, samples, request.text, request.pronunciations)
                yield request.id, len(samples) / SAMPLE_RATE, answer

    def _shared(self, requests: Iterable[Request]) -> Iterator[Timed]:
        waiting: deque[tuple[str, float, Future | Exception]] = deque()
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        with ProcessPoolExecutor(self.jobs, context, _end_with, (os.getpid(),)) as pool:
            for request in requests:
                try:
                    samples = heard(request)
                except (AudioError, AlignmentError) as error:
                    waiting.append((request.id, 0.0, error))
                else:
                    found = pool.submit(_align, self.beam, samples, request.text, request.pronunciations)
                    waiting.append((request.id, len(samples) / SAMPLE_RATE, found))
                while len(waiting) > AHEAD * self.jobs:
                    yield _awaited(*waiting.popleft())
            while waiting:
                yield _awaited(*waiting.popleft())


def _awaited(name: str, seconds: float, answer: Future | Exception) -> Timed:
    return name, seconds, answer.result() if isinstance(answer, Future) else answer


@functools.cache
def _aligner(beam: float) -> pocketsphinx.Aligner:
    return pocketsphinx.Aligner(beam)


def _align(
    beam: float, samples: np.ndarray, text: str, pronunciations: dict[str, list[str]] | None
) -> Aligned | AlignmentError:
    try:
        words, phones = _aligner(beam).align(samples, text, pronunciations)
    except AlignmentError as error:
        return error
    return Aligned(words, phones, len(samples) / SAMPLE_RATE)


def _end_with(parent: int) -> None:
    """End this process soon after its parent is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(137)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()


def load_aligner(settings: Alignment, work: Path, jobs: int = 1, models: Path | None = None) -> Aligner:
    """The aligner of `settings` for audio: MFA, else PocketSphinx (truth and textgrids are given, and align nothing).

    `work`: folder for MFA's temporary files; `models`: results/alignment/mfa. Raises UserError where MFA lacks them.
    """
    if settings.aligner != "mfa":
        return PocketSphinx(settings.beam, jobs)
    from speechladder.alignment.mfa.aligner import MFA

    if models is None:
        raise UserError("--models: alignment.aligner mfa needs the folder that rule prepare_mfa makes (alignment/mfa)")
    return MFA(models, work, jobs)
