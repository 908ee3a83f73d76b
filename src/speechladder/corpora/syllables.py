"""Syllables of ARPAbet phones: a syllable for each vowel, by the principle of maximal onsets.

Consonants between two vowels belong to the later syllable as far as they are an onset with which English words begin
(D. Kahn, Syllable-based Generalizations in English Phonology, 1976; the onsets are those of M. Hammond, The Phonology
of English, 1999).
"""

from collections.abc import Sequence
from itertools import pairwise

from speechladder.corpora.phones import CONSONANTS, is_vowel, strip_stress

_CLUSTERS = (
    *("P L", "P R", "B L", "B R", "T R", "T W", "D R", "D W", "K L", "K R", "K W", "G L", "G R", "G W"),
    *("F L", "F R", "TH R", "TH W", "SH R", "HH W", "S P", "S T", "S K", "S F", "S L", "S M", "S N", "S W"),
    *("S P L", "S P R", "S T R", "S K L", "S K R", "S K W"),
)
_BEFORE_Y = ("P", "B", "T", "D", "K", "F", "V", "TH", "HH", "M", "N", "S P", "S T", "S K")  # only before UW and UH
_ONSETS = {(phone,) for phone in CONSONANTS if phone != "NG"} | {tuple(cluster.split()) for cluster in _CLUSTERS}
_Y_ONSETS = {(*before.split(), "Y") for before in _BEFORE_Y}


def syllable_starts(phones: Sequence[str]) -> list[int]:
    """The index of the first phone of each syllable of a word; phones are ARPAbet, with or without stress digits.

    A word without vowels is one syllable.

    >>> syllable_starts("EH1 K S T R AH0".split())  # extra: EH K . S T R AH
    [0, 2]
    """
    bare = [strip_stress(phone) for phone in phones]
    starts = [0] if bare else []
    for before, nucleus in pairwise(n for n, phone in enumerate(bare) if is_vowel(phone)):
        onsets = _ONSETS | _Y_ONSETS if bare[nucleus] in ("UW", "UH") else _ONSETS
        at = nucleus
        while at - 1 > before and tuple(bare[at - 1 : nucleus]) in onsets:
            at -= 1
        starts.append(at)
    return starts
