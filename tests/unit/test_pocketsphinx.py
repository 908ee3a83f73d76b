"""Forced alignment of synthetic and natural speech."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from speechladder.alignment.base import AlignmentError
from speechladder.alignment.pocketsphinx import UtteranceAligner
from speechladder.alignment.quality import compare_phones, compare_textgrids
from speechladder.corpora.phones import ARPABET
from speechladder.corpora.speak import Spoken, Voice, speak, voices
from speechladder.io.audio import read_audio
from speechladder.io.spans import Span

TEXT = "the farmer who the girls like is walking to the river"


@pytest.fixture(scope="module")
def aligner() -> UtteranceAligner:
    return UtteranceAligner()


@pytest.fixture(scope="module")
def voice() -> Voice:
    return voices(0)[0]


@pytest.fixture(scope="module")
def spoken(voice: Voice) -> Spoken:
    return speak(TEXT, voice, seed=1)


def _contiguous(phones: list[Span], samples: np.ndarray) -> bool:
    joined = all(a.end == b.start and a.end > a.start for a, b in itertools.pairwise(phones))
    return joined and phones[0].start == 0 and phones[-1].end == len(samples) / 16_000 > phones[-1].start


def test_synthetic_speech_against_its_own_times(aligner: UtteranceAligner, spoken: Spoken) -> None:
    words, phones = aligner.align(spoken.samples, TEXT)
    assert [w.label for w in words] == TEXT.split()
    assert _contiguous(phones, spoken.samples)
    assert {p.label for p in phones} <= {*ARPABET, "SIL"}
    starts = {p.start for p in phones}
    assert all(w.start in starts for w in words)
    figures = compare_phones([(spoken.phones, phones)])
    assert figures["within_50ms"] > 0.8 and figures["phone_error_rate"] < 0.3
    assert abs(figures["median_signed_ms"]) < 15


def test_an_alignment_depends_on_its_utterance_alone(aligner: UtteranceAligner, spoken: Spoken, voice: Voice) -> None:
    first = aligner.search(spoken.samples, TEXT)
    other = speak("splunder", voice, seed=2)
    once = aligner.search(other.samples, "splunder")
    assert aligner.search(other.samples, "splunder") == once
    assert aligner.search(spoken.samples, TEXT) == first
    assert UtteranceAligner().search(other.samples, "splunder") == once


def test_given_pronunciations_take_precedence(aligner: UtteranceAligner, voice: Voice) -> None:
    samples = speak("blick", voice, seed=0).samples
    given = aligner.align(samples, "blick", {"blick": ["B", "L", "IH1", "K"]})[1]
    assert [p.label for p in given if p.label != "SIL"] == ["B", "L", "IH", "K"]
    spelt = aligner.align(samples, "blick")[1]  # by espeak-ng's rules
    assert [p.label for p in spelt if p.label != "SIL"] == ["B", "L", "IH", "K"]


@pytest.mark.parametrize(
    ("text", "pronunciations", "reason"),
    [
        ("", None, "empty text"),
        ("blick", {"blick": []}, "no pronunciation: 'blick'"),
        ("blick", {"blick": ["Q"]}, "not ARPAbet"),
        ("banana " * 40, None, "too fast|no path"),
        ("seventeen yellow elephants understood mathematics yesterday", None, "no path|does not fit|too fast"),
        ("the farmer", None, "not in the text"),
    ],
)
def test_what_cannot_be_aligned_says_why(
    aligner: UtteranceAligner, spoken: Spoken, text: str, pronunciations: dict | None, reason: str
) -> None:
    with pytest.raises(AlignmentError, match=reason):
        aligner.align(spoken.samples, text, pronunciations)
    aligner.align(spoken.samples, TEXT)  # the next utterance is not affected


def test_silence_and_too_little_audio(aligner: UtteranceAligner, spoken: Spoken) -> None:
    for samples in (np.zeros(0, np.float32), np.zeros(32_000, np.float32), spoken.samples[:8000]):
        with pytest.raises(AlignmentError):
            aligner.align(samples, TEXT)


@pytest.mark.shared
def test_natural_speech_right_wrong_and_truncated(aligner: UtteranceAligner, shared_data: Path) -> None:
    chapter = shared_data / "librispeech/LibriSpeech/test-clean/1089/134691"
    samples = read_audio(chapter / "1089-134691-0001.flac")
    text = "for a full hour he had paced up and down waiting but he could wait no longer"
    words, phones = aligner.align(samples, text)
    assert len(words) == 17 and _contiguous(phones, samples)
    wrong = "the sound of an imperative and uncompromising bell recalled me in due time"
    for other in (wrong, " ".join(text.split()[:8]), text + " " + wrong):
        with pytest.raises(AlignmentError):
            aligner.align(samples, other)
    with pytest.raises(AlignmentError):
        aligner.align(samples[: len(samples) // 2], text)


@pytest.mark.shared
def test_against_boundaries_placed_by_hand(aligner: UtteranceAligner, shared_data: Path) -> None:
    folder = shared_data / "alignments/acoustic_corpus"
    figures = compare_textgrids(folder, folder, None, aligner, "*.polyglotdb.TextGrid")
    assert figures["rejected"] == 0 and figures["boundaries"] > 150
    assert figures["within_50ms"] > 0.85 and abs(figures["median_signed_ms"]) < 8
