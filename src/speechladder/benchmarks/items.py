"""Items of a task: pairs as text, spoken in one or more voices, with time-aligned words and phones.

The pairs are generated from the world's grammar, read from pairs files, or official: sLM21 and Topic-StoryCloze in
their own recordings. The synthesizer speaks pairs that have no audio. benchmarks.tasks says how tasks differ.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from speechladder.alignment.durations import Durations
from speechladder.benchmarks.pairs import Pair, in_twos, read_pairs, spread
from speechladder.benchmarks.spoken import ESTIMATED, GIVEN, Half, Speaker, Stimuli, Utterance, VoicedPair
from speechladder.benchmarks.tasks.registry import get_task
from speechladder.benchmarks.tasks.task import BOUND
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.speak import Voice, speak, voices
from speechladder.corpora.text import normalise
from speechladder.io.audio import AudioError, encode_flac, read_audio
from speechladder.io.columns import growing_table
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress, say
from speechladder.io.rejects import Rejects
from speechladder.io.spans import as_rows
from speechladder.io.tables import ITEMS, read_table
from speechladder.settings import Alignment, Benchmarks, Corpus

GENERATED = "generated"
SPOKEN_COLUMNS = ["id", "voice", "correct", "text", "phones"]
GROUP = 256  # items that are written together: about 20 MB


def make_items(
    task: str,
    benchmarks: Benchmarks,
    alignment: Alignment,
    out: Path,
    rejected: Path,
    about: Path | None = None,
    pairs: Sequence[Path] = (),
    cuts: Sequence[Path] = (),
    durations: Path | None = None,
    transcripts: Path | None = None,
    models: Path | None = None,
    variability: int = 3,
    causes: list[str] | None = None,
    seed: int = 0,
    jobs: int = 1,
    max_rejected: float = Corpus().max_rejected,
) -> None:
    """Make the items of one task: generated, from pairs files or official, spoken, with time-aligned words and phones.

    If one half of a pair cannot be spoken, read or aligned in a voice, both halves are left out in that voice, and so
    is the other pair of a two.
    Recordings of official benchmarks are never left out because an alignment fails: see `spoken.Half`. The table is
    written group by group, so memory does not grow with the benchmark. Raises UserError if more than `max_rejected` of
    the pairs, voice by voice, are lost, or if none is left.

    Args:
        task: the name of a registered task (benchmarks.tasks)
        out: benchmarks/{task}/items.parquet to write
        rejected: JSON lines to write, each pair that is left out with its reason
        about: JSON to write, where the items come from and how they were made
        pairs: pairs files that replace generated pairs
        cuts: corpus/cuts.*.jsonl.gz, whose training words are the words of the task
        durations: alignment/durations.json, for official benchmarks
        transcripts: benchmarks/topic/transcripts.jsonl, for --storycloze without texts
        models: alignment/mfa, for aligner mfa
        variability: level of variability of the voices, 0 (one flat voice) to 3 (many voices)
        causes: what varies in the voices, by name (corpus.causes), in place of a level
        seed: the seed of the run
        jobs: processes of the aligner
    """
    known, rejects = get_task(task), Rejects()
    speaker = Speaker(alignment, Durations.load(durations) if durations else None, out.parent, models, jobs)
    if known.archive(benchmarks):
        stimuli = known.official.read(benchmarks, transcripts, rejects)
        stimuli.source = known.official.title
    else:
        source, count = "pairs files" if pairs else GENERATED, known.voices(benchmarks)
        if pairs:
            found = _from_files(pairs, benchmarks.max_pairs, rejects)
        else:
            found = known.generate(benchmarks, seed, list(cuts))
        units, pool = enumerate(in_twos(found)), voices(variability, causes)
        voiced = [v for n, own in units for pair in own for v in _voiced(pair, n, count, pool, seed, speaker)]
        stimuli = Stimuli(voiced, facts={"files": list(map(str, pairs))}, source=source)
    times: Counter[str] = Counter()
    used: set[str] = set()

    def rows() -> Iterator[dict[str, object]]:
        utterances = speaker.utter([half for pair in stimuli.voiced for half in pair])
        with progress(f"items of {task}", len(stimuli.voiced), "pairs/s") as meter:
            for _, unit in groupby(stimuli.voiced, lambda pair: (pair[0].two, not pair[0].two and pair[0].item)):
                said = [(pair, list(islice(utterances, len(pair)))) for pair in unit]
                faults = _faults(said)
                for pair, spoken in said:
                    if fault := faults.get(pair[0].voice):
                        rejects.add(f"{pair[0].id}|{pair[0].voice}", fault, stimuli.archive)
                    else:
                        times.update(utterance.times for utterance in spoken)
                        used.add(pair[0].id)
                        yield from map(_row, pair, spoken)
                meter.advance(len(said))

    made = rows()
    with growing_table(out, ITEMS.with_metadata(stimuli.metadata or None), GROUP) as table:
        while group := list(islice(made, GROUP)):
            table.append({name: [row[name] for row in group] for name in ITEMS.names})
        if not used:
            raise UserError(f"{task}: no pair could be used; the first reasons: {rejects.rows[:3]}")
    rejects.write(rejected, len(stimuli.voiced) + stimuli.lost, max_rejected)
    if known.shortcuts and stimuli.source == GENERATED:
        shares = known.shortcuts(list(cuts), read_table(out, ITEMS, SPOKEN_COLUMNS).to_pylist())
        stimuli.facts["shortcuts"] = {name: round(share, 4) for name, share in shares.items()}
        if unbalanced := _unbalanced(shares):
            stimuli.notes.append(unbalanced)
            say(f"{task} is {unbalanced}; more pairs or more words balance it better")
    if about:
        write_json(about, _about(task, stimuli, len(used), times, speaker, len(rejects.rows)))


def _unbalanced(shares: Mapping[str, float]) -> str:
    """The short cuts that solve more or less than the bound allows, as the end of a sentence on the task, or ""."""
    found = [f"{name} solves {100 * share:.1f} %" for name, share in shares.items() if abs(share - 0.5) > BOUND + 1e-9]
    low, high = (100 * (0.5 + sign * BOUND) for sign in (-1, 1))
    return f"not balanced within {low:.0f} to {high:.0f} %: {', '.join(found)}" if found else ""


def _faults(said: Sequence[tuple[VoicedPair, Sequence[object]]]) -> dict[str, str]:
    """Voice -> the first reason why a pair, or both pairs of a two, cannot be used in it."""
    faults: dict[str, str] = {}
    for pair, spoken in said:
        for found in spoken:
            if isinstance(found, Exception):
                faults.setdefault(pair[0].voice, str(found))
    return faults


def _from_files(files: Sequence[Path], max_pairs: int, rejects: Rejects) -> list[Pair]:
    found = {}
    for path in files:
        found[str(path)], bad_rows = read_pairs(path)
        for line, reason in bad_rows:
            rejects.mention(f"{path.name}, row {line}", reason, path)
    return spread(found, max_pairs)


def voices_of(number: int, count: int, pool: Sequence[Voice]) -> list[Voice]:
    """`count` voices of `pool` for the pair or two with this number; neighbours get different ones, so all occur.

    Each lap through the pool starts one voice later. Otherwise what alternates over an even pool, as the halves of
    Topic-SC do, would have voices of its own.
    """
    first = number * count + number * count // len(pool)
    return [pool[(first + k) % len(pool)] for k in range(min(count, len(pool)))]


def _voiced(
    pair: Pair, number: int, count: int, pool: Sequence[Voice], seed: int, speaker: Speaker
) -> Iterator[VoicedPair]:
    """The halves of a pair in each of its voices.

    Both halves of a pair, and both pairs of a two, have the same voice in the same style and the same seed of the
    synthesizer: only the words differ.
    """

    def half(correct: bool, voice: str, **way: Callable) -> Half:
        item, text = f"{pair.id}|{'good' if correct else 'bad'}|{voice}", pair.good if correct else pair.bad
        return Half(item, pair.id, voice, correct, pair.type, text, two=pair.two, **way)

    if pair.good_audio and pair.bad_audio:
        recordings = ((True, pair.good_audio), (False, pair.bad_audio))
        yield tuple(half(correct, GIVEN, read=partial(_recording, Path(audio))) for correct, audio in recordings)
        return
    for voice in voices_of(number, count, pool):
        draw = stable_hash(seed, "item", pair.two or pair.id, voice.name) % 2**31
        styled = voice.jittered(random.Random(draw))
        way, say = ("speak", speaker.synthesize) if speaker.truth else ("read", _wave)
        texts = ((True, pair.good), (False, pair.bad))
        yield tuple(half(correct, voice.name, **{way: partial(say, text, styled, draw)}) for correct, text in texts)


def _recording(path: Path) -> np.ndarray:
    """A recording of a pairs file, (n,) float32 at 16 kHz; raises AudioError that names the file."""
    try:
        return read_audio(path)
    except AudioError as error:
        raise AudioError(f"{error} ({path})") from None


def _wave(text: str, voice: Voice, seed: int) -> np.ndarray:
    return speak(text, voice, seed).samples


def _row(half: Half, said: Utterance) -> dict[str, object]:
    return {
        "item": half.item,
        "id": half.id,
        "voice": half.voice,
        "correct": half.correct,
        "type": half.type,
        "split": half.split,
        "two": half.two,
        "text": normalise(half.text),
        "words": as_rows(said.words),
        "phones": as_rows(said.phones),
        "seconds": len(said.samples) / SAMPLE_RATE,
        "audio": encode_flac(said.samples),
    }


def _about(
    name: str, stimuli: Stimuli, pairs: int, times: Counter[str], speaker: Speaker, lost: int
) -> dict[str, object]:
    """The content of benchmarks/{task}/about.json: the source of the items, their phones, times and texts."""
    notes, items = list(stimuli.notes), sum(times.values())
    if times[ESTIMATED]:
        notes.append(
            f"{times[ESTIMATED]:,} of {items:,} recordings could not be aligned; their phones have the mean durations "
            "of the training speech"
        )
    if lost and stimuli.archive:
        notes.append(f"{lost:,} pairs, voice by voice, are left out (benchmarks/{name}/rejected.jsonl)")
    return {
        "task": name,
        "source": stimuli.source,
        **stimuli.facts,
        "pairs": pairs,
        "items": items,
        "rejected": lost,
        "times": dict(times),
        "aligner": speaker.aligner,
        "notes": notes,
    }
