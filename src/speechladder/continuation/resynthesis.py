"""Whether speech can be made again from units: held-out utterances, spoken from their units and transcribed.

Every point's units (settings.points) are spoken by a vocoder of the same kind, trained on the same speech with these
units, and heard by the run's ASR. The utterances are the same for all points. So points differ in their units alone.
Polyak et al. 2021 (arXiv 2104.00355, section 4) measure units by resynthesis and its word error rate too.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechladder.continuation.asr import load_asr
from speechladder.continuation.transcribe import transcripts
from speechladder.continuation.vocoder.base import load_vocoder
from speechladder.continuation.vocoder.frames import read_frames
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.draw import Draw
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.tables import REFERENCE, read_table, write_table
from speechladder.settings import Continuation

NATURAL, RESYNTHESIS = "natural", "resynthesis"  # values of REFERENCE's column path


def transcribe_held_out(
    cuts: list[Path], out: Path, continuation: Continuation, asr_folder: Path | None = None, seed: int = 0
) -> None:
    """Transcribe held-out recordings as they are: continuation/held_out.parquet (REFERENCE, path natural).

    They are utterances of test and valid with a text, drawn up to resynthesis_minutes. Recordings that cannot be read
    are left out, as they have no units. Raise UserError if there is none.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of all shards
        out: continuation/held_out.parquet to write
        asr_folder: folder continuation/asr, for asr: pocketsphinx
        seed: seed of the draw
    """
    asr = load_asr(continuation, asr_folder)
    audio: dict[Cut, np.ndarray] = {}
    for cut in choose_held_out(cuts, continuation.resynthesis_minutes, seed):
        with contextlib.suppress(AudioError):  # the lists of rejects name it
            audio[cut] = cut.samples()
    heard = transcripts(asr, list(audio.values()), "transcribe held-out speech")
    rows = [
        {"path": NATURAL, "id": cut.id, "reference": asr.normalise(cut.text), "transcript": found}
        for cut, found in zip(audio, heard, strict=True)
    ]
    write_table(out, rows, REFERENCE)


def choose_held_out(cuts: Sequence[str | Path], minutes: float, seed: int) -> list[Cut]:
    """Return cuts of test and valid that have a text, in the order of a hash, up to `minutes` of them (one at least).

    Raise UserError if there is none.
    """
    drawn: Draw[Cut] = Draw(60 * minutes, seed, "resynthesis")
    for cut in (cut for path in cuts for cut in read_cuts(path) if cut.split != "train" and cut.text):
        drawn.add(cut.id, cut.duration, cut)
    if not (found := drawn.items(within=True)):
        raise UserError(f"{cuts[0]}: no utterance of test or valid has a text; raise corpus.test_fraction")
    return found


def transcribe_resynthesis(
    held_out: Path,
    units: list[Path],
    vocoder_folder: Path,
    out: Path,
    continuation: Continuation,
    asr_folder: Path | None = None,
    clusters: int | None = None,
) -> None:
    """Speak held-out utterances from their units, and transcribe them: continuation/resynthesis.parquet.

    The table (REFERENCE, path resynthesis) has the utterances of `held_out` that have units, in their order. Units with
    durations are repeated over them. Raise UserError if no utterance has units, or if the vocoder is of other units.

    Args:
        held_out: continuation/held_out.parquet, which says which utterances
        units: units/{shard}.parquet of all shards
        vocoder_folder: folder continuation/vocoder, trained on these units
        out: continuation/resynthesis.parquet to write
        asr_folder: folder continuation/asr, for asr: pocketsphinx
        clusters: units.clusters, which the vocoder must have
    """
    references = {row["id"]: row["reference"] for row in read_table(held_out, REFERENCE).to_pylist()}
    frames = {id: row for path in units for id, row in read_frames(path, references).items()}
    spoken = [id for id in references if id in frames]
    if not spoken:
        raise UserError(
            f"{held_out}: none of its utterances is in {units[0]} and the other shards; delete it, run again"
        )
    vocoder, asr = load_vocoder(vocoder_folder, clusters), load_asr(continuation, asr_folder)
    heard = transcripts(asr, [vocoder.speak(frames[id]) for id in spoken], "transcribe resynthesis")
    rows = [
        {"path": RESYNTHESIS, "id": id, "reference": references[id], "transcript": found}
        for id, found in zip(spoken, heard, strict=True)
    ]
    write_table(out, rows, REFERENCE)
