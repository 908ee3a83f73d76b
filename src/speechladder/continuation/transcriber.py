"""From the symbols of a rung to words: text is read, phones and units are spoken and transcribed by the ASR.

Only the continuation is spoken, never the prompt, because the words of the prompt would help the ASR to guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from speechladder.constants import FRAME_RATE
from speechladder.continuation.asr import ASR
from speechladder.continuation.lexicon import Lexicon
from speechladder.continuation.phone_synthesis import phones_to_speech, text_to_speech
from speechladder.continuation.vocoder.base import Vocoder
from speechladder.corpora.voices import Voice, voices
from speechladder.rungs.registry import SPACE

SILENT = np.zeros(0, np.float32)


def default_voice() -> Voice:
    """The voice for text and phones: a speaker of the world, whatever the corpus."""
    return voices(2)[0]


@dataclass(frozen=True)
class Transcriber:
    """Turns the symbols of one rung into audio and words.

    `kind` is the rung's `transcribed_as`. Units need a vocoder. The lexicon is optional, for the direct words of
    phones.
    """

    kind: str
    asr: ASR
    vocoder: Vocoder | None = None
    lexicon: Lexicon | None = None
    voice: Voice = field(default_factory=default_voice)

    def speak(self, symbols: Sequence[str], seed: int) -> np.ndarray:
        """Return the audio of the symbols, (n,) float32 at 16 kHz; empty if there is nothing to say."""
        if not symbols:
            return SILENT
        if self.kind == "text":
            return text_to_speech(join_characters(symbols), self.voice, seed)
        if self.kind == "phones":
            return phones_to_speech(list(symbols), None, self.voice, seed)
        if self.kind == "phone-frames":
            phones, frames = collapse_runs(symbols)
            return phones_to_speech(phones, [n / FRAME_RATE for n in frames], self.voice, seed)
        units = np.array([int(symbol.removeprefix("u")) for symbol in symbols])
        if self.kind == "unit-runs":
            units = np.repeat(units, self.vocoder.durations(units))
        return self.vocoder.speak(units)

    def direct(self, symbols: Sequence[str]) -> str:
        """Return the words of phones by the lexicon, without speech and ASR; "" for other symbols."""
        if self.lexicon is None or not self.kind.startswith("phone"):
            return ""
        phones = collapse_runs(symbols)[0] if self.kind == "phone-frames" else list(symbols)
        return self.asr.normalise(self.lexicon.words(phones))

    def transcribe(self, symbols: list[Sequence[str]], seeds: list[int]) -> tuple[list[str], list[np.ndarray]]:
        """Return the normalised transcripts of several continuations, and the audio that was transcribed.

        Text is normalised as it is, so its audio is empty.
        """
        if self.kind == "text":
            return [self.asr.normalise(join_characters(s)) for s in symbols], [SILENT] * len(symbols)
        audio = [self.speak(s, seed) for s, seed in zip(symbols, seeds)]
        return [self.asr.normalise(text) for text in self.asr.transcribe(audio)], audio


def join_characters(symbols: Sequence[str]) -> str:
    """Join characters to a text with single spaces."""
    return " ".join("".join(symbols).replace(SPACE, " ").split())


def drop_partial_word(symbols: Sequence[str]) -> list[str]:
    """Return the characters up to the last space: a continuation whose time is up may end within a word.

    A single word is kept.
    """
    symbols = list(symbols)
    spaces = [at for at, symbol in enumerate(symbols) if symbol == SPACE and at]
    return symbols[: spaces[-1]] if spaces else symbols


def collapse_runs(symbols: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the symbol and the length of each run of equal symbols."""
    found = [(symbol, sum(1 for _ in group)) for symbol, group in groupby(symbols)]
    return [symbol for symbol, _ in found], [length for _, length in found]
