"""Rungs beside the ladder: each differs from phone-repeat or from speech-hubert in one thing.

They say which property of speech units costs what (docs/adding-a-rung.md), and are on no default ladder.
"""

from itertools import chain, pairwise

import numpy as np

from speechladder.alignment.frames import first_frames, frame_labels
from speechladder.corpora.phones import is_vowel, strip_stress
from speechladder.io.errors import UserError
from speechladder.io.hashing import stable_hash
from speechladder.io.spans import Span
from speechladder.rungs.functions import (
    BOUNDARY,
    characters,
    phone_alphabet,
    phone_label,
    speech_hubert,
    speech_hubert_dedup,
    spelled_words,
    unit_alphabet,
)
from speechladder.rungs.registry import SPACE, Utterance, rung
from speechladder.settings import Tokens

# A phone of the world lasts 4.5 frames in the mean. 4 give 45 tokens a second and 5 give 56; phone-repeat has 50.
EVEN_FRAMES = 4
TEXT, UNITS = "<text>", "<units>"  # before each stretch of text-units
STRETCH = 8  # the most words in a stretch of text-units


def _units(utterance: Utterance) -> np.ndarray:
    """(frames,) the unit of each frame. Raise UserError unless there is one per 50 Hz frame."""
    units = utterance.units
    if units is None or len(units) != utterance.frames:
        found = 0 if units is None else len(units)
        raise UserError(
            f"utterance {utterance.id!r}: {found} units in {utterance.frames} frames; this rung needs one per "
            "50 Hz frame; leave it out of rungs, or set units.source: auto"
        )
    return units


def _bounds(phones: list[Span], frames: int) -> list[int]:
    """The first frame of each phone, and the number of frames: phone i has the frames from i-th bound to the next."""
    return [0, *first_frames([p.start for p in phones[1:]], frames).tolist(), frames]


def _votes(utterance: Utterance) -> list[tuple[int, int]]:
    """(the most frequent unit, the number of frames) of each phone; of equally frequent units, the smallest.

    A phone without a frame has the unit of the frame that follows, or of the last.
    """
    units, bounds = _units(utterance), _bounds(utterance.phones, utterance.frames)
    out = []
    for begin, end in pairwise(bounds):
        at = min(begin, len(units) - 1)
        out.append((int(np.bincount(units[at : max(end, at + 1)]).argmax()), end - begin))
    return out


@rung("phone-repeat-even", needs="alignment", alphabet=phone_alphabet, per_frame=True)
def phone_repeat_even(utterance: Utterance) -> list[str]:
    """Phones, pauses too, each EVEN_FRAMES times: as long as phone-repeat, without durations."""
    labels = (phone_label(phone.label, utterance.options) for phone in utterance.phones)
    return [label for label in labels for _ in range(EVEN_FRAMES)]


@rung("phone-confused", needs=("alignment", "confusions"), alphabet=phone_alphabet, per_frame=True)
def phone_confused(utterance: Utterance) -> list[str]:
    """phone-repeat, but the units' confusions replace phones; a confusion lasts as long as the phone.

    With tokens.stress a vowel that is heard in place of a vowel has its stress, and in place of a consonant 0.
    """
    heard = [_heard(utterance, number, phone) for number, phone in enumerate(utterance.phones)]
    return [phone_label(label, utterance.options) for label in frame_labels(heard, utterance.frames)]


def _heard(utterance: Utterance, number: int, phone: Span) -> Span:
    bare = strip_stress(phone.label)
    label = utterance.confusions.heard(bare, utterance.id, number)
    if label == bare:
        return phone
    return phone._replace(label=label + (phone.label[len(bare) :] or "0") if is_vowel(label) else label)


@rung("unit-vote", needs=("alignment", "units", "frames"), alphabet=unit_alphabet, per_frame=True)
def unit_vote(utterance: Utterance) -> list[str]:
    """The most frequent unit of each phone, at each of its frames: speech-hubert without change inside a phone."""
    return [f"u{unit}" for unit, frames in _votes(utterance) for _ in range(frames)]


@rung("unit-phone", needs=("alignment", "units", "frames"), alphabet=unit_alphabet)
def unit_phone(utterance: Utterance) -> list[str]:
    """The most frequent unit of each phone, once: as many symbols as phones."""
    return [f"u{unit}" for unit, _ in _votes(utterance)]


@rung("unit-bpe", needs="units", alphabet=unit_alphabet, bpe="unit_vocab")
def unit_bpe(utterance: Utterance) -> list[str]:
    """BPE over units of which each run is written once."""
    return speech_hubert_dedup(utterance)


@rung("random-units", needs="seed", alphabet=unit_alphabet, per_frame=True)
def random_units(utterance: Utterance) -> list[str]:
    """A unit per 50 Hz frame, drawn uniformly by the run's seed and the id. It says nothing about the audio.

    What a model of it answers right, it knows from the lengths of the items alone.
    """
    drawn = np.random.default_rng(stable_hash("random-units", utterance.seed, utterance.id))
    return [f"u{unit}" for unit in drawn.integers(utterance.clusters, size=utterance.frames)]


def word_unit_alphabet(options: Tokens, clusters: int) -> list[str]:
    """The boundary and the units."""
    return [BOUNDARY, *unit_alphabet(options, clusters)]


@rung("unit-words", needs=("alignment", "units", "frames"), alphabet=word_unit_alphabet, per_frame=True)
def unit_words(utterance: Utterance) -> list[str]:
    """Units, with one boundary where each word but the last ends: before the pause if there is one, as on phone-raw."""
    ends = first_frames([word.end for word in utterance.words[:-1]], len(_units(utterance)))
    return np.insert(np.array(speech_hubert(utterance), object), ends, BOUNDARY).tolist()


def _letters(options: Tokens, clusters: int) -> list[str]:
    """The characters of text-raw. The boundary stands for the space, with which an alphabet counts as a text's."""
    return [BOUNDARY if symbol == SPACE else symbol for symbol in characters(options, clusters)]


def text_unit_alphabet(options: Tokens, clusters: int) -> list[str]:
    """Characters, the marks of stretches, units."""
    return [*_letters(options, clusters), TEXT, UNITS, *unit_alphabet(options, clusters)]


@rung(
    "text-units",
    needs=("text", "pauses", "alignment", "units", "frames"),
    alphabet=text_unit_alphabet,
    per_frame=True,
    spelled=_letters,
)
def text_units(utterance: Utterance) -> list[str]:
    """Train utterances as stretches of text and of units in turn, all others as units (Nguyen et al. 2024, Spirit LM).

    A stretch has 1 to STRETCH words and follows its mark. The kind of the first and the lengths are drawn by the
    utterance's id. A stretch of units begins at the first frame of its first word, and the first one at frame 0. Items
    are units only, so that they ask about speech what the text may have taught; so are validation and test, whose
    loss is thus that of speech. Raise UserError if the alignment has another number of words than the text.
    """
    units = speech_hubert(utterance)
    if utterance.split != "train":
        return [UNITS, *units]
    spelled, count = spelled_words(utterance, BOUNDARY), len(utterance.words)
    if len(spelled) != count:
        raise UserError(
            f"utterance {utterance.id!r}: {len(spelled)} words of text, {count} in the alignment; delete the alignment "
            "and run align again"
        )
    starts = [word.start for word in utterance.words[1:]]
    bounds = [0, *first_frames(starts, len(_units(utterance))).tolist(), len(units)]
    out, word, speaks = [], 0, stable_hash("stretch", utterance.id) % 2 == 1
    while word < count:
        end = min(count, word + 1 + stable_hash("stretch", utterance.id, word) % STRETCH)
        said = units[bounds[word] : bounds[end]] if speaks else chain.from_iterable(spelled[word:end])
        out += [UNITS if speaks else TEXT, *said]
        word, speaks = end, not speaks
    return out
