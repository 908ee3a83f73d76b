"""The phones of sLM21's gold table as ARPAbet. The table may write ARPAbet or IPA.

The whole table is read in one notation, the one that reads most of its transcriptions. Stress is kept: ARPAbet has it
as a digit on the vowel, IPA as a mark before the syllable.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from speechladder.corpora.phones import ARPABET, SIL, is_vowel, strip_stress
from speechladder.io.errors import UserError

MOST = 2000  # transcriptions that decide the notation
STRESS = {"\u02c8": 1, "'": 1, "\u02cc": 2, ",": 2}
_RHOTIC = "\u025a\u025d\u02de"  # schwa and open e with hook, and the hook alone

# Symbols of TIMIT and others beyond the 39 phones of ARPAbet.
_MORE = {
    "AX": "AH", "AXR": "ER", "IX": "IH", "UX": "UW", "DX": "T", "NX": "N", "HV": "HH", "H": "HH", "WH": "W",
    "ENG": "NG", "EL": "AH L", "EM": "AH M", "EN": "AH N", "Q": "T",
}  # fmt: skip
_PAUSES = {SIL, "SP", "PAU", "SPN"}

_VOWELS = {
    "AA": "ɑ ɒ", "AE": "æ a", "AH": "ʌ ə ɐ ɘ", "AO": "ɔ", "AW": "aʊ au ɑʊ æʊ", "AY": "aɪ ai ɑɪ", "EH": "ɛ e",
    "ER": "ɝ ɚ ɜ˞ ə˞ ɜɹ ɜr ɜ", "EY": "eɪ ei ɛɪ", "IH": "ɪ ɨ ᵻ", "IY": "i", "OW": "oʊ ou əʊ o", "OY": "ɔɪ oɪ ɔi oi",
    "UH": "ʊ ɵ", "UW": "u ʉ",
}  # fmt: skip
_CONSONANTS = {
    "B": "b", "CH": "tʃ ʧ", "D": "d", "DH": "ð", "F": "f", "G": "g", "HH": "h ɦ ç", "JH": "dʒ ʤ", "K": "k x",
    "L": "l ɫ", "M": "m ɱ", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ r ɻ ˞", "S": "s", "SH": "ʃ", "T": "t ɾ ʔ", "TH": "θ",
    "V": "v", "W": "w ʍ", "Y": "j", "Z": "z", "ZH": "ʒ", "AH L": "l\u0329", "AH M": "m\u0329", "AH N": "n\u0329",
    "AH NG": "ŋ\u0329", "ER": "ɹ\u0329 r\u0329",
}  # fmt: skip
_IPA = {s: phones for table in (_VOWELS, _CONSONANTS) for phones, symbols in table.items() for s in symbols.split()}
# Length, ties, syllable dots and other separators, brackets, and detail that ARPAbet does not distinguish.
_IGNORED = re.compile(r"[:ː\u02d1\u0361\u035c.\-_|·‿/\[\]()\u02b0\u02b2\u02b7\u0300-\u0328\u032a-\u036f]")


def _ipa_symbols(text: str) -> str:
    """IPA with precomposed letters taken apart and one kind of g, without length, ties and brackets."""
    # the cedilla is part of a letter; other marks have meanings of their own
    text = unicodedata.normalize("NFD", text).replace("c\u0327", "ç").replace("ɡ", "g").replace("\u02b9", "'")
    return _IGNORED.sub("", text)


def _with_digit(phones: str, stress: int | None) -> list[str]:
    """'AH L', 1 -> ['AH1', 'L']; no digits if `stress` is None."""
    return [f"{p}{stress}" if stress is not None and is_vowel(p) else p for p in phones.split()]


@dataclass(frozen=True)
class Notation:
    """How a table writes its phones.

    Attributes:
        name: ARPAbet or IPA
        stress: whether the table marks stress
        ipa: IPA symbol -> ARPAbet phones
        schwa_r: whether schwa and r before no vowel are ER, because the table has no letter of its own for ER
    """

    name: str
    stress: bool
    ipa: dict[str, str] = field(default_factory=dict, repr=False)
    schwa_r: bool = False

    def read(self, text: str) -> list[str]:
        """The ARPAbet phones of one transcription; raises ValueError that names an unknown symbol.

        >>> detect(["h ə l ˈoʊ"], "gold.csv").read("ɹ ˈɛ d")
        ['R', 'EH1', 'D']
        """
        phones = _read_arpabet(text) if self.name == "ARPAbet" else self._read_ipa(text)
        if not phones:
            raise ValueError(f"no phones: '{text}'")
        return phones

    def _read_ipa(self, text: str) -> list[str]:
        found: list[tuple[str, str]] = []  # symbol, ARPAbet phones
        stress: int | None = None
        for part in _ipa_symbols(text).split():
            at = 0
            while at < len(part):
                if part[at] in STRESS:
                    stress, at = STRESS[part[at]], at + 1
                    continue
                symbol = next((part[at : at + n] for n in (3, 2, 1) if part[at : at + n] in self.ipa), None)
                if symbol is None:
                    raise ValueError(f"unknown phone: '{part[at]}' in '{text}'")
                phones, at = self.ipa[symbol], at + len(symbol)
                if is_vowel(phones.split()[0]):
                    phones, stress = " ".join(_with_digit(phones, (stress or 0) if self.stress else None)), None
                found.append((symbol, phones))
        return [p for _, phones in (self._joined(found) if self.schwa_r else found) for p in phones.split()]

    def _joined(self, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """'butter' as b ʌ t ə r: schwa and r are one phone unless a vowel follows."""
        out: list[tuple[str, str]] = []
        for number, (symbol, phones) in enumerate(found):
            follows = found[number + 1][1] if number + 1 < len(found) else "SIL"
            if phones == "R" and out and out[-1][0] == "ə" and not is_vowel(follows.split()[0]):
                out[-1] = ("ɚ", out[-1][1].replace("AH", "ER"))
            else:
                out.append((symbol, phones))
        return out


def _read_arpabet(text: str) -> list[str]:
    out: list[str] = []
    for token in re.split(r"[\s_.|+/,\-]+", re.sub(r"[\[\]()'\"{}]", " ", text)):
        match = re.fullmatch(r"([A-Z]+)([012]?)", token.upper())
        bare, digit = match.groups() if match else (token.upper(), "")
        if not token or bare in _PAUSES:
            continue
        phones = _MORE.get(bare, bare)
        if match is None or not set(phones.split()) <= set(ARPABET) or (digit and not is_vowel(phones.split()[0])):
            raise ValueError(f"unknown phone: '{token}' in '{text}'")
        out += _with_digit(phones, int(digit) if digit else None)
    return out


def _ipa_notation(texts: list[str]) -> Notation:
    """IPA as these texts write it: what e and a stand for depends on the other letters of the table."""
    every = " ".join(map(_ipa_symbols, texts))
    ipa = dict(_IPA)
    if "ɛ" in every and not re.search("e[ɪi]", every):
        ipa["e"] = "EY"
    if "æ" in every and "ɑ" not in every:
        ipa["a"] = "AA"
    return Notation("IPA", any(mark in text for text in texts for mark in STRESS), ipa, not set(every) & set(_RHOTIC))


def _reads(notation: Notation, text: str) -> bool:
    try:
        return bool(notation.read(text))
    except ValueError:
        return False


def detect(transcriptions: Iterable[str], source: str) -> Notation:
    """The notation of most transcriptions of a table; empty transcriptions do not count.

    Raises UserError that names `source` and gives three examples if no known notation reads half of them.
    """
    texts = [text for text in transcriptions if text.strip()]
    if not texts:
        raise UserError(f"{source}: column 'phones' is empty, so phone rungs have nothing to read; fill it")
    sample = [texts[n * len(texts) // min(len(texts), MOST)] for n in range(min(len(texts), MOST))]
    arpabet = Notation("ARPAbet", any(re.search(r"[A-Za-z][012]\b", text) for text in sample))
    counts = [(sum(_reads(found, text) for text in sample), found) for found in (arpabet, _ipa_notation(sample))]
    count, best = max(counts, key=lambda pair: pair[0])
    if 2 * count < len(sample) or not count:
        examples = ", ".join(repr(text) for text in texts[:3])
        raise UserError(
            f"{source}: column 'phones' is neither ARPAbet nor IPA ({examples}); write it as one of them (HH AH0 L "
            "OW1) in an unpacked copy of the archive, and set benchmarks.slm21 to that folder"
        )
    return best


# Letters for the phones of a non-word that a table does not spell: the most common spelling of each.
_LETTERS = {
    "AA": "o", "AE": "a", "AH": "u", "AO": "aw", "AW": "ow", "AY": "igh", "CH": "ch", "DH": "th", "EH": "e", "ER": "er",
    "EY": "ay", "HH": "h", "IH": "i", "IY": "ee", "JH": "j", "NG": "ng", "OW": "oa", "OY": "oy", "SH": "sh", "TH": "th",
    "UH": "oo", "UW": "oo", "ZH": "zh",
}  # fmt: skip


def spell(phones: Iterable[str]) -> str:
    """Letters for ARPAbet phones, one spelling for each phone.

    >>> spell(["B", "L", "IH1", "K"])
    'blik'
    """
    return "".join(_LETTERS.get(strip_stress(p), p.lower()) for p in phones if p != SIL)
