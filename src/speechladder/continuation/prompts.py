"""The prompts of the continuation task: beginnings of held-out speech, the same for every rung, and how they go on.

Speech is cut between two words, in the middle of the pause if there is one: at the last word's own end a closure or a
breath would be cut off and the encoder would hear a click, and a continuation that starts with the pause would say the
first sound of its first word into the cut. A cut is never inside a phone other than SIL.
"""

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speechladder.alignment.base import AlignmentError
from speechladder.benchmarks.items import Speaker, Utterance
from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.sample import rows_of
from speechladder.corpora.cuts import Cut, read_cuts
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
from speechladder.settings import Alignment, Continuation

PARTS = ("prompt", "whole")
FEWEST = 2  # prompts: fewer have no interval
HELD_OUT = ("test", "valid")  # splits of a natural corpus that prompts come from, in this order
SENTENCES = 4  # of a story of the world, at least
TRIES = 4  # stories per prompt of the world, in case that the aligner refuses some
STORIES = "stories"  # metadata of the table: JSON, id -> sentences of the world's story, spoken and cut off alike


@dataclass(frozen=True)
class Prompt:
    """An utterance: its first `words[0]` words (`samples[0]` samples) are the prompt, `words[1]` the whole."""

    id: str
    voice: str
    spoken: Utterance
    words: tuple[int, int]
    samples: tuple[int, int]

    def rows(self) -> list[dict[str, object]]:
        """Two rows of io.tables.PROMPTS."""
        return [self._row(part, w, n) for part, w, n in zip(PARTS, self.words, self.samples)]

    def _row(self, part: str, words: int, samples: int) -> dict[str, object]:
        end = samples / SAMPLE_RATE
        said = [Span(w.label, w.start, min(w.end, end)) for w in self.spoken.words[:words]]
        # what begins within half a sample of the cut belongs to the other side: times are rounded to samples
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
    """Where an utterance can be cut after each word, in seconds: the middle of the pause before the next word or end.

    NaN where words share a phone ('in the' may be one to the synthesizer), so that there is nothing to cut between.
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
    """The prompt of the first `first` words; None unless its true continuation, whole words within `seconds`, lasts
    half of that at least."""
    total = len(spoken.samples) / SAMPLE_RATE
    ends = boundaries(spoken.words, spoken.phones, total)
    cut = ends[first - 1]
    last = max((k for k, e in enumerate(ends, 1) if k > first and e <= cut + seconds), default=0)
    if not last or ends[last - 1] < cut + seconds / 2:
        return None
    return Prompt(id, voice, spoken, (first, last), (round(cut * SAMPLE_RATE), round(ends[last - 1] * SAMPLE_RATE)))


def words_before(spoken: Utterance, seconds: float) -> int:
    """Words before the first boundary at or after `seconds`; 0 where there is none."""
    ends = boundaries(spoken.words, spoken.phones, len(spoken.samples) / SAMPLE_RATE)
    return next((k for k, end in enumerate(ends, 1) if end >= seconds), 0)


def build_prompts(
    settings: Continuation,
    alignment: Alignment,
    variability: int,
    seed: int,
    out: Path,
    cuts: list[Path],
    alignments: list[Path],
    models: Path | None = None,
) -> None:
    """Write continuation/prompts.parquet (io.tables.PROMPTS), two rows per prompt: up to the cut, and with its true
    continuation, which ends at the last word boundary within `settings.seconds` of the cut.

    Without `cuts` the world's held-out stories are spoken by the voices of the dial's setting, cut after
    `settings.prompt_sentences` (`models`: MFA's, where it aligns them); with them, utterances of the test split, then
    of valid, are taken from `alignments` (tables.ALIGNMENT), cut at the first word boundary at or after
    `settings.prompt_seconds`. The table's metadata STORIES has the sentences of the world's stories. Raises UserError
    when fewer than two prompts are left.
    """
    if cuts:
        prompts, stories = _recorded(settings, seed, cuts, alignments), {}
    else:
        prompts, stories = _told(settings, Speaker(alignment, models=models, work=out.parent), variability, seed)
    write_table(out, [row for p in prompts for row in p.rows()], PROMPTS, **{STORIES: json.dumps(stories)})


def _told(
    settings: Continuation, speaker: Speaker, variability: int, seed: int
) -> tuple[list[Prompt], dict[str, list[str]]]:
    """Prompts of the world, topics in turn and voices evenly over the pool, and the sentences of their stories."""
    pool = voices(variability)
    prompts: list[Prompt] = []
    stories: dict[str, list[str]] = {}
    number, refused = 0, ""
    with progress("prompts", settings.prompts, "prompts/s") as meter:
        while len(prompts) < settings.prompts and number < TRIES * settings.prompts:
            id, topic = f"prompt-{number:04d}", list(TOPICS)[number % len(TOPICS)]
            number += 1
            voice = pool[len(prompts) * len(pool) // settings.prompts]
            draw = stable_hash(seed, "prompt", id, voice.name)
            styled = voice.jittered(random.Random(draw))
            sentences = _long_enough(id, topic, settings, styled, seed, draw % 2**31)
            try:
                spoken = speaker.synthesize(written(sentences), styled, draw % 2**31)
            except AlignmentError as error:
                refused = f"{id}: {error}"
                continue
            first = _words(sentences[: settings.prompt_sentences])
            prompt = cut_at(id, voice.name, spoken, first, settings.seconds)
            if prompt is None:
                refused = f"{id}: no word boundary between half of continuation.seconds and continuation.seconds"
                continue
            prompts.append(prompt)
            stories[id] = sentences
            meter.advance(1)
    if len(prompts) < FEWEST:
        raise UserError(f"continuation.seconds: no prompts could be cut from {number} stories; the last: {refused}")
    if refused:
        say(f"prompts: {number - len(prompts)} of {number} stories could not be used; the last: {refused}")
    return prompts, stories


def _long_enough(id: str, topic: str, settings: Continuation, voice: Voice, seed: int, draw: int) -> list[str]:
    """A held-out story, to which sentences are added until this voice goes on for `settings.seconds` after the cut."""
    count = max(SENTENCES, settings.prompt_sentences + 1)
    while True:
        rng = random.Random(f"prompt/{seed}/{id}")  # one more sentence leaves those before it as they are
        sentences = story(scene(rng, topic), count, rng, reserved=True)
        # the synthesizer's own times decide, since an aligner takes ten times as long to say about the same
        words = speak(written(sentences), voice, draw).words
        if words[-1].end - words[_words(sentences[: settings.prompt_sentences])].start >= settings.seconds:
            return sentences
        count += 1


def _words(sentences: list[str]) -> int:
    return len(" ".join(sentences).split())


def _recorded(settings: Continuation, seed: int, cuts: list[Path], alignments: list[Path]) -> list[Prompt]:
    """Prompts of a natural corpus, evenly over its speakers as far as their held-out utterances go: test, then valid,
    by which the weights that are kept were chosen but nothing was trained."""
    held_out = {cut.id: cut for path in cuts for cut in read_cuts(path) if cut.split in HELD_OUT}
    aligned = rows_of(alignments, ALIGNMENT, list(held_out))
    prompts: list[Prompt] = []
    splits = ([held_out[i] for i in aligned if held_out[i].split == split] for split in HELD_OUT)
    order = (cut for some in splits for cut in _dealt(some, seed))
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
            "needed; raise corpus.test_fraction, lower continuation.prompt_seconds or continuation.seconds, or do "
            "without (continuation.enabled: false)"
        )
    if len(prompts) < settings.prompts:
        say(
            f"prompts: {len(prompts)} in place of {settings.prompts}, since no more of the {len(aligned)} aligned "
            f"held-out utterances hold {shortest}"
        )
    return prompts


def _dealt(cuts: list[Cut], seed: int) -> Iterator[Cut]:
    """One utterance of each speaker, then a second of each, ..., in an order drawn by hash."""
    speakers: dict[str, list[Cut]] = defaultdict(list)
    for cut in sorted(cuts, key=lambda c: (stable_hash(seed, "prompt", c.id), c.id)):
        speakers[cut.speaker].append(cut)
    for turn in range(max(map(len, speakers.values()), default=0)):
        order = sorted(speakers, key=lambda s: stable_hash(seed, "prompt speaker", turn, s))
        yield from (speakers[s][turn] for s in order if turn < len(speakers[s]))
