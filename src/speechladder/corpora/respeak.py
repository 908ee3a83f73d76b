"""A natural corpus that the synthesizer speaks again (corpus.speech: synthesized): the same cuts with other audio.

Texts, speakers, recordings and splits are those of the corpus. So a run on this speech and a run on the recordings
differ in what makes speech natural, and in nothing else.
"""

import random
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import Cut, read_cuts, write_cuts
from speechladder.corpora.filters import length_problem
from speechladder.corpora.recording import SpokenRecording
from speechladder.corpora.speak import Spoken, Voice, speak, voices
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, read_jsonl
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ALIGNMENT, write_table
from speechladder.settings import Corpus

WIDEST = 3  # the level of variability that has the most voices and styles
BATCH = 1000  # rows held as Python lists before they become a table, which takes a twentieth of the memory


def speak_shard(
    corpus: Corpus,
    recorded: Path,
    recorded_rejected: Path,
    cuts: Path,
    audio: Path,
    truth: Path,
    rejected: Path,
    seed: int = 0,
) -> None:
    """Speak the cuts of a shard of recordings.

    Each speaker has one voice of the widest pool. Rate, pitch and pitch range are drawn for each utterance from its id,
    as on the world. The same arguments give the same bytes. A cut that cannot be spoken, or whose new duration is out
    of the corpus's bounds, is rejected with its reason. Raises UserError if more than corpus.max_rejected of the cuts
    are rejected.

    Args:
        recorded: corpus/recorded/cuts.{shard}.jsonl.gz, the cuts of the recordings
        recorded_rejected: corpus/recorded/rejected.{shard}.jsonl, which the new list begins with
        cuts: corpus/cuts.{shard}.jsonl.gz to write; the cuts of a recording follow each other
        audio: corpus/audio/{shard}, a folder to write, with a FLAC file for each recording
        truth: corpus/truth.{shard}.parquet to write: the synthesizer's words and phones, in the order of the cuts
        rejected: corpus/rejected.{shard}.jsonl to write
        seed: seed of the voices and styles
    """
    utterances, rejects = list(read_cuts(recorded)), Rejects()
    rejects.mentions += read_jsonl(recorded_rejected)  # the stage before has counted them
    spoken: list[Cut] = []
    tables, rows = [ALIGNMENT.empty_table()], []
    seconds = sum(cut.duration for cut in utterances)
    with atomic_folder(audio) as folder, progress(f"speak {cuts.name}", seconds, "h of recordings per h") as meter:
        for number, own in enumerate(_by_recording(utterances)):
            recording = SpokenRecording(audio / f"{number:06d}.flac")
            for cut in own:
                found = _speak(cut, corpus, seed)
                if isinstance(found, Spoken):
                    rows.append(recording.add(cut, found))
                else:
                    rejects.add(cut.id, found, cut.path)
                    more = {"split": cut.split, "speaker": cut.speaker, "recording": cut.recording}
                    rejects.rows[-1] |= more | {"seconds": cut.duration}
                meter.advance(cut.duration)
            spoken += recording.write(folder)
            if len(rows) >= BATCH:
                tables.append(pa.Table.from_pylist(rows, ALIGNMENT))
                rows = []
    write_table(truth, pa.concat_tables([*tables, pa.Table.from_pylist(rows, ALIGNMENT)]), ALIGNMENT)
    write_cuts(cuts, spoken)
    rejects.write(rejected, len(utterances), corpus.max_rejected)


def voice_of(speaker: str, seed: int) -> Voice:
    """The voice of a corpus's speaker, drawn by hash: several speakers of a large corpus share a voice."""
    pool = voices(WIDEST)
    return pool[stable_hash(seed, "voice", speaker) % len(pool)]


def _by_recording(cuts: Iterable[Cut]) -> Iterable[list[Cut]]:
    """The cuts of each recording, in the order in which the recordings begin."""
    found: dict[str, list[Cut]] = {}
    for cut in cuts:
        found.setdefault(cut.recording, []).append(cut)
    return found.values()


def _speak(cut: Cut, corpus: Corpus, seed: int) -> Spoken | str:
    """The cut spoken, with the pauses of its original text; or the reason why it cannot be used."""
    draw = stable_hash(seed, "speak", cut.id)
    voice = voice_of(cut.speaker, seed).jittered(random.Random(draw))
    try:
        spoken = speak(cut.original, voice, draw % 2**31)
    except (ValueError, UserError) as error:
        return f"cannot be spoken: {error}"
    return length_problem(len(spoken.samples) / SAMPLE_RATE, corpus) or spoken
