"""The phone set and the mapping from espeak-ng's symbols."""

import pytest

from speechladder.corpora.phones import (
    ACCENTS,
    ARPABET,
    SIL,
    VOWELS,
    from_espeak,
    is_vowel,
    split_stress,
    strip_stress,
)
from speechladder.io.errors import UserError

# The symbols that the four accents emit over PocketSphinx's 130 k words, alone and in running speech (from one survey).
EMITTED = " ".join(
    (
        "0 3 3: ; ? @ @- @2 @L A: A@ A~ D E I I# I2 IR N O O2 O: O@ OI O~ S T U U@ V VR Z _ _! _: _| a a# aI aI2",
        "aI3 aI@ aU aa b d dZ e@ eI f g h i i: i@ i@3 j k l l# m n n- o o@ oU p r r- s t t# t2 tS u: v w w# x z",
    )
).split()


def test_arpabet_is_the_39_phones_of_cmudict():
    assert len(ARPABET) == len(set(ARPABET)) == 39
    assert SIL not in ARPABET
    assert set(VOWELS) < set(ARPABET)


@pytest.mark.parametrize("accent", ACCENTS)
def test_every_emitted_symbol_has_phones(accent):
    phones = {phone for symbol in EMITTED for phone in from_espeak(symbol, accent)}
    assert phones <= {*ARPABET, SIL}
    assert len(phones) > 35


def test_all_phones_can_be_spoken():
    assert {phone for symbol in EMITTED for phone in from_espeak(symbol)} == {*ARPABET, SIL}


@pytest.mark.parametrize(
    ("symbol", "accent", "phones"),
    [
        ("'A@", "en-us", ("AA", "R")),
        ("'A@", "en-gb-x-rp", ("AA",)),
        ("3", "en-us", ("ER",)),
        ("3", "en-us-nyc", ("AH",)),
        ("aa", "en-us", ("AE",)),
        ("aa", "en-gb-x-rp", ("AA",)),
        ("@L", "en-us", ("AH", "L")),
        ("n-", "en-us", ("AH", "N")),
        ("t#", "en-us", ("T",)),
        ("_:", "en-us", (SIL,)),
        (";", "en-us", ()),
    ],
)
def test_mapping(symbol, accent, phones):
    assert from_espeak(symbol, accent) == phones


def test_an_unknown_symbol_is_named_and_not_dropped():
    with pytest.raises(UserError, match="'Q\"'"):
        from_espeak('Q"')
    with pytest.raises(UserError, match="en-au"):
        from_espeak("a", "en-au")


def test_stress():
    assert split_stress("'A@") == (1, "A@")
    assert split_stress(",I") == (2, "I")
    assert split_stress("t#") == (0, "t#")
    assert strip_stress("AH0") == "AH"
    assert strip_stress("HH") == "HH"
    assert is_vowel("ER1") and not is_vowel("R") and not is_vowel(SIL)
