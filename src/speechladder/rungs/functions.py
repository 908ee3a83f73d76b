"""The rungs, from text to speech: one small pure function each (paper, section "evolving the modality").

To add a rung, write a function at the end with the line `@rung(...)` above it (docs/adding-a-rung.md).
"""

from bisect import bisect_left
from itertools import chain, groupby
from string import ascii_lowercase

from speechladder.alignment.frames import frame_labels
from speechladder.corpora.phones import ARPABET, SIL, VOWELS, strip_stress
from speechladder.io.errors import UserError
from speechladder.rungs.registry import SPACE, Utterance, rung
from speechladder.settings import Tokens

BOUNDARY = "|"  # between words, with tokens.word_boundary
PAUSE_MARK = "#"  # a pause between words on the text rungs, with tokens.text_pauses


def characters(options: Tokens, clusters: int) -> list[str]:
    """The alphabet of normalised text, with the mark of a pause if there are pauses in text."""
    return [SPACE, "'", *ascii_lowercase, *([PAUSE_MARK] if _marks_pauses(options) else [])]


def phone_alphabet(options: Tokens, clusters: int) -> list[str]:
    """SIL, the boundary and ARPAbet: the whole inventory, not only phones in the data; stressed vowels on request."""
    stressed = [f"{vowel}{digit}" for vowel in ARPABET if vowel in VOWELS for digit in "012"]
    return [SIL, BOUNDARY, *ARPABET, *(stressed if options.stress else [])]


def unit_alphabet(options: Tokens, clusters: int) -> list[str]:
    """u0 ... u{clusters - 1}."""
    return [f"u{unit}" for unit in range(clusters)]


def phone_label(label: str, options: Tokens) -> str:
    """An aligned label as the rungs write it: without its stress digit, unless tokens.stress is set."""
    return label if options.stress else strip_stress(label)


def _phones(utterance: Utterance) -> list[str]:
    """Phones in order. Adjacent pauses become one SIL, or none without tokens.silence. With tokens.word_boundary one
    boundary stands between adjacent words, before the pause if there is one."""
    options, out, word, spoken = utterance.options, [], 0, False
    for phone in utterance.phones:
        label = phone_label(phone.label, options)
        if label != SIL:
            # a phone belongs to the first word that has not ended at its centre
            before, centre = word, (phone.start + phone.end) / 2
            while word + 1 < len(utterance.words) and centre > utterance.words[word].end:
                word += 1
            if options.word_boundary and spoken and word > before:
                out.insert(len(out) - (out[-1] == SIL), BOUNDARY)
            spoken = True
            out.append(label)
        elif options.silence and out[-1:] != [SIL]:
            out.append(SIL)
    return out


def _marks_pauses(options: Tokens) -> bool:
    return options.text_pauses and options.silence


def words_before_pauses(utterance: Utterance) -> set[int]:
    """For each pause between words, before the first or after the last, the number of words before it.

    These are the places where phone-raw has SIL. A pause within a word has no place between characters and is left
    out. It is empty without tokens.text_pauses, without tokens.silence and without an alignment. Raise UserError if the
    alignment has another number of words than the text.
    """
    words, found = utterance.words, set()
    if not _marks_pauses(utterance.options) or not words:
        return found
    if len(words) != len(utterance.text.split()):
        raise UserError(
            f"utterance {utterance.id!r}: {len(utterance.text.split())} words of text, {len(words)} in the alignment; "
            "delete the alignment and run align again, or set tokens.text_pauses: false"
        )
    starts = [word.start for word in words]
    for phone in utterance.phones:
        if phone.label == SIL:
            centre = (phone.start + phone.end) / 2
            before = bisect_left(starts, centre)
            if not before or words[before - 1].end <= centre:
                found.add(before)
    return found


def spelled_words(utterance: Utterance, space: str = SPACE) -> list[list[str]]:
    """The characters of each word, with the space or pause that follows; a pause at the start is the first word's."""
    words, pauses = utterance.text.split(), words_before_pauses(utterance)
    out = []
    for number, word in enumerate(words, 1):
        after = PAUSE_MARK if number in pauses else space if number < len(words) else ""
        out.append([*([PAUSE_MARK] * (number == 1 and 0 in pauses)), *word, *([after] * bool(after))])
    return out


@rung("text-bpe", needs=("text", "pauses"), alphabet=characters, bpe="text_vocab", transcribed_as="text")
def text_bpe(utterance: Utterance) -> list[str]:
    """Characters, which BPE merges within words. With tokens.text_pauses a pause is a word of its own."""
    words, pauses = utterance.text.split(), words_before_pauses(utterance)
    marked = [PAUSE_MARK] * (0 in pauses)
    for number, word in enumerate(words, 1):
        marked += [word, PAUSE_MARK] if number in pauses else [word]
    return list(SPACE.join(marked))


@rung("text-raw", needs=("text", "pauses"), alphabet=characters, transcribed_as="text")
def text_raw(utterance: Utterance) -> list[str]:
    """Characters. With tokens.text_pauses the mark of a pause takes the place of the space."""
    return [*chain.from_iterable(spelled_words(utterance))]


@rung(
    "phone-bpe",
    needs="alignment",
    alphabet=phone_alphabet,
    bpe="phone_vocab",
    isolated=(SIL, BOUNDARY),
    transcribed_as="phones",
)
def phone_bpe(utterance: Utterance) -> list[str]:
    """Phones, which BPE merges between pauses; across words too, unless tokens.word_boundary marks them."""
    return _phones(utterance)


@rung("phone-raw", needs="alignment", alphabet=phone_alphabet, transcribed_as="phones")
def phone_raw(utterance: Utterance) -> list[str]:
    """Phones."""
    return _phones(utterance)


@rung("phone-repeat", needs="alignment", alphabet=phone_alphabet, transcribed_as="phone-frames")
def phone_repeat(utterance: Utterance) -> list[str]:
    """The phone at the centre of each 50 Hz frame: exactly as many symbols as on the speech rung."""
    labels = frame_labels(utterance.phones, utterance.frames)
    return [phone_label(label, utterance.options) for label in labels]


@rung("speech-hubert", needs="units", alphabet=unit_alphabet, transcribed_as="units")
def speech_hubert(utterance: Utterance) -> list[str]:
    """The unit of each 50 Hz frame."""
    return [f"u{unit}" for unit in utterance.units]


@rung("speech-hubert-dedup", needs="units", alphabet=unit_alphabet, transcribed_as="unit-runs")
def speech_hubert_dedup(utterance: Utterance) -> list[str]:
    """Units; each run of equal units is written once."""
    return [f"u{unit}" for unit, _ in groupby(utterance.units)]
