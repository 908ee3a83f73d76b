"""The rungs, from text to speech: one small pure function each (paper, section "evolving the modality").

To add a rung, write a function at the end with the line `@rung(...)` above it (docs/adding-a-rung.md).
"""

from itertools import groupby
from string import ascii_lowercase

from speechladder.alignment.frames import frame_labels
from speechladder.corpora.phones import ARPABET, SIL, VOWELS, strip_stress
from speechladder.rungs.registry import SPACE, Utterance, rung
from speechladder.settings import Tokens

BOUNDARY = "|"  # between words, with tokens.word_boundary


def characters(options: Tokens, clusters: int) -> list[str]:
    """The alphabet of normalised text."""
    return [SPACE, "'", *ascii_lowercase]


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


@rung("text-bpe", needs="text", alphabet=characters, bpe="text_vocab", transcribed_as="text")
def text_bpe(utterance: Utterance) -> list[str]:
    """Characters, which BPE merges within words."""
    return list(utterance.text.replace(" ", SPACE))


@rung("text-raw", needs="text", alphabet=characters, transcribed_as="text")
def text_raw(utterance: Utterance) -> list[str]:
    """Characters."""
    return list(utterance.text.replace(" ", SPACE))


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
