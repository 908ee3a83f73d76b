"""Probe speech: sentences of the world, each spoken again with one thing changed at a time.

The first recording of a sentence (BASE) is of one of the eight voices of corpus.variability: 2, without jitter. What a
change does is the largest strength that the world gives to the cause (voices.CAUSES); of noise and room, the middle of
it. Nothing else changes: text, prosody and the synthesizer's seed are those of BASE.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.speak import Spoken, Voice, speak, voices
from speechladder.corpora.text import normalise
from speechladder.corpora.voices import CAUSES
from speechladder.corpora.world.grammar import scene
from speechladder.corpora.world.stories import story, written
from speechladder.io.audio import encode_flac
from speechladder.io.files import write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ITEMS, write_table
from speechladder.settings.diagnosis import Diagnosis

BASE, AGAIN, CONTEXT = "base", "again", "context"
SHIFTS = (5, 10)  # ms
GRID = SAMPLE_RATE * 80 // 1000  # samples: whole frames at 12.5, 25, 50 and 75 Hz, and no more than a silent edge
VARIABILITY = 2  # the level whose voices speak: one accent


def _strongest(cause: str) -> Mapping[str, Any]:
    return CAUSES[cause][max(CAUSES[cause])]


def _turns(number: int, spread: float) -> float:
    """The spread for even numbers, and its opposite for odd ones, so that a change goes both ways."""
    return -spread if number % 2 else spread


# Cause -> the voice of BASE with this cause changed, for the sentence with this number.
CHANGES: Mapping[str, Callable[[Voice, int], Voice]] = {
    "voice": lambda voice, number: _another(voice, number),
    "accent": lambda voice, number: replace(
        voice, accent=list(_strongest("accents")["accents"].values())[number % len(_strongest("accents")["accents"])]
    ),
    "rate": lambda voice, number: replace(
        voice, rate=round(voice.rate * (1 + _turns(number, _strongest("rate")["rate_spread"])))
    ),
    "pitch": lambda voice, number: replace(
        voice, pitch=round(voice.pitch + _turns(number, _strongest("pitch")["pitch_spread"]))
    ),
    "room": lambda voice, number: replace(voice, rt60=_strongest("reverberation")["rt60"]),
    "noise": lambda voice, number: replace(voice, snr=_strongest("noise")["snr"]),
    "telephone": lambda voice, number: replace(voice, telephone=1.0),
}
CAUSE_NAMES = (*CHANGES, CONTEXT)


def shift_name(milliseconds: int) -> str:
    """The type of the items whose audio begins so much later."""
    return f"shift-{milliseconds}ms"


def _another(voice: Voice, number: int) -> Voice:
    """Another voice of the pool; which one depends on the number, so that all pairs of voices occur."""
    pool = voices(VARIABILITY)
    at = [other.name for other in pool].index(voice.name)
    return pool[(at + 1 + number // len(pool) % (len(pool) - 1)) % len(pool)]


def sentences(count: int, seed: int) -> list[str]:
    """`count` different sentences that no document of the world has, as they are spoken: 'The farmer sleeps.'"""
    rng, found = random.Random(f"probe/{seed}"), {}
    while len(found) < count:
        found[written(story(scene(rng), 1, rng, reserved=True))] = None
    return list(found)


def base_voice(number: int, count: int) -> Voice:
    """The voice of a sentence; each voice speaks at least two of `count` sentences."""
    pool = voices(VARIABILITY)[: max(1, count // 2)]
    return pool[number % len(pool)]


def make_probe(out: Path, about: Path, diagnosis: Diagnosis, seed: int = 0) -> None:
    """Speak the probe: an ITEMS table, whose `id` is a sentence and whose `type` is what is changed.

    Args:
        out: probe/items.parquet to write
        about: probe/about.json to write: the number of sentences, the seconds of speech, and of each item with context
            the start and length of the sentence, in seconds
        seed: seed of the sentences and of their speech
    """
    texts = sentences(diagnosis.sentences, seed)
    rows: list[dict[str, Any]] = []
    windows: dict[str, list[float]] = {}
    with progress("probe speech", len(texts), "sentences/s") as meter:
        for number, text in enumerate(texts):
            voice, draw = base_voice(number, len(texts)), stable_hash(seed, "probe", number) % 2**31
            base = speak(text, voice, draw)
            found = {BASE: (voice, base), AGAIN: (voice, base)}
            found |= {name: (of(voice, number), None) for name, of in CHANGES.items()}
            found |= {shift_name(ms): (voice, _shifted(base, ms * SAMPLE_RATE // 1000)) for ms in SHIFTS}
            around = [speak(texts[(number + step) % len(texts)], voice, draw) for step in (1, 2)]
            found[CONTEXT] = (voice, _among(base, *around))
            for kind, (speaker, spoken) in found.items():
                rows.append(_row(f"{number:03d}", kind, text, speaker, spoken or speak(text, speaker, draw)))
            start = _whole(around[0].samples) / SAMPLE_RATE
            windows[rows[-1]["item"]] = [start, len(base.samples) / SAMPLE_RATE]
            meter.advance(1)
    write_table(out, rows, ITEMS)
    seconds = sum(row["seconds"] for row in rows)
    write_json(about, {"sentences": len(texts), "seconds": seconds, "seed": seed, CONTEXT: windows})


def _row(sentence: str, kind: str, text: str, voice: Voice, spoken: Spoken) -> dict[str, Any]:
    return {
        "item": f"{sentence}|{kind}|{voice.name}",
        "id": sentence,
        "voice": voice.name,
        "correct": True,
        "type": kind,
        "split": "",
        "two": "",
        "text": normalise(text),
        "words": as_rows(spoken.words),
        "phones": as_rows(spoken.phones),
        "seconds": len(spoken.samples) / SAMPLE_RATE,
        "audio": encode_flac(spoken.samples),
    }


def _moved(spans: list[Span], seconds: float) -> list[Span]:
    """The spans so much later; none begins before 0."""
    return [Span(s.label, max(0.0, s.start + seconds), s.end + seconds) for s in spans if s.end + seconds > 0]


def _shifted(spoken: Spoken, samples: int) -> Spoken:
    """The utterance so many samples later. The silence that this cuts at its end stands before its beginning."""
    words, phones = (_moved(spans, samples / SAMPLE_RATE) for spans in (spoken.words, spoken.phones))
    phones[0] = phones[0]._replace(start=0.0)
    phones[-1] = phones[-1]._replace(end=len(spoken.samples) / SAMPLE_RATE)
    return Spoken(np.roll(spoken.samples, samples), words, phones)


def _whole(samples: np.ndarray) -> int:
    """The number of samples in whole frames of every usual rate, so that the frames after them stay where they are."""
    return len(samples) - len(samples) % GRID


def _among(spoken: Spoken, before: Spoken, after: Spoken) -> Spoken:
    """The utterance between two others, without a gap: each begins and ends with silence of its own."""
    lead = before.samples[len(before.samples) - _whole(before.samples) :]
    parts, offset = [lead, spoken.samples, after.samples], len(lead) / SAMPLE_RATE
    starts = (offset - len(before.samples) / SAMPLE_RATE, offset, offset + len(spoken.samples) / SAMPLE_RATE)
    said = list(zip((before, spoken, after), starts, strict=True))
    words = [span for one, start in said for span in _moved(one.words, start)]
    phones = [span for one, start in said for span in _moved(one.phones, start)]
    return Spoken(np.concatenate(parts), words, phones)
