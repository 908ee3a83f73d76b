"""The interface of a recogniser, and the factory that makes the one that the settings name."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq

from speechladder.settings import Continuation

ASR_CASES = "asr_cases"  # key of the metadata of TRANSCRIPTS and REFERENCE, and of quality.json


class ASR(Protocol):
    """A recogniser of English. A transcript depends neither on the order of the utterances nor on the other ones.

    `cases` counts what Whisper's rules did (`fallback.CASES`); it is empty with a recogniser that has no such rules.
    """

    cases: Counter[str]

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        """Return the text of each utterance, (n,) float32 at 16 kHz, as the recogniser writes it; "" for silence."""
        ...

    def normalise(self, text: str) -> str:
        """Apply Whisper's English text normaliser: lower case, no punctuation, digits, contractions written out."""
        ...


def cases_metadata(asr: ASR) -> dict[str, str]:
    """Return the metadata of a table of transcripts: asr_cases, the counts of `asr.cases` as JSON, if it heard any."""
    return {ASR_CASES: json.dumps(asr.cases)} if any(asr.cases.values()) else {}


def read_cases(table: Path) -> dict[str, int]:
    """Return the counts that `cases_metadata` gave to a table; none for a recogniser without such rules."""
    return json.loads((pq.read_schema(table).metadata or {}).get(ASR_CASES.encode(), b"{}"))


def load_asr(settings: Continuation, folder: str | Path | None) -> ASR:
    """Load the recogniser that `settings.asr` names.

    Only PocketSphinx needs `folder`, which is continuation/asr (`pocketsphinx.build_asr`). Raise UserError naming the
    wrong file or field.
    """
    if settings.asr == "whisper":
        from speechladder.continuation.asr.whisper import load_whisper

        return load_whisper(settings.whisper)
    from speechladder.continuation.asr.pocketsphinx import PocketSphinx

    return PocketSphinx(folder)


def load_normaliser(settings: Continuation) -> Callable[[str], str]:
    """Load the `normalise` of the recogniser that `settings.asr` names, without its weights."""
    if settings.asr == "whisper":
        from speechladder.continuation.asr.whisper import load_whisper_normaliser

        return load_whisper_normaliser(settings.whisper)
    from speechladder.continuation.asr.text import english_normaliser

    return english_normaliser()
