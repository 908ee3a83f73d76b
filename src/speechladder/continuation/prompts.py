"""The prompts of the continuation task: beginnings of held-out speech, and how it really continues.

Speech is cut between two words, in the middle of the pause if there is one. A cut at the end of the last word would
remove a closure or a breath, and the encoder's input would end in a click. A cut at the end of the pause would put the
onset of the next word into the prompt. A cut is never inside a phone other than SIL.
"""

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speechladder.alignment.base import AlignmentError
from speechladder.benchmarks.spoken import Speaker, Utterance
from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.prompt_table import PARTS, STORIES
from speechladder.continuation.sample import rows_of
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.draw import hash_order
from speechladder.corpora.phones import SIL
from speechladder.corpora.speak import Voice, speak, voices
from speechladder.corpora.world.grammar import scene
from speechladder.corpora.world.lexicon import TOPICS
from speechladder.corpora.world.stories import story, written
from speechladder.io.audio import AudioError, encode_flac
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress, say
from speechladder.io.spans import Span, as_rows, from_rows
from speechladder.io.tables import ALIGNMENT, PROMPTS, write_table
from speechladder.settings import Alignment, Continuation, Corpus

FEWEST = 2  # prompts; an interval needs two
HELD_OUT = ("test", "valid")  # splits of a natural corpus, in the order in which they are used
SENTENCES = 4  # of a story of the world, at least
TRIES = 4  # stories per prompt of the world, because the aligner may reject some


@dataclass(frozen=True)
class Prompt:
    """An utterance: its first `words[0]` words or `samples[0]` samples are the prompt, those up to `[1]` the whole."""

    id: str
    voice: str
    spoken: Utterance
    words: tuple[int, int]
    samples: tuple[int, int]

    def rows(self) -> list[dict[str, object]]:
        """Return the two rows of the table PROMPTS."""
        return [self._row(part, w, n) for part, w, n in zip(PARTS, self.words, self.samples)]

    def _row(self, part: str, words: int, samples: int) -> dict[str, object]:
        end = samples / SAMPLE_RATE
        said = [Span(w.label, w.start, min(w.end, end)) for w in self.spoken.words[:words]]
        # times are rounded to samples, so a phone that begins within half a sample of the cut is behind it
        phones = [p for p in self.spoken.phones if p.start < end - 0.5 / SAMPLE_RATE]
        phones[-1] = phones[-1]._replace(end=end)
        return {
            "item": f"{self.id}|{part}",
            "id": self.id,
            "part": part,
            "voice": self.voice,
            "text": " ".join(w.label for w in said),
            "words": as_rows(said),
            "phones": as_rows(phones),
            "seconds": end,
            "audio": encode_flac(self.spoken.samples[:samples]),
        }


def boundaries(words: list[Span], phones: list[Span], seconds: float) -> list[float]:
    """Return the time of a possible cut after each word, in seconds: the middle of the pause before what follows.

    It is NaN if the words share a phone, as 'in the' may do in the synthesizer.
    """
    edges = {round(p.start * SAMPLE_RATE) for p in phones} | {round(seconds * SAMPLE_RATE)}
    pauses = [p for p in phones if p.label == SIL]
    out = []
    for word, after in zip(words, [*(w.start for w in words[1:]), seconds]):
        at = (word.end + after) / 2
        clean = round(at * SAMPLE_RATE) in edges or any(p.start <= at <= p.end for p in pauses)
        out.append(at if clean else math.nan)
    return out


def cut_at(id: str, voice: str, spoken: Utterance, first: int, seconds: float) -> Prompt | None:
    """Make the prompt of the first `first` words.

    The true continuation is the whole words within `seconds` after the cut. Return None if it is shorter than half of
    `seconds`.
    """
    total = len(spoken.samples) / SAMPLE_RATE
    ends = boundaries(spoken.words, spoken.phones, total)
    cut = ends[first - 1]
    last = max((k for k, e in enumerate(ends, 1) if k > first and e <= cut + seconds), default=0)
    if not last or ends[last - 1] < cut + seconds / 2:
        return None
    return Prompt(id, voice, spoken, (first, last), (round(cut * SAMPLE_RATE), round(ends[last - 1] * SAMPLE_RATE)))


def words_before(spoken: Utterance, seconds: float) -> int:
    """Return the number of words before the first boundary at or after `seconds`, or 0 if there is none."""
    ends = boundaries(spoken.words, spoken.phones, len(spoken.samples) / SAMPLE_RATE)
    return next((k for k, end in enumerate(ends, 1) if end >= seconds), 0)


def make_prompts(
    out: Path,
    continuation: Continuation,
    alignment: Alignment,
    cuts: list[Path] = (),
    alignments: list[Path] = (),
    models: Path | None = None,
    variability: int = Corpus().variability,
    causes: list[str] | None = None,
    seed: int = 0,
) -> None:
    """Make the prompts of the continuation task and their true continuations: continuation/prompts.parquet.

    The table (PROMPTS) has two rows per prompt: the audio up to the cut, and the audio with the true continuation,
    which ends at the last word boundary within continuation.seconds of the cut. Without cuts, held-out stories of the
    world are spoken and cut after prompt_sentences; the table's metadata `stories` has their sentences. With cuts,
    prompts are utterances of the test split, then of the valid split, cut at the first word boundary at or after
    prompt_seconds. Raise UserError if fewer than two prompts are left.

    Args:
        out: continuation/prompts.parquet to write
        cuts: corpus/cuts.{shard}.jsonl.gz of a natural corpus. Without them, prompts come from the world.
        alignments: alignment/{shard}.parquet of the same cuts
        models: folder alignment/mfa, for aligner: mfa on the world
        variability: variability level of the world's voices, 0 (one voice, flat) to 3 (many voices)
        causes: what varies in the world's voices, by name (corpus.causes), in place of a level
        seed: the run's seed
    """
    if cuts:
        prompts, stories = _natural_prompts(continuation, seed, cuts, alignments), {}
    else:
        speaker = Speaker(alignment, models=models, work=out.parent)
        prompts, stories = _world_prompts(continuation, speaker, voices(variability, causes), seed)
    write_table(out, [row for p in prompts for row in p.rows()], PROMPTS, **{STORIES: json.dumps(stories)})


def _world_prompts(
    settings: Continuation, speaker: Speaker, pool: list[Voice], seed: int
) -> tuple[list[Prompt], dict[str, list[str]]]:
    """Prompts of the world, with topics in turn and voices spread evenly, and the sentences of their stories."""
    prompts: list[Prompt] = []
    stories: dict[str, list[str]] = {}
    number, rejected = 0, ""
    with progress("prompts", settings.prompts, "prompts/s") as meter:
        while len(prompts) < settings.prompts and number < TRIES * settings.prompts:
            id, topic = f"prompt-{number:04d}", list(TOPICS)[number % len(TOPICS)]
            number += 1
            voice = pool[len(prompts) * len(pool) // settings.prompts]
            draw = stable_hash(seed, "prompt", id, voice.name)
            styled = voice.jittered(random.Random(draw))
            sentences = _long_story(id, topic, settings, styled, seed, draw % 2**31)
            try:
                spoken = speaker.synthesize(written(sentences), styled, draw % 2**31)
            except AlignmentError as error:
                rejected = f"{id}: {error}"
                continue
            first = _count_words(sentences[: settings.prompt_sentences])
            prompt = cut_at(id, voice.name, spoken, first, settings.seconds)
            if prompt is None:
                rejected = f"{id}: no word boundary between half of continuation.seconds and continuation.seconds"
                continue
            prompts.append(prompt)
            stories[id] = sentences
            meter.advance(1)
    if len(prompts) < FEWEST:
        raise UserError(
            f"continuation.seconds: no prompts could be cut from {number} stories; change it. The last: {rejected}"
        )
    if rejected:
        say(f"prompts: {number - len(prompts)} of {number} stories could not be used. The last: {rejected}")
    return prompts, stories


def _long_story(id: str, topic: str, settings: Continuation, voice: Voice, seed: int, draw: int) -> list[str]:
    """A held-out story with enough sentences that this voice speaks for `settings.seconds` after the cut."""
    count = max(SENTENCES, settings.prompt_sentences + 1)
    while True:
        rng = random.Random(f"prompt/{seed}/{id}")  # a longer story begins with the same sentences
        sentences = story(scene(rng, topic), count, rng, reserved=True)
        # the synthesizer's own times: an aligner gives nearly the same ones and takes ten times as long
        words = speak(written(sentences), voice, draw).words
        if words[-1].end - words[_count_words(sentences[: settings.prompt_sentences])].start >= settings.seconds:
            return sentences
        count += 1


def _count_words(sentences: list[str]) -> int:
    return len(" ".join(sentences).split())


def _natural_prompts(settings: Continuation, seed: int, cuts: list[Path], alignments: list[Path]) -> list[Prompt]:
    """Prompts of a natural corpus, spread over its speakers as evenly as their held-out utterances allow.

    The test split is used first. The valid split follows: it selects the weights that are kept, but nothing is trained
    on it.
    """
    held_out = {cut.id: cut for path in cuts for cut in read_cuts(path) if cut.split in HELD_OUT}
    aligned = rows_of(alignments, ALIGNMENT, list(held_out))
    prompts: list[Prompt] = []
    splits = ([held_out[i] for i in aligned if held_out[i].split == split] for split in HELD_OUT)
    order = (cut for some in splits for cut in _alternate_speakers(some, seed))
    for cut in order:
        if len(prompts) == settings.prompts:
            break
        row = aligned[cut.id]
        if row["seconds"] < settings.prompt_seconds + settings.seconds / 2:
            continue
        try:
            spoken = Utterance(cut.samples(), from_rows(row["words"]), from_rows(row["phones"]))
        except AudioError as error:
            say(f"prompts: {cut.id} left out, {cut.path}: {error}")
            continue
        first = words_before(spoken, settings.prompt_seconds)
        prompt = cut_at(cut.id, cut.speaker, spoken, first, settings.seconds) if first else None
        if prompt:
            prompts.append(prompt)
    shortest = f"{settings.prompt_seconds:g} s of prompt and {settings.seconds / 2:g} s of continuation"
    if len(prompts) < FEWEST:
        raise UserError(
            f"continuation: {len(prompts)} of {len(aligned)} aligned held-out utterances hold {shortest}, {FEWEST} are "
            "needed; raise corpus.test_fraction, lower continuation.prompt_seconds or continuation.seconds, or turn "
            "the task off (continuation.enabled: false)"
        )
    if len(prompts) < settings.prompts:
        say(
            f"prompts: {len(prompts)} instead of {settings.prompts}, because no more of the {len(aligned)} aligned "
            f"held-out utterances hold {shortest}"
        )
    return prompts


def _alternate_speakers(cuts: list[Cut], seed: int) -> Iterator[Cut]:
    """Yield one utterance of each speaker, then a second one of each, and so on, in an order drawn by hash."""
    speakers: dict[str, list[Cut]] = defaultdict(list)
    for cut in hash_order(cuts, seed, "prompt", name=lambda cut: cut.id):
        speakers[cut.speaker].append(cut)
    for turn in range(max(map(len, speakers.values()), default=0)):
        order = hash_order(speakers, seed, "prompt speaker", turn, name=str)
        yield from (speakers[s][turn] for s in order if turn < len(speakers[s]))
