"""The phone set: ARPAbet, and how each phoneme of espeak-ng's English accents is written in it."""

from speechladder.io.errors import UserError

SIL = "SIL"
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R"),
    *("S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
ARPABET = tuple(sorted(VOWELS + CONSONANTS))  # 39

ACCENTS = ("en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland")

# ARPAbet phones, and the espeak-ng symbols that are written with them; a symbol that stands for two phones is listed
# under both together. The symbols under "" add their time to the phone before them (off-glides, word joints). The table
# holds the symbols that the four accents emit over PocketSphinx's 130 k words and over books, and the other symbols of
# their phoneme tables.
_COMMON = {
    "AA": "A: A# A~ 0 0#",
    "AE": "a a2 a#2 a/ aa",
    "AH": "@ @2 @- @# a# V 02",
    "AO": "O O2 O: O~",
    "AW": "aU",
    "AY": "aI aI2",
    "EH": "E E# E2 e e#",
    "ER": "3 3: IR VR",
    "EY": "eI e:",
    "IH": "I I2 I# I2#",
    "IY": "i i:",
    "OW": "oU oU# o: o",
    "OY": "OI",
    "UH": "U @5",
    "UW": "u u:",
    "AA R": "A@",
    "AO R": "O@ o@",
    "EH R": "e@",
    "IH R": "i@3",
    "UH R": "U@",
    "AY ER": "aI3",
    "AW ER": "aU@",
    "AY AH": "aI@",
    "IY AH": "i@",
    "AH L": "@L l-",
    "AH M": "m-",
    "AH N": "n-",
    "AH NG": "N-",
    "P": "p",
    "B": "b",
    "T": "t t2 t# ?",  # the flap (butter) and the glottal stop (button) are written T
    "D": "d d#",
    "K": "k x",
    "G": "g",
    "F": "f",
    "V": "v v#",
    "TH": "T",
    "DH": "D",
    "S": "s",
    "Z": "z z# z/2",
    "SH": "S",
    "ZH": "Z",
    "CH": "tS",
    "JH": "dZ",
    "HH": "h C",
    "M": "m",
    "N": "n n^",
    "NG": "N",
    "L": "l l# l/ l/2 l^",
    "R": "r r- r/",
    "Y": "j",
    "W": "w w#",
    SIL: "_ _: _::",
    "": "; _! _| _^_ _;_",
}
_NO_R = {"AA": "A@", "AH": "3", "AO": "O@ o@", "EH AH": "e@", "IH AH": "i@3", "AY AH": "aI3", "AW AH": "aU@"}
_ACCENT = {
    "en-us": {},
    "en-us-nyc": _NO_R | {"UH AH": "U@"},
    "en-gb-x-rp": _NO_R | {"AO": "O@ o@ U@", "AA": "A@ aa O2 02", "AE": "A#"},
    "en-gb-scotland": {"AW AH": "aU@", "AE": "A#", "AA": "O2"},
}


def _by_symbol(table: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {symbol: tuple(phones.split()) for phones, symbols in table.items() for symbol in symbols.split()}


_TABLES = {accent: _by_symbol(_COMMON) | _by_symbol(own) for accent, own in _ACCENT.items()}
_STRESS = {"'": 1, ",": 2}


def is_vowel(phone: str) -> bool:
    """Whether an ARPAbet phone, with or without its stress digit, is a vowel."""
    return strip_stress(phone) in VOWELS


def strip_stress(phone: str) -> str:
    """'AH0' -> 'AH'; consonants and SIL as they are."""
    return phone.rstrip("012")


def split_stress(symbol: str) -> tuple[int, str]:
    """The stress digit of an espeak-ng symbol and the symbol without its marks: "'A@" -> (1, "A@").

    The mark ' is primary stress (1), the mark , is secondary stress (2); no mark is 0.
    """
    bare = symbol.lstrip("',%=")
    return max((_STRESS.get(mark, 0) for mark in symbol[: len(symbol) - len(bare)]), default=0), bare


def from_espeak(symbol: str, accent: str = "en-us") -> tuple[str, ...]:
    """The ARPAbet phones (vowels without stress digit) of one espeak-ng phoneme symbol, with or without stress mark.

    An empty tuple means that the symbol only lengthens the phone before it. The rhotic vowels (A@, o@, ...) end in R in
    en-us, but not in en-us-nyc and en-gb-x-rp. Raises UserError with the name of an unknown symbol or accent.

    >>> from_espeak("'A@"), from_espeak("A@", "en-gb-x-rp"), from_espeak("_:")
    (('AA', 'R'), ('AA',), ('SIL',))
    """
    table = _TABLES.get(accent)
    if table is None:
        raise UserError(f"accent '{accent}' has no phone table; known: {', '.join(ACCENTS)}")
    try:
        return table[split_stress(symbol)[1]]
    except KeyError:
        raise UserError(
            f"espeak-ng emitted the phoneme '{symbol}' in accent {accent}, which has no ARPAbet phones; "
            "add it to speechladder/corpora/phones.py"
        ) from None


# espeak-ng's mnemonics for phones, of unstressed vowels and of all others. The phoneme tables of the four accents have
# these mnemonics in common.
_REDUCED = {"AH": "@", "ER": "3", "IY": "i"}
_FULL = {
    phone: symbol
    for pair in (
        *("AA A:", "AE a", "AH V", "AO O:", "AW aU", "AY aI", "EH E", "ER 3:", "EY eI", "IH I", "IY i:", "OW oU"),
        *("OY OI", "UH U", "UW u:", "TH T", "DH D", "SH S", "ZH Z", "CH tS", "JH dZ", "HH h", "NG N", "Y j"),
    )
    for phone, symbol in [pair.split()]
}  # the mnemonic of any other consonant is the phone's letter in lower case
_MARKS = ("", "'", ",")


def to_espeak(phone: str) -> str:
    """espeak-ng's mnemonic of an ARPAbet phone; the digit of a vowel is its stress, and no digit means 0.

    >>> to_espeak("AH1"), to_espeak("AH0"), to_espeak("JH")
    ("'V", '@', 'dZ')

    Raises ValueError if the phone is not ARPAbet. SIL is not: espeak-ng makes its own pauses.
    """
    bare = strip_stress(phone)
    if bare not in ARPABET or (phone != bare and (bare not in VOWELS or len(phone) > len(bare) + 1)):
        raise ValueError(f"'{phone}' is not an ARPAbet phone")
    stress = int(phone[-1]) if bare != phone else 0
    symbol = _FULL.get(bare, bare.lower())
    return _MARKS[stress] + (symbol if stress else _REDUCED.get(bare, symbol))
