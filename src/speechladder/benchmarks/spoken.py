"""The halves of pairs, and how they are heard: spoken by the synthesizer or recorded, with words and phones in time."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechladder.alignment.aligners import load_aligner
from speechladder.alignment.base import Aligned, Aligner, AlignmentError, Request
from speechladder.alignment.durations import Durations
from speechladder.alignment.pocketsphinx import bundled_dictionary
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.corpora.speak import Voice, pronounce, speak
from speechladder.corpora.text import normalise
from speechladder.io.audio import AudioError
from speechladder.io.files import work_folder
from speechladder.io.spans import Span
from speechladder.settings import Alignment

GIVEN = "given"  # the voice of recordings that come without a name for it
KEPT = 4  # recordings held for each process between being aligned and being written
SYNTHESIZER, ALIGNED, ESTIMATED = "synthesizer", "aligner", "durations"  # whose times they are


@dataclass(frozen=True)
class Utterance:
    """One half of a pair as it was spoken."""

    samples: np.ndarray  # (n,) float32, 16 kHz
    words: list[Span]
    phones: list[Span]
    times: str = SYNTHESIZER


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a pair in one voice, not heard yet.

    `read` gives (n,) float32 at 16 kHz or raises AudioError; `said`, where the synthesizer's own times are wanted,
    the utterance at once. `phones` are a gold table's, ARPAbet of the whole text. `official`: where it cannot be
    aligned, its phones are laid over the recording by their mean durations, since an official benchmark is to be scored
    whole.
    """

    item: str
    id: str
    voice: str
    correct: bool
    type: str
    text: str
    read: Callable[[], np.ndarray]
    said: Callable[[], Utterance] | None = None
    split: str = ""
    phones: tuple[str, ...] | None = None
    official: bool = False


Take = tuple[Half, Half]  # a pair in a voice: the good half, the bad half


class Speaker:
    """Speaks or reads the halves of pairs, with phones from the aligner that the training data had.

    Recordings on the world with `aligner: truth`, and with TextGrids of the corpus, are aligned by PocketSphinx.
    `work`: folder for an aligner's temporary files; `models`: MFA's own models (alignment/mfa); `jobs`: processes.
    """

    def __init__(
        self,
        alignment: Alignment,
        durations: Durations | None = None,
        work: Path | None = None,
        models: Path | None = None,
        jobs: int = 1,
    ) -> None:
        self.truth, self.durations = alignment.aligner == "truth", durations
        self._alignment = alignment
        self._work, self._models, self._jobs = work, models, jobs
        self.aligner: str | None = None  # its name, once it was needed

    @contextmanager
    def _aligner(self) -> Iterator[Aligner]:
        """What aligns, with a folder for as long as it does; raises UserError where it cannot be had."""
        with work_folder(self._work / "align") if self._work else tempfile.TemporaryDirectory() as folder:
            found = load_aligner(self._alignment, Path(folder), self._jobs, self._models)
            self.aligner = found.name
            yield found

    def synthesize(self, text: str, voice: Voice, seed: int) -> Utterance:
        """Speak `text`; phones are the synthesizer's own (aligner truth) or the aligner's. Raises AlignmentError."""
        spoken = speak(text, voice, seed)
        if self.truth:
            return Utterance(spoken.samples, spoken.words, spoken.phones)
        (found,) = self.utter([Half("", "", voice.name, True, "", text, lambda: spoken.samples)])
        if isinstance(found, Exception):
            raise found
        return found

    def utter(self, halves: Sequence[Half]) -> Iterator[Utterance | AlignmentError | AudioError]:
        """Each half as it was spoken, in order, or why it could not be.

        All that need an aligner are given to it at once; recordings are read when they are needed, and not kept.
        """

        @functools.lru_cache(maxsize=KEPT * self._jobs)
        def read(number: int) -> np.ndarray:
            return halves[number].read()

        asked = [number for number, half in enumerate(halves) if half.said is None]
        requests = (_request(halves[n], f"{n:07d}", functools.partial(read, n)) for n in asked)
        with self._aligner() if asked else nullcontext() as aligner:
            answers = aligner.align_all(requests) if aligner else iter(())
            for number, half in enumerate(halves):
                try:
                    found = half.said() if half.said else self._timed(half, next(answers)[1], lambda n=number: read(n))
                except (AlignmentError, AudioError) as error:
                    found = error
                yield found

    def _timed(
        self, half: Half, answer: Aligned | AlignmentError | AudioError, read: Callable[[], np.ndarray]
    ) -> Utterance:
        if isinstance(answer, AudioError):
            raise answer
        if isinstance(answer, Aligned):
            if half.phones is None:
                return Utterance(read(), answer.words, answer.phones, ALIGNED)
            phones = _relabelled(answer.phones, half.phones)
            if phones is not None:
                return Utterance(read(), answer.words, self._as_trained(phones), ALIGNED)
            answer = AlignmentError("the aligner's phones are not the gold table's")
        if not half.official or self.durations is None:
            raise answer
        words, phones = self.durations.spread(pronounced(half), read())
        return Utterance(read(), words, self._as_trained(phones), ESTIMATED)

    def _as_trained(self, phones: list[Span]) -> list[Span]:
        """Without stress where the training phones have none: a vowel with a digit would be a symbol never seen."""
        if self.durations is None or self.durations.stress:
            return phones
        return [span._replace(label=strip_stress(span.label)) for span in phones]


def _request(half: Half, name: str, read: Callable[[], np.ndarray]) -> Request:
    text = normalise(half.text)
    known = {text: list(half.phones)} if half.phones is not None and len(text.split()) == 1 else None
    return Request(name, half.voice, text, read, pronunciations=known)


def _relabelled(found: list[Span], phones: Sequence[str]) -> list[Span] | None:
    """`found` with the stress of the gold table where that has it; None where they are other phones."""
    said = [strip_stress(span.label) for span in found if span.label != SIL]
    if said != [strip_stress(phone) for phone in phones]:
        return None
    left = (phone if phone != strip_stress(phone) else None for phone in phones)
    return [span if span.label == SIL else span._replace(label=next(left) or span.label) for span in found]


def pronounced(half: Half) -> list[tuple[str, list[str]]]:
    """The words of a half with their ARPAbet phones: the gold table's, else the dictionary's, else espeak-ng's."""
    words = normalise(half.text).split()
    if half.phones is not None:
        edges = np.linspace(0, len(half.phones), len(words) + 1).round().astype(int)
        return [(word, list(half.phones[a:b])) for word, a, b in zip(words, edges[:-1], edges[1:])]
    known = bundled_dictionary()
    return [(word, known[word][0].split() if word in known else pronounce(word)) for word in words]
