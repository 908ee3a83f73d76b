"""The halves of pairs as speech: from the synthesizer or from recordings, with time-aligned words and phones."""

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
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

GIVEN = "given"  # the voice of recordings that come without a name for their voice
KEPT = 4  # recordings that each process keeps in memory between their alignment and their writing
SYNTHESIZER, ALIGNED, ESTIMATED = "synthesizer", "aligner", "durations"  # where the times of an utterance come from


@dataclass(frozen=True)
class Utterance:
    """One half of a pair as it was spoken."""

    samples: np.ndarray  # (n,) float32, 16 kHz
    words: list[Span]
    phones: list[Span]
    times: str = SYNTHESIZER


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a pair in one voice, before it is spoken or read.

    Attributes:
        item: the id of this half; `id` is that of the pair
        read: returns (n,) float32 at 16 kHz or raises AudioError
        speak: returns the utterance with the synthesizer's own times; None if an aligner finds the times
        two: the name that the pairs of a crossed two share, or ""
        phones: ARPAbet phones of the whole text from a gold table, or None
        official: whether the half belongs to an official benchmark. Such a benchmark is scored whole, so a half that
            cannot be aligned gets phones of mean duration.
    """

    item: str
    id: str
    voice: str
    correct: bool
    type: str
    text: str
    read: Callable[[], np.ndarray] | None = None
    speak: Callable[[], Utterance] | None = None
    split: str = ""
    two: str = ""
    phones: tuple[str, ...] | None = None
    official: bool = False


VoicedPair = tuple[Half, Half]  # a pair in one voice: the good half, the bad half


@dataclass
class Stimuli:
    """The pairs of a task, voice by voice, and what about.json says of them.

    Attributes:
        voiced: the pairs, each once for each of its voices
        archive: the archive that official recordings come from, or ""
        lost: the number of voiced pairs that could not be used; they are in the rejects already
        facts: further entries of about.json
        notes: sentences that the table's reader needs
        metadata: metadata of items.parquet
        source: "generated", "pairs files" or the title of an official benchmark
    """

    voiced: list[VoicedPair]
    archive: str = ""
    lost: int = 0
    facts: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    source: str = ""


class Speaker:
    """Speaks or reads the halves of pairs, with phones from the aligner that aligned the training data.

    PocketSphinx aligns recordings if the training data was not aligned by an aligner: on the world with
    `aligner: truth`, and with TextGrids of the corpus. `work` is the folder of an aligner's temporary files, `models`
    holds MFA's own models (alignment/mfa), `jobs` is the number of processes.
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
        self.aligner: str | None = None  # its name, after its first use

    @contextmanager
    def _aligner(self) -> Iterator[Aligner]:
        """The aligner, with a temporary folder; raises UserError if the aligner is not available."""
        with work_folder(self._work / "align") if self._work else tempfile.TemporaryDirectory() as folder:
            found = load_aligner(self._alignment, Path(folder), self._jobs, self._models)
            self.aligner = found.name
            yield found

    def synthesize(self, text: str, voice: Voice, seed: int) -> Utterance:
        """Speak `text`, with the phones of the synthesizer (aligner truth) or of the aligner; raises AlignmentError."""
        spoken = speak(text, voice, seed)
        if self.truth:
            return Utterance(spoken.samples, spoken.words, spoken.phones)
        (found,) = self.utter([Half("", "", voice.name, True, "", text, lambda: spoken.samples)])
        if isinstance(found, Exception):
            raise found
        return found

    def utter(self, halves: Sequence[Half]) -> Iterator[Utterance | AlignmentError | AudioError]:
        """Yield each half as it was spoken, in order, or the error that prevented it.

        The aligner gets all halves that need it in one call. A recording is read when it is needed and is not kept.
        """

        @functools.lru_cache(maxsize=KEPT * self._jobs)
        def read(number: int) -> np.ndarray:
            return halves[number].read()

        asked = [number for number, half in enumerate(halves) if half.speak is None]
        requests = (_request(halves[n], f"{n:07d}", functools.partial(read, n)) for n in asked)
        with self._aligner() if asked else nullcontext() as aligner:
            answers = aligner.align_all(requests) if aligner else iter(())
            for number, half in enumerate(halves):
                try:
                    timed = functools.partial(self._timed, half, read=functools.partial(read, number))
                    found = half.speak() if half.speak else timed(next(answers)[1])
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
        """Remove stress if the training phones have none, since training never saw a vowel with a digit."""
        if self.durations is None or self.durations.stress:
            return phones
        return [span._replace(label=strip_stress(span.label)) for span in phones]


def _request(half: Half, name: str, read: Callable[[], np.ndarray]) -> Request:
    text = normalise(half.text)
    known = {text: list(half.phones)} if half.phones is not None and len(text.split()) == 1 else None
    return Request(name, half.voice, text, read, pronunciations=known)


def _relabelled(found: list[Span], phones: Sequence[str]) -> list[Span] | None:
    """`found` with the stress marks of the gold table; None if the gold table has other phones."""
    bare = [strip_stress(span.label) for span in found if span.label != SIL]
    if bare != [strip_stress(phone) for phone in phones]:
        return None
    left = (phone if phone != strip_stress(phone) else None for phone in phones)
    return [span if span.label == SIL else span._replace(label=next(left) or span.label) for span in found]


def pronounced(half: Half) -> list[tuple[str, list[str]]]:
    """The words of a half with ARPAbet phones from the gold table, else the dictionary, else espeak-ng."""
    words = normalise(half.text).split()
    if half.phones is not None:
        edges = np.linspace(0, len(half.phones), len(words) + 1).round().astype(int)
        return [(word, list(half.phones[a:b])) for word, a, b in zip(words, edges[:-1], edges[1:])]
    known = bundled_dictionary()
    return [(word, known[word][0].split() if word in known else pronounce(word)) for word in words]
