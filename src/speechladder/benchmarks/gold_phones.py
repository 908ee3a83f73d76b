"""The phones of a gold table (sLM21's), in whatever notation they are, as ARPAbet: ARPAbet itself, IPA or X-SAMPA.

A table is of one notation, found by majority. Stress stays where the table has it: on the vowel that bears the digit in
ARPAbet, on the next vowel after a mark in the others.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from speechladder.corpora.phones import ARPABET, SIL, is_vowel, strip_stress
from speechladder.io.errors import UserError

MOST = 2000  # transcriptions that the notation is found on
STRESS = {"\u02c8": 1, "'": 1, "\u02cc": 2, ",": 2}
_RHOTIC = "\u025a\u025d\u02de"  # schwa and open e with hook, and the hook alone

# What TIMIT and others write beyond the 39.
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
# Length, ties, syllable dots and other separators, brackets, and fine detail that no ARPAbet phone keeps.
_IGNORED = re.compile(r"[:ː\u02d1\u0361\u035c.\-_|·‿/\[\]()\u02b0\u02b2\u02b7\u0300-\u0328\u032a-\u036f]")
_XSAMPA = {
    "{": "æ", "A": "ɑ", "Q": "ɒ", "V": "ʌ", "@": "ə", "6": "ɐ", "E": "ɛ", "I": "ɪ", "1": "ɨ", "O": "ɔ", "U": "ʊ",
    "}": "ʉ", "3": "ɜ", "3`": "ɝ", "@`": "ɚ", "T": "θ", "D": "ð", "S": "ʃ", "Z": "ʒ", "N": "ŋ", "r\\": "ɹ", "4": "ɾ",
    "?": "ʔ", "C": "ç", "W": "ʍ", "5": "ɫ", "=": "\u0329", '"': "\u02c8", "%": "\u02cc", "`": "\u02de",
}  # fmt: skip
_AS_THEY_ARE = set("abdefghijklmnoprstuvwxz: .-_|")  # and in IPA alike


def _ipa_symbols(text: str) -> str:
    """IPA without what plays no part: precomposed letters, one g, no length, ties or brackets."""
    # the cedilla is a letter's own; other marks are told apart by their code
    text = unicodedata.normalize("NFD", text).replace("c\u0327", "ç").replace("ɡ", "g").replace("\u02b9", "'")
    return _IGNORED.sub("", text)


def _from_xsampa(text: str) -> str:
    """X-SAMPA as IPA; raises ValueError naming a symbol that it has not."""
    out, at = "", 0
    while at < len(text):
        size = 2 if text[at : at + 2] in _XSAMPA else 1
        symbol = text[at : at + size]
        if symbol not in _XSAMPA and symbol not in _AS_THEY_ARE:
            raise ValueError(f"unknown phone: '{symbol}' in '{text}'")
        out += _XSAMPA.get(symbol, symbol)
        at += size
    return out


def _with_digit(phones: str, stress: int | None) -> list[str]:
    """'AH L', 1 -> ['AH1', 'L']; None: no digits."""
    return [f"{p}{stress}" if stress is not None and is_vowel(p) else p for p in phones.split()]


@dataclass(frozen=True)
class Notation:
    """How a table writes its phones. `stress`: whether it marks stress; `ipa`: what its IPA symbols are in ARPAbet."""

    name: str  # ARPAbet, IPA, X-SAMPA
    stress: bool
    ipa: dict[str, str] = field(default_factory=dict, repr=False)
    schwa_r: bool = False  # schwa and r before no vowel are ER: the table has no letter of its own for it

    def read(self, text: str) -> list[str]:
        """The ARPAbet phones of one transcription; raises ValueError naming the symbol that is unknown.

        >>> detect(["h ə l ˈoʊ"], "gold.csv").read("ɹ ˈɛ d")
        ['R', 'EH1', 'D']
        """
        if self.name == "ARPAbet":
            phones = _read_arpabet(text)
        else:
            phones = self._read_ipa(text if self.name == "IPA" else _from_xsampa(text), text)
        if not phones:
            raise ValueError(f"no phones: '{text}'")
        return phones

    def _read_ipa(self, text: str, shown: str) -> list[str]:
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
                    raise ValueError(f"unknown phone: '{part[at]}' in '{shown}'")
                phones, at = self.ipa[symbol], at + len(symbol)
                if not is_vowel(phones.split()[0]):
                    found.append((symbol, phones))
                    continue
                found.append((symbol, " ".join(_with_digit(phones, (stress or 0) if self.stress else None))))
                stress = None
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


def _ipa_table(texts: list[str]) -> tuple[dict[str, str], bool]:
    """What the letters e and a are depends on which others a table has; and whether schwa and r are ER."""
    whole = " ".join(map(_ipa_symbols, texts))
    table = dict(_IPA)
    if "ɛ" in whole and not re.search("e[ɪi]", whole):
        table["e"] = "EY"
    if "æ" in whole and "ɑ" not in whole:
        table["a"] = "AA"
    return table, not set(whole) & set(_RHOTIC)


def _notations(texts: list[str]) -> list[Notation]:
    """The three, as they would read these texts; what is not X-SAMPA is left out of its flags."""
    converted = []
    for text in texts:
        try:
            converted.append(_from_xsampa(text))
        except ValueError:
            continue
    out = [Notation("ARPAbet", any(re.search(r"[A-Za-z][012]\b", text) for text in texts))]
    for name, given in (("IPA", texts), ("X-SAMPA", converted)):
        table, schwa_r = _ipa_table(given)
        out.append(Notation(name, any(mark in text for text in given for mark in STRESS), table, schwa_r))
    return out


def _reads(read: Callable[[str], list[str]], text: str) -> bool:
    try:
        return bool(read(text))
    except ValueError:
        return False


def detect(transcriptions: Iterable[str], source: str) -> Notation:
    """The notation that most transcriptions of a table are in; empty ones do not count.

    Raises UserError naming `source`, with three examples, where it is none that is known for half of them.
    """
    texts = [text for text in transcriptions if text.strip()]
    if not texts:
        raise UserError(f"{source}: column 'phones' is empty, so that phone rungs have nothing to read; fill it")
    sample = [texts[n * len(texts) // min(len(texts), MOST)] for n in range(min(len(texts), MOST))]
    best, count = None, 0
    for notation in _notations(sample):
        readable = sum(_reads(notation.read, text) for text in sample)
        if readable > count:
            best, count = notation, readable
    if best is None or 2 * count < len(sample):
        examples = ", ".join(repr(text) for text in texts[:3])
        raise UserError(
            f"{source}: column 'phones' is neither ARPAbet, IPA nor X-SAMPA as far as they are known ({examples}); "
            "write it as one of them (HH AH0 L OW1) in an unpacked copy of the archive, and set benchmarks.slm21 to "
            "that folder"
        )
    return best


# Letters for a non-word that a table does not spell, the commonest for each phone.
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
