"""What an ASR hears in the recordings of Topic-StoryCloze, which come without texts."""

from pathlib import Path

import numpy as np

from speechladder.benchmarks.official import read_member
from speechladder.benchmarks.storycloze import recordings
from speechladder.continuation.asr import ASR
from speechladder.fetch.archives import open_store
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl
from speechladder.io.progress import progress, say
from speechladder.settings import Continuation

TOGETHER = 16  # recordings given to the ASR at once


def asr_name(settings: Continuation) -> str:
    """How the table's note names the recogniser: 'PocketSphinx (of the run)', 'Whisper large-v3'."""
    return f"Whisper {settings.whisper}" if settings.asr == "whisper" else "PocketSphinx (of the run)"


def transcribe_stories(archive: str | Path, asr: ASR, name: str, out: str | Path) -> None:
    """Write benchmarks/topic/transcripts.jsonl: filename (without suffix), text, asr (`name`), sorted by filename.

    A recording that cannot be read, or in which nothing is heard, has an empty text and so no place in the benchmark.
    Raises UserError where there are no recordings, or nothing is heard in any.
    """
    store = open_store(archive)
    members = list(recordings(store, str(archive)).items())
    rows, unread = [], 0
    with progress("transcribe stories", len(members), "recordings/s") as meter:
        for begin in range(0, len(members), TOGETHER):
            some = members[begin : begin + TOGETHER]
            audio = []
            for _, member in some:
                try:
                    audio.append(read_member(store, member))
                except AudioError as error:
                    say(f"{member}: {error}")
                    audio.append(np.zeros(0, np.float32))
                    unread += 1
            texts = asr.transcribe(audio)
            rows += [{"filename": stem, "text": text, "asr": name} for (stem, _), text in zip(some, texts)]
            meter.advance(len(some))
    if not any(row["text"] for row in rows):
        raise UserError(f"{archive}: {name} heard nothing in {len(rows)} recordings ({unread} of them unreadable)")
    write_jsonl(out, rows)
