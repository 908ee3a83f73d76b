"""The aligner that the settings name, and PocketSphinx for many utterances at a time."""

import functools
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from speechladder.alignment.base import Aligned, Aligner, AlignmentError, Answer, Request, audible_samples
from speechladder.alignment.mfa.aligner import MFA
from speechladder.alignment.pocketsphinx import UtteranceAligner
from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.processes import exit_when
from speechladder.io.progress import no_progress
from speechladder.settings import Alignment

AHEAD = 2  # utterances that are read ahead for each process, so that no process waits


def load_aligner(settings: Alignment, work: Path, jobs: int = 1, models: Path | None = None) -> Aligner:
    """The aligner of `settings` that aligns audio: MFA or PocketSphinx.

    PocketSphinx also aligns items if the setting is truth or textgrids, which have times of the corpus only.
    `work`: folder for MFA's temporary files. `models`: results/alignment/mfa. Raises UserError if MFA has no models.
    """
    if settings.aligner != "mfa":
        return PocketSphinx(settings.beam, jobs)
    if models is None:
        raise UserError("--models: alignment.aligner mfa needs the folder that rule prepare_mfa makes (alignment/mfa)")
    return MFA(models, work, jobs)


class PocketSphinx:
    """Aligner: PocketSphinx for `jobs` utterances at a time. An alignment depends on its utterance alone."""

    name = "pocketsphinx"

    def __init__(self, beam: float, jobs: int = 1) -> None:
        self.beam, self.jobs = beam, jobs

    def align_all(
        self, requests: Iterable[Request], advance: Callable[[float], None] = no_progress
    ) -> Iterator[Answer]:
        """As `base.Aligner` describes."""
        waiting: deque[tuple[str, float, Future | Aligned | AlignmentError | AudioError]] = deque()

        def first_answer() -> Answer:
            name, seconds, answer = waiting.popleft()
            found = answer.result() if isinstance(answer, Future) else answer
            advance(seconds)
            return name, found

        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        pooled = self.jobs > 1  # one job aligns in this process
        workers = ProcessPoolExecutor(self.jobs, context, _end_with, (os.getpid(),)) if pooled else nullcontext()
        with workers as pool:
            for request in requests:
                try:
                    samples = audible_samples(request)
                except (AudioError, AlignmentError) as error:
                    waiting.append((request.id, 0.0, error))
                else:
                    work = self.beam, samples, request.text, request.pronunciations
                    answer = pool.submit(_align, *work) if pool else _align(*work)
                    waiting.append((request.id, len(samples) / SAMPLE_RATE, answer))
                while len(waiting) > (AHEAD * self.jobs if pool else 0):
                    yield first_answer()
            while waiting:
                yield first_answer()


@functools.cache
def _aligner(beam: float) -> UtteranceAligner:
    return UtteranceAligner(beam)


def _align(
    beam: float, samples: np.ndarray, text: str, pronunciations: dict[str, list[str]] | None
) -> Aligned | AlignmentError:
    try:
        words, phones = _aligner(beam).align(samples, text, pronunciations)
    except AlignmentError as error:
        return error
    return Aligned(words, phones, len(samples) / SAMPLE_RATE)


def _end_with(parent: int) -> None:
    """End this process soon after its parent has ended, for whatever reason."""
    exit_when(lambda: os.getppid() != parent)
