"""Transcripts of the recordings of Topic-StoryCloze, which come without texts."""

from pathlib import Path

import numpy as np

from speechladder.benchmarks.official import read_member
from speechladder.benchmarks.storycloze import recordings
from speechladder.continuation.asr import load_asr
from speechladder.fetch.archives import open_store
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl
from speechladder.io.progress import progress, say
from speechladder.settings import Continuation

BATCH = 16  # recordings that the ASR gets at once


def asr_name(settings: Continuation) -> str:
    """Return the recogniser's name for the table's note: 'PocketSphinx (of the run)', 'Whisper large-v3'."""
    return f"Whisper {settings.whisper}" if settings.asr == "whisper" else "PocketSphinx (of the run)"


def transcribe_stories(storycloze: Path, out: Path, continuation: Continuation, asr_folder: Path | None = None) -> None:
    """Transcribe the recordings of Topic-StoryCloze: benchmarks/topic/transcripts.jsonl.

    Its rows are filename (without suffix), text and asr (`asr_name`), sorted by filename. A recording that cannot be
    read, or in which the ASR recognises nothing, has an empty text, so that the benchmark leaves it out. Raises
    UserError if there are no recordings, or if all texts are empty.

    Args:
        storycloze: Topic-StoryCloze, a folder, .zip or .tar
        out: benchmarks/topic/transcripts.jsonl to write
        asr_folder: folder continuation/asr, for asr: pocketsphinx
    """
    asr, name = load_asr(continuation, asr_folder), asr_name(continuation)
    store = open_store(storycloze)
    members = list(recordings(store, str(storycloze)).items())
    rows, unread = [], 0
    with progress("transcribe stories", len(members), "recordings/s") as meter:
        for begin in range(0, len(members), BATCH):
            batch = members[begin : begin + BATCH]
            audio = []
            for _, member in batch:
                try:
                    audio.append(read_member(store, member))
                except AudioError as error:
                    say(f"{member}: {error}")
                    audio.append(np.zeros(0, np.float32))
                    unread += 1
            texts = asr.transcribe(audio)
            rows += [{"filename": stem, "text": text, "asr": name} for (stem, _), text in zip(batch, texts)]
            meter.advance(len(batch))
    if not any(row["text"] for row in rows):
        raise UserError(
            f"{storycloze}: {name} recognised nothing in {len(rows)} recordings ({unread} of them unreadable); check "
            "that they are English speech"
        )
    write_jsonl(out, rows)
