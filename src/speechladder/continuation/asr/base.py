"""What a recogniser is, and which one the settings ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from speechladder.settings import Continuation


class ASR(Protocol):
    """A recogniser of English. The order and the company of utterances never change a transcript."""

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        """Each (n,) float32 at 16 kHz as text, as the recogniser writes it; "" where there is nothing."""
        ...

    def normalise(self, text: str) -> str:
        """Whisper's English text normaliser: lower case, no punctuation, numbers in digits, contractions apart."""
        ...


def load(settings: Continuation, folder: str | Path | None) -> ASR:
    """The recogniser that `settings.asr` names. `folder` is continuation/asr (`pocketsphinx.build`), which the other
    one does not need. Raises UserError naming the file or the field that is wrong."""
    if settings.asr == "whisper":
        from speechladder.continuation.asr import whisper

        return whisper.load(settings.whisper)
    from speechladder.continuation.asr.pocketsphinx import PocketSphinx

    return PocketSphinx.load(folder)


def normaliser(settings: Continuation) -> Callable[[str], str]:
    """The `normalise` of the recogniser that `settings` names, without loading its weights."""
    if settings.asr == "whisper":
        from speechladder.continuation.asr import whisper

        return whisper.normaliser(settings.whisper)
    from speechladder.continuation.asr.text import english_normaliser

    return english_normaliser()
