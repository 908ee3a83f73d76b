"""Read and decode waveforms for the encoder, in this process or ahead of it in worker processes.

This module imports neither torch nor an encoder, so that a worker needs only numpy and libsndfile.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from speechladder.constants import RECEPTIVE_FIELD
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.errors import UserError

MIN_SAMPLES = RECEPTIVE_FIELD  # the window of one frame; a shorter utterance has no unit
AHEAD_SECONDS = 1200.0  # speech that workers decode in advance: 38 MB of 16-bit audio
FULL_SCALE = 32768  # of 16-bit audio
_TOGETHER = 8, 60.0  # most jobs, and seconds of speech, that are sent to a worker at once


@dataclass(frozen=True)
class Job:
    """An utterance to read from `source`: a path, or FLAC bytes.

    `seconds` is its duration. If `windowed`, it is the window of that duration from `start` (seconds) of the file.
    """

    id: str
    speaker: str
    source: str | bytes
    seconds: float
    start: float = 0.0
    windowed: bool = False


def as_float32(stored: np.ndarray) -> np.ndarray:
    """(samples,) float32 of full scale 1, from float32 or from 16-bit steps. Both are exact."""
    return stored if stored.dtype == np.float32 else stored * np.float32(1 / FULL_SCALE)


@dataclass(frozen=True)
class Wave:
    """A waveform at 16 kHz, with the mean and scale for models that normalise their input.

    `stored` is (samples,) float32, or int16 in steps of 1 / FULL_SCALE: half as much to send to another process or GPU.
    """

    stored: np.ndarray
    mean: np.floating[Any]
    scale: np.floating[Any]

    @property
    def samples(self) -> np.ndarray:
        """(samples,) float32."""
        return as_float32(self.stored)

    @property
    def length(self) -> int:
        """Number of samples."""
        return len(self.stored)

    def compact(self) -> "Wave":
        """The same waveform as int16 if every sample is a step of 16 bits, as in nearly all files."""
        steps = self.samples * np.float32(FULL_SCALE)
        whole = steps.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return Wave(whole, self.mean, self.scale) if np.array_equal(whole, steps) else self

    @classmethod
    def of(cls, samples: np.ndarray) -> "Wave":
        """Add the statistics that transformers' Wav2Vec2FeatureExtractor computes."""
        return cls(samples, samples.mean(), np.sqrt(samples.var() + 1e-7))


def read_wave(job: Job) -> Wave | str:
    """The waveform of a job, or the reason why there is none."""
    try:
        # bytes are items, in which silence was let through or kept out when they were made
        is_item = isinstance(job.source, bytes)
        samples = read_audio(job.source, job.start, job.seconds if job.windowed else None, silent=is_item)
    except AudioError as error:
        return str(error)
    if len(samples) < MIN_SAMPLES:
        return f"too short for a unit: {len(samples)} samples, {MIN_SAMPLES} are one frame"
    return Wave.of(samples)


def _read_all(jobs: list[Job]) -> list[Wave | str]:
    found = [read_wave(job) for job in jobs]
    return [wave if isinstance(wave, str) else wave.compact() for wave in found]


def _start_worker(parent: int) -> None:
    """Make a worker end with the process that started it, even if that process is killed."""
    from speechladder.io.processes import RUNNER, die_with_runner, runner

    os.environ[RUNNER] = runner(parent)
    die_with_runner()


def _together(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Groups of jobs, each at most _TOGETHER."""
    group: list[Job] = []
    for job in jobs:
        group.append(job)
        if len(group) == _TOGETHER[0] or sum(j.seconds for j in group) >= _TOGETHER[1]:
            yield group
            group = []
    if group:
        yield group


def waves(jobs: Iterable[Job], workers: int = 0) -> Iterator[tuple[Job, Wave | str]]:
    """Yield each job with its waveform or the reason why there is none, in the order of the jobs.

    `workers`: number of processes that decode up to `AHEAD_SECONDS` in advance; 0 decodes in this process, on demand.
    Raise UserError if a worker dies.
    """
    if not workers:
        yield from ((job, read_wave(job)) for job in jobs)
        return
    import multiprocessing
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    queue: deque[tuple[list[Job], Future]] = deque()
    spawn = multiprocessing.get_context("spawn")  # a forked child of a process with CUDA or threads may hang
    pool = ProcessPoolExecutor(workers, spawn, initializer=_start_worker, initargs=(os.getpid(),))
    try:
        held = 0.0
        for group in _together(jobs):
            queue.append((group, pool.submit(_read_all, group)))
            held += sum(job.seconds for job in group)
            while held > AHEAD_SECONDS and len(queue) > workers:
                done, future = queue.popleft()
                held -= sum(job.seconds for job in done)
                yield from zip(done, future.result(), strict=True)
        while queue:
            done, future = queue.popleft()
            yield from zip(done, future.result(), strict=True)
    except BrokenProcessPool:
        raise UserError(
            "units.workers: a decoding process died (out of memory?); set it to fewer, or to 0 to decode in one process"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
