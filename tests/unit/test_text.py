"""Normalisation as in LibriHeavy's recipe."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechladder.corpora.text import TextError, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HELLO,  World!", "hello world"),
        ("it\u2019s Jane's \u2018book\u2019", "it's jane's book"),
        ("42 dogs, 1,200 cats", "forty two dogs one thousand two hundred cats"),
        ("the 21st of May 1815", "the twenty first of may eighteen fifteen"),
        ("3.5 % & more", "three point five percent and more"),
        ("na\u00efve caf\u00e9 \u00c6sop", "naive cafe aesop"),
        ("well-known\u2014and true", "well known and true"),
        ("'' ' ...", ""),
        ("1" * 31, " ".join(["one"] * 31)),
        (
            "2," * 400 + "0.5 and 9" + "9" * 5000 + "th",
            " ".join(["two"] * 400 + ["zero point five and"] + ["nine"] * 5001),
        ),
    ],
)
def test_examples(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize("number", ["{}", "{}.{}", "{}th", "{}.5th", "0.{}"])
def test_the_longest_numbers_have_names(number):
    for count in (1, 15, 30):
        assert re.fullmatch(r"[a-z ]+", normalise(number.format("7" * count, "7" * (30 - count))))


@given(st.text() | st.text("0123456789.,:;-/$\u00a3%dsthlI VX\u2013'\"mk"))
def test_only_letters_apostrophes_and_single_spaces(text):
    try:
        once = normalise(text)
    except TextError as error:
        assert str(error).isprintable() or str(error).startswith("letters that are not English")
        return
    assert re.fullmatch(r"([a-z]([a-z']*[a-z])?( [a-z]([a-z']*[a-z])?)*)?", once)


@given(st.text("aehilmovxc '"))
def test_twice_is_once(text):
    once = normalise(text)
    assert normalise(once) == once


@given(st.text("0123456789"), st.text("abcdefghijklmnopqrstuvwxyz .,'$%-/:"))
def test_no_digit_is_lost(digits, around):
    """A text with a digit has more words than it has without."""
    if digits:
        assert len(normalise(f"{around} {digits}{around}").replace(" ", "")) > len(normalise(around).replace(" ", ""))
